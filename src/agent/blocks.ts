/**
 * Stored text inside prompts. It is data: it stands between delimiters it can neither close nor open, one item a line,
 * so that nothing a user or a document once said can pass for an instruction.
 */

import { createHmac, randomBytes } from "node:crypto";
import { estimateTokens } from "./tokens.ts";

/** Lines between the delimiters of a block, the lines made harmless; "" when there are none. */
export function block(name: string, lines: readonly string[]): string {
  return lines.length === 0 ? "" : `<${name}>\n${lines.map(oneLine).join("\n")}\n</${name}>`;
}

/** Known to this process alone. */
const MARK_KEY = randomBytes(32);

/**
 * Eight digits for the names of blocks, that nobody can know who wrote any of `content`: they follow from all of it and a
 * secret, so no text can hold those of the block it stands in. The same blocks have the same mark, which keeps the start of
 * a prompt the same from turn to turn, and lets model servers use what they made of it.
 */
export function markOf(content: string): string {
  return createHmac("sha256", MARK_KEY).update(content).digest("hex").slice(0, 8);
}

/** Text in one line without control characters or angle brackets. Doing it twice changes nothing. */
export function oneLine(text: string): string {
  return harmless(text).replace(/\s+/gu, " ").trim();
}

/** Text that keeps its lines, without other control characters or angle brackets. */
export function harmless(text: string): string {
  return text
    .toWellFormed()
    .replace(/\r\n?|[\u0085\u2028\u2029]/g, "\n")
    .replace(/[<\uff1c\ufe64]/g, "\u2039")
    .replace(/[>\uff1e\ufe65]/g, "\u203a")
    .replace(/[\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069]/g, "")
    .replace(/(?!\n)\p{Cc}/gu, " ");
}

/** The text when it fits into `tokens`; else its beginning and its end with a mark between. */
export function clip(text: string, tokens: number): string {
  if (estimateTokens(text) <= tokens) {
    return text;
  }
  let [low, high] = [0, text.length];
  while (low < high) {
    const length = Math.ceil((low + high) / 2);
    if (estimateTokens(middleCut(text, length)) <= tokens) {
      low = length;
    } else {
      high = length - 1;
    }
  }
  return low === 0 ? "" : middleCut(text, low);
}

/** The first two thirds and the last third of `length` units of a text. */
function middleCut(text: string, length: number): string {
  const head = Math.ceil((length * 2) / 3);
  const tail = length - head;
  const start = text.slice(0, head).replace(/[\ud800-\udbff]$/, "");
  const end = (tail === 0 ? "" : text.slice(-tail)).replace(/^[\udc00-\udfff]/, "");
  return `${start.trimEnd()} … ${end.trimStart()}`.trim();
}
