import { ThinkFilter } from "./think-filter.ts";

/** What is looked at of a text a model wrote, which may be anything: UTF-16 units, places where JSON may begin, depth of nesting. */
const LONGEST_TEXT = 256 * 1024;
const MOST_STARTS = 64;
const DEEPEST = 32;

/**
 * Reads the JSON object or array in what a model wrote: think blocks, code fences and prose around it are passed over. Of
 * an answer that breaks off inside an array, the array's complete items are kept. Undefined when there is nothing to read.
 */
export function readJson(text: string): unknown | undefined {
  const answer = withoutThinking(text).slice(0, LONGEST_TEXT);
  let second: unknown;
  let from = 0;
  for (let tries = 0; tries < MOST_STARTS && from < answer.length; tries++) {
    const start = findStart(answer, from);
    const { end, kept } = scan(answer, start);
    const value = parse(kept ?? answer.slice(start, end));
    if (holdsFields(value)) {
      return value;
    }
    // [1] in prose is a footnote, but an array of texts may be the answer: taken when nothing better follows.
    second ??= value;
    // Never inside a value that did not parse: an item of it would pass for the answer.
    from = end;
  }
  return second;
}

function withoutThinking(text: string): string {
  const filter = new ThinkFilter(true);
  const pieces = [...filter.push(text), ...filter.end(true)];
  return pieces.map((piece) => (piece.type === "text" ? piece.text : "")).join("");
}

/** The next bracket that JSON may begin with; the end of the text when there is none. */
function findStart(text: string, from: number): number {
  const offset = text.slice(from).search(/\{\s{0,99}["}]|\[\s{0,99}[[{"\]\d\-tfn]/);
  return offset < 0 ? text.length : from + offset;
}

function parse(json: string): unknown | undefined {
  try {
    return json === "" ? undefined : JSON.parse(json);
  } catch {
    return undefined;
  }
}

function holdsFields(value: unknown): boolean {
  const items: unknown[] = Array.isArray(value) ? value : [value];
  return items.some((item) => typeof item === "object" && item !== null && Object.keys(item).length > 0);
}

interface Extent {
  /** Where the value ends, or the text when it breaks off. */
  end: number;
  /** Of one that breaks off: all up to the last complete item of its outermost array, closed; null when there is none. */
  kept: string | null;
}

/** Follows brackets and strings from an opening bracket to the one that closes it. */
function scan(text: string, start: number): Extent {
  const closers: string[] = [];
  let arrays = 0;
  let inString = false;
  let kept = { end: start, closers: "" };
  const keep = (end: number) => {
    if (arrays === 1 && closers.at(-1) === "]") {
      kept = { end, closers: closers.toReversed().join("") };
    }
  };
  for (let index = start; index < text.length; index++) {
    const character = text[index];
    if (inString) {
      if (character === "\\") {
        index++;
      } else if (character === '"') {
        inString = false;
        keep(index + 1);
      }
      continue;
    }
    if (character === '"') {
      inString = true;
    } else if (character === "[" || character === "{") {
      closers.push(character === "[" ? "]" : "}");
      arrays += character === "[" ? 1 : 0;
    } else if (character === "]" || character === "}") {
      arrays -= character === "]" ? 1 : 0;
      if (closers.pop() !== character || closers.length === 0) {
        return { end: index + 1, kept: null };
      }
      keep(index + 1);
    } else if (character === ",") {
      keep(index);
    }
    if (closers.length > DEEPEST) {
      return { end: index + 1, kept: null };
    }
  }
  return { end: text.length, kept: kept.end > start ? text.slice(start, kept.end) + kept.closers : null };
}
