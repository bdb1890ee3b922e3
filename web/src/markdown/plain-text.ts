import { type Block, parseBlocks } from "./blocks.ts";
import { parseInline, textOf } from "./inline.ts";

/** A reply without its marks, to be read aloud. */
export function plainText(text: string): string {
  return parseBlocks(text).map(wordsOf).join("\n");
}

function wordsOf(block: Block): string {
  switch (block.kind) {
    case "paragraph":
    case "heading":
      return parseInline(block.text).map(textOf).join("");
    case "code":
      return block.text;
    case "rule":
      return "";
    case "quote":
      return block.blocks.map(wordsOf).join("\n");
    case "list":
      return block.items.flatMap((item) => item.map(wordsOf)).join("\n");
    default:
      return block satisfies never;
  }
}
