/** The blocks that replies are made of: paragraphs, headings, lists, quotes and code. */

export type Block =
  | { kind: "paragraph"; text: string }
  | { kind: "heading"; level: number; text: string }
  | { kind: "code"; text: string }
  | { kind: "rule" }
  | { kind: "quote"; blocks: Block[] }
  | { kind: "list"; ordered: boolean; start: number; items: Block[][] };

const FENCE = /^ {0,3}(`{3,}|~{3,})/;
const HEADING = /^ {0,3}(#{1,6})\s+(.*?)\s*#*\s*$/;
const RULE = /^ {0,3}([-*_])( *\1){2,} *$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( *)([-*+]|\d{1,9}[.)])( +|$)/;
const DEEPEST = 6;

/** A text that is still being written reads like a finished one: what is open at its end counts as closed. */
export function parseBlocks(text: string): Block[] {
  return readBlocks(text.split(/\r\n?|\n/), 0);
}

function readBlocks(lines: string[], depth: number): Block[] {
  const blocks: Block[] = [];
  for (let at = 0; at < lines.length; ) {
    const [block, next] = readBlock(lines, at, depth);
    if (block) {
      blocks.push(block);
    }
    at = next;
  }
  return blocks;
}

/** The block that begins at a line, and the line after it. */
function readBlock(lines: string[], at: number, depth: number): [Block | null, number] {
  const line = lines[at] ?? "";
  if (line.trim() === "") {
    return [null, at + 1];
  }
  const fence = FENCE.exec(line)?.[1];
  if (fence !== undefined) {
    return readCode(lines, at, fence);
  }
  const [, marks, title = ""] = HEADING.exec(line) ?? [];
  if (marks !== undefined) {
    return [{ kind: "heading", level: marks.length, text: title }, at + 1];
  }
  if (RULE.test(line)) {
    return [{ kind: "rule" }, at + 1];
  }
  if (depth < DEEPEST && QUOTE.test(line)) {
    const end = endOf(lines, at, (other) => QUOTE.test(other));
    const inner = lines.slice(at, end).map((each) => each.replace(QUOTE, ""));
    return [{ kind: "quote", blocks: readBlocks(inner, depth + 1) }, end];
  }
  if (depth < DEEPEST && ITEM.test(line)) {
    return readList(lines, at, depth);
  }
  const end = endOf(lines, at + 1, (other) => other.trim() !== "" && !beginsBlock(other));
  const text = lines.slice(at, end).map((each) => each.trim());
  return [{ kind: "paragraph", text: text.join("\n") }, end];
}

function readCode(lines: string[], at: number, fence: string): [Block, number] {
  const closes = (line: string): boolean => line.trim().startsWith(fence) && line.trim().replaceAll(fence.charAt(0), "") === "";
  const end = endOf(lines, at + 1, (line) => !closes(line));
  return [{ kind: "code", text: lines.slice(at + 1, end).join("\n") }, end + 1];
}

function readList(lines: string[], from: number, depth: number): [Block, number] {
  const [, , first = "-"] = ITEM.exec(lines[from] ?? "") ?? [];
  const ordered = /\d/.test(first);
  const items: Block[][] = [];
  let at = from;
  for (let match = ITEM.exec(lines[at] ?? ""); match; match = ITEM.exec(lines[at] ?? "")) {
    const [whole, indent = "", mark = ""] = match;
    if (/\d/.test(mark) !== ordered || (items.length > 0 && RULE.test(lines[at] ?? ""))) {
      break;
    }
    const width = indent.length + mark.length + 1;
    const end = endOfItem(lines, at + 1, indent.length);
    const inner = lines.slice(at, end).map((line, index) => (index === 0 ? line.slice(whole.length) : dedent(line, width)));
    items.push(readBlocks(inner, depth + 1));
    at = end;
  }
  return [{ kind: "list", ordered, start: ordered ? Number.parseInt(first, 10) : 1, items }, at];
}

/** An item goes on with lines that are further in, and with plain lines right after it. */
function endOfItem(lines: string[], from: number, indent: number): number {
  let blank = false;
  let at = from;
  for (; at < lines.length; at++) {
    const line = lines[at] ?? "";
    const inner = line.search(/\S/);
    if (inner < 0) {
      blank = true;
      continue;
    }
    const item = ITEM.exec(line);
    if (item ? (item[1]?.length ?? 0) <= indent : inner <= indent && (blank || beginsBlock(line))) {
      break;
    }
    blank = false;
  }
  // Blank lines at its end are between blocks.
  while (at > from && (lines[at - 1] ?? "").trim() === "") {
    at--;
  }
  return lines[at]?.trim() === "" && ITEM.test(lines.slice(at).find((line) => line.trim() !== "") ?? "") ? nextFilled(lines, at) : at;
}

function nextFilled(lines: string[], from: number): number {
  return endOf(lines, from, (line) => line.trim() === "");
}

function dedent(line: string, width: number): string {
  const indent = line.search(/\S|$/);
  return line.slice(Math.min(indent, width));
}

function beginsBlock(line: string): boolean {
  return FENCE.test(line) || HEADING.test(line) || QUOTE.test(line) || ITEM.test(line) || RULE.test(line);
}

/** The first line from there on for which `goesOn` does not hold. */
function endOf(lines: string[], from: number, goesOn: (line: string) => boolean): number {
  let at = from;
  while (at < lines.length && goesOn(lines[at] ?? "")) {
    at++;
  }
  return at;
}
