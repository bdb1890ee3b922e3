/** What the web chat makes of a reply's text: marks it knows, links that may be followed, and never anything else. */

import fc from "fast-check";
import { expect, test } from "vitest";
import { type Block, parseBlocks } from "../web/src/markdown/blocks.ts";
import { type Inline, parseInline, textOf } from "../web/src/markdown/inline.ts";

/** Every link of a line, however deep. */
function linksOf(parts: Inline[]): string[] {
  return parts.flatMap((part) => {
    const inner = typeof part === "string" || part.kind === "code" ? [] : linksOf(part.children);
    return typeof part !== "string" && part.kind === "link" ? [part.href, ...inner] : inner;
  });
}

/** Every line of text that blocks hold. */
function linesOf(blocks: Block[]): string[] {
  return blocks.flatMap((block) => {
    switch (block.kind) {
      case "rule":
        return [];
      case "quote":
        return linesOf(block.blocks);
      case "list":
        return block.items.flatMap(linesOf);
      default:
        return [block.text];
    }
  });
}

test("an address that is not for the web or mail is no link, whatever it is written like", () => {
  for (const address of [
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "data:text/html,x",
    "//evil.test",
    "/local",
    "vbscript:x",
    "file:///etc",
    "http:x",
  ]) {
    expect(linksOf(parseInline(`[see](${address}) [see](<${address}>)`)), address).toEqual([]);
    expect(parseInline(`[see](${address})`).map(textOf).join("")).toBe("see");
  }
  expect(linksOf(parseInline("[a](https://a.test/x) and https://b.test/y. [c](mailto:c@d.test)"))).toEqual([
    "https://a.test/x",
    "https://b.test/y",
    "mailto:c@d.test",
  ]);
});

test("an image is its description, and HTML is text", () => {
  expect(parseInline("![a cat](https://evil.test/?q=secret)")).toEqual(["a cat"]);
  expect(parseInline(`<img src=x onerror="alert(1)"> <b>no</b>`)).toEqual([`<img src=x onerror="alert(1)"> <b>no</b>`]);
  expect(parseBlocks("<script>\nalert(1)\n</script>")).toEqual([{ kind: "paragraph", text: "<script>\nalert(1)\n</script>" }]);
});

test("marks of a line, also one within another, become what they stand for", () => {
  expect(parseInline("a **b *c*** `**d**` ~~e~~ 2*3*4 snake_case_name")).toEqual([
    "a ",
    { kind: "strong", children: ["b ", { kind: "em", children: ["c"] }] },
    " ",
    { kind: "code", text: "**d**" },
    " ",
    { kind: "strike", children: ["e"] },
    " 2",
    { kind: "em", children: ["3"] },
    "4 snake_case_name",
  ]);
});

test("a code block that is still being written is code to its end", () => {
  expect(parseBlocks("Look:\n```ts\nconst a = [1](2);\n")).toEqual([
    { kind: "paragraph", text: "Look:" },
    { kind: "code", text: "const a = [1](2);\n" },
  ]);
});

test("no text whatever leads to another kind of address, and none is lost but marks", () => {
  const piece = fc.constantFrom(
    "[",
    "](",
    ")",
    "![",
    "javascript:",
    "https://a.test",
    "*",
    "**",
    "_",
    "`",
    "~~",
    "\\",
    "<",
    ">",
    " ",
    "\n",
    "&lt;",
    "- ",
    "1. ",
    "> ",
    "```",
    "word",
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 60 }), (pieces) => {
      const text = pieces.join("");
      const lines = linesOf(parseBlocks(text));
      for (const href of lines.flatMap((line) => linksOf(parseInline(line)))) {
        expect(href).toMatch(/^(https?:\/\/|mailto:)/);
      }
      const words = (from: string) => from.split("word").length;
      const shown = lines.map((line) => parseInline(line).map(textOf).join("")).join("\n");
      // A word inside an address, or one that names a block of code, is not shown.
      expect(words(shown)).toBeLessThanOrEqual(words(text));
    }),
    { numRuns: 2_000 },
  );
});
