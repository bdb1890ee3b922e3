/** The marks within a line that replies use. Whatever is no mark stays as it is; nothing is ever taken for HTML. */

export type Inline =
  | string
  | { kind: "code"; text: string }
  | { kind: "strong" | "em" | "strike"; children: Inline[] }
  | { kind: "link"; href: string; children: Inline[] };

/** Where a mark may begin. */
const MARK = /\\|`+|!\[|\[|\*\*|__|~~|[*_]|https?:\/\//g;
const PAIRS: Record<string, "strong" | "em" | "strike"> = { "**": "strong", __: "strong", "*": "em", _: "em", "~~": "strike" };
const ESCAPABLE = /[!-/:-@[-`{-~]/;
const LINK_END = /\]\(\s*<?([^\s<>()]*(?:\([^\s<>()]*\)[^\s<>()]*)*)>?(?:\s+(?:"[^"]*"|'[^']*'))?\s*\)/y;
const BARE_LINK = /https?:\/\/[^\s<>"`*]+/y;
/** Signs that the server, or a model, has written so that nobody takes them for HTML. */
const ENTITY = /&(lt|gt|amp|quot|#39);/g;
const ENTITIES: Record<string, string> = { lt: "<", gt: ">", amp: "&", quot: '"', "#39": "'" };
const WORD = /[\p{L}\p{N}]/u;
/** Marks nest this deep, and texts longer than this stay plain. */
const DEEPEST = 6;
const LONGEST = 20_000;

export function parseInline(text: string, depth = 0): Inline[] {
  return depth > DEEPEST || text.length > LONGEST ? [text] : new Line(text, depth).parse();
}

/** The address of a link when it may be followed: http, https or mailto. */
export function safeAddress(address: string): string | null {
  return /^(https?:\/\/[^\s/]|mailto:[^\s])/i.test(address) ? address : null;
}

class Line {
  readonly #text: string;
  readonly #depth: number;
  readonly #found: Inline[] = [];
  /** Marks that are not closed any more from here on: looked for once. */
  readonly #unclosed = new Set<string>();
  #plainFrom = 0;

  constructor(text: string, depth: number) {
    this.#text = text;
    this.#depth = depth;
  }

  parse(): Inline[] {
    const marks = new RegExp(MARK);
    for (let match = marks.exec(this.#text); match; match = marks.exec(this.#text)) {
      marks.lastIndex = this.#read(match[0], match.index) ?? marks.lastIndex;
    }
    this.#takePlain(this.#text.length);
    return this.#found;
  }

  /** Takes in what begins with the mark; where it ends, or null when it is no mark after all. */
  #read(mark: string, at: number): number | null {
    switch (mark) {
      case "\\":
        return this.#escape(at);
      case "[":
        return this.#link(at, at + 1);
      case "![":
        return this.#image(at);
      case "http://":
      case "https://":
        return this.#bareLink(at);
      default:
        return mark.startsWith("`") ? this.#code(mark, at) : this.#pair(mark, at);
    }
  }

  #escape(at: number): number | null {
    if (!ESCAPABLE.test(this.#text.charAt(at + 1))) {
      return null;
    }
    this.#takePlain(at);
    this.#plainFrom = at + 1;
    return at + 2;
  }

  #code(mark: string, at: number): number | null {
    const from = at + mark.length;
    const end = this.#find(mark, from);
    if (end < 0 || end === from) {
      return null;
    }
    return this.#take(at, end + mark.length, { kind: "code", text: this.#text.slice(from, end).replace(/^ (.*\S.*) $/, "$1") });
  }

  #pair(mark: string, at: number): number | null {
    const from = at + mark.length;
    const kind = PAIRS[mark];
    const inWord = mark.startsWith("_") && WORD.test(this.#text.charAt(at - 1));
    if (!kind || inWord || /^\s?$/.test(this.#text.charAt(from))) {
      return null;
    }
    const end = this.#closing(mark, from);
    return end < 0
      ? null
      : this.#take(at, end + mark.length, { kind, children: parseInline(this.#text.slice(from, end), this.#depth + 1) });
  }

  /** The mark's partner: not after a space; of single stars, not one of a double. */
  #closing(mark: string, from: number): number {
    let end = this.#find(mark, from + 1);
    while (end >= 0) {
      // Of more signs in a row the last ones close a double mark: those before them close what is within.
      while (mark.length === 2 && this.#text.charAt(end + 2) === mark.charAt(0)) {
        end++;
      }
      const after = this.#text.charAt(end + mark.length);
      const double = mark.length === 1 && (after === mark || this.#text.charAt(end - 1) === mark);
      const inWord = mark.startsWith("_") && WORD.test(after);
      if (!double && !inWord && !/\s/.test(this.#text.charAt(end - 1))) {
        return end;
      }
      end = this.#text.indexOf(mark, end + (double ? 2 : 1));
    }
    this.#unclosed.add(mark);
    return -1;
  }

  #link(at: number, from: number): number | null {
    const label = this.#find("](", from);
    const end = label < 0 ? null : this.#address(label);
    if (!end) {
      return null;
    }
    const children = parseInline(this.#text.slice(from, label), this.#depth + 1);
    const href = safeAddress(end.address);
    if (href === null) {
      this.#take(at, end.at, ...children);
    } else {
      this.#take(at, end.at, { kind: "link", href, children: children.map(withoutLinks) });
    }
    return end.at;
  }

  /** Nothing is loaded from anywhere: of an image its description is shown. */
  #image(at: number): number | null {
    const label = this.#find("](", at + 2);
    const end = label < 0 ? null : this.#address(label);
    return end ? this.#take(at, end.at, this.#text.slice(at + 2, label)) : null;
  }

  #address(label: number): { address: string; at: number } | null {
    LINK_END.lastIndex = label;
    const match = LINK_END.exec(this.#text);
    return match ? { address: match[1] ?? "", at: LINK_END.lastIndex } : null;
  }

  #bareLink(at: number): number | null {
    BARE_LINK.lastIndex = at;
    const [found = ""] = BARE_LINK.exec(this.#text) ?? [];
    const href = safeAddress(found.replace(/[.,;:!?'")\]]+$/, ""));
    return href === null ? null : this.#take(at, at + href.length, { kind: "link", href, children: [href] });
  }

  #find(what: string, from: number): number {
    if (this.#unclosed.has(what)) {
      return -1;
    }
    const at = this.#text.indexOf(what, from);
    if (at < 0) {
      this.#unclosed.add(what);
    }
    return at;
  }

  #take(at: number, end: number, ...what: Inline[]): number {
    this.#takePlain(at);
    this.#found.push(...what);
    this.#plainFrom = end;
    return end;
  }

  #takePlain(end: number): void {
    if (end > this.#plainFrom) {
      this.#found.push(this.#text.slice(this.#plainFrom, end).replaceAll(ENTITY, (_, name: string) => ENTITIES[name] ?? ""));
    }
    this.#plainFrom = end;
  }
}

/** A link within a link would be no HTML. */
function withoutLinks(part: Inline): Inline {
  return typeof part !== "string" && part.kind === "link" ? textOf(part) : part;
}

/** The words of a part. */
export function textOf(part: Inline): string {
  if (typeof part === "string") {
    return part;
  }
  return part.kind === "code" ? part.text : part.children.map(textOf).join("");
}
