/**
 * Takes what would be fetched or opened elsewhere out of a reply while it streams. A client that shows Markdown loads the
 * images of a reply by itself, so whoever gets text into a prompt could have the model write an address that carries the
 * user's memories away. Only plain addresses of known hosts pass; everything else that a Markdown renderer might take for
 * an address, an image, a definition or HTML is made text. What it does depends on the text alone, not on how it is cut
 * into pieces, and no part of an address goes out before it is known where it leads.
 */

/** Which hosts a reply may lead to. */
export interface AllowedHosts {
  /** For images, links and all else: a host, `*.` and a domain for its subdomains, or `*` for any. */
  anywhere: readonly string[];
  /** For links only: what the user has named. */
  linked: ReadonlySet<string>;
}

/** The longest address that is looked at, in UTF-16 units, and so the most that is held back. */
const MAX_ADDRESS = 2_048;
/** The longest code between backticks, tag or character reference that is recognised. */
const MAX_CODE = 400;
const MAX_TAG = 16;
const MAX_REFERENCE = 34;
/** Brackets kept in mind; within more of them everything counts as an image. */
const MAX_BRACKETS = 64;
/** Of a line, as much as tells whether it begins or ends a code block. */
const MAX_LINE = 256;

/** What a step takes from the text, and what it gives out for it; null: more of the text is needed. */
type Step = { take: number; give: string } | null;

export class LinkGuard {
  readonly #allowed: AllowedHosts;
  #held = "";
  /** Whether each open bracket is an image's. */
  #brackets: boolean[] = [];
  #last = "";
  /** The line as it was given out. */
  #line = "";
  /** The mark that began the code block under way. */
  #fence = "";
  /** Something looked like code here that a renderer may see in another way: from now on nothing counts as code. */
  #distrust = false;

  constructor(allowed: AllowedHosts) {
    this.#allowed = allowed;
  }

  /** What may go out once this piece has come. */
  next(piece: string): string {
    this.#held += piece;
    return this.#drain(false);
  }

  /** What is left when nothing more comes. */
  end(): string {
    return this.#drain(true);
  }

  #drain(final: boolean): string {
    if (this.#allowed.anywhere.includes("*")) {
      const text = this.#held;
      this.#held = "";
      return text;
    }
    let [out, at] = ["", 0];
    while (at < this.#held.length) {
      const step = this.#step(this.#held.slice(at, at + MAX_ADDRESS), final);
      if (step === null) {
        break;
      }
      at += step.take;
      out += step.give;
      this.#follow(step.give);
    }
    this.#held = this.#held.slice(at);
    return out;
  }

  #step(text: string, final: boolean): Step {
    if (this.#fence !== "") {
      return { take: 1, give: text.charAt(0) };
    }
    switch (text.charAt(0)) {
      case "`":
        return this.#code(text, final);
      case "<":
        return this.#tag(text, final);
      case "&":
        return characterReference(text, final);
      case "]":
        return this.#target(text, final);
      case "h":
      case "H":
      case "w":
      case "W":
      case "f":
      case "F":
        return this.#address(text, final);
      default:
        return { take: 1, give: text.charAt(0) };
    }
  }

  /** Code between backticks on one line, where every renderer sees the same code: it passes as it is. */
  #code(text: string, final: boolean): Step {
    const marks = /^`+/.exec(text)?.[0] ?? "";
    if (marks.length === text.length && marks.length < MAX_CODE && !final) {
      return null;
    }
    const atLineStart = this.#line === "" && marks.length >= 3;
    // Within brackets or beside a formula a renderer may see something else than code.
    if (this.#distrust || atLineStart || this.#brackets.length > 0 || this.#line.includes("$")) {
      this.#distrust ||= !atLineStart;
      return { take: marks.length, give: marks };
    }
    const rest = text.slice(marks.length, MAX_CODE);
    const end = new RegExp(`(?<!\`)${marks}(?!\`)`).exec(rest);
    const lineEnd = rest.search(/[\r\n|]/);
    const closed = end !== null && (lineEnd < 0 || end.index < lineEnd);
    const undecided = closed ? end.index + marks.length === rest.length : lineEnd < 0;
    if (undecided && rest.length + marks.length < MAX_CODE && !final) {
      return null;
    }
    if (!closed || this.#last === "\\" || marks.length >= 3) {
      this.#distrust = true;
      return { take: marks.length, give: marks };
    }
    const take = 2 * marks.length + end.index;
    return { take, give: text.slice(0, take) };
  }

  /** A tag is text, but for a few that only shape text, within a line of it, and for a plain address in angle brackets. */
  #tag(text: string, final: boolean): Step {
    const shape = /^<\/?(?:br|b|i|em|strong|sub|sup|u|s|del|ins|kbd|mark|small) ?\/?>/i.exec(text);
    if (shape && /[\p{L}|]/u.test(this.#line)) {
      return { take: shape[0].length, give: shape[0] };
    }
    if (/^<(?:[hH][tT]{0,2}[pP]?[sS]?|[hH][tT]{2}[pP][sS]?:[^\s<>]*)$/.test(text) && text.length < MAX_ADDRESS && !final) {
      return null;
    }
    const address = /^<(https?:[^\s<>]*)>/i.exec(text);
    if (address?.[1] && this.#mayLead(address[1], false)) {
      return { take: address[0].length, give: address[0] };
    }
    if (/^<\/?[a-z]* ?\/?$/i.test(text) && text.length < MAX_TAG && !final) {
      return null;
    }
    return { take: 1, give: /^<[a-z/!?\\&]/i.test(text) ? "&lt;" : "<" };
  }

  /** The address behind a closing bracket: of a link or an image, or of the definition of one. */
  #target(text: string, final: boolean): Step {
    if (text.length < 2 && !final) {
      return null;
    }
    const image = this.#brackets.length >= MAX_BRACKETS || this.#brackets.includes(true);
    const mark = text.charAt(1);
    if (mark !== "(" && mark !== ":") {
      this.#closeBracket();
      return { take: 1, give: "]" };
    }
    const found = /^.\S\s*(?:<[^<>\n]*>?|[^\s<)][^\s)]*)?/.exec(text)?.[0] ?? "";
    if (found.length === text.length && found.length < MAX_ADDRESS && !final) {
      return null;
    }
    this.#closeBracket();
    const address = found.slice(2).trim();
    const fits = found.length < MAX_ADDRESS && this.#mayLead(address, image || mark === ":");
    if (fits) {
      // A title may follow, and in it marks of code that are none.
      this.#distrust ||= text.charAt(found.length) !== ")";
      return { take: found.length, give: found };
    }
    return mark === ":" ? { take: 2, give: "] :" } : { take: found.length, give: `] (${removed(address)}` };
  }

  #closeBracket(): void {
    // One behind a backslash closes nothing.
    if (this.#last !== "\\") {
      this.#brackets.pop();
    }
  }

  /** An address in the text itself, which renderers make a link of. */
  #address(text: string, final: boolean): Step {
    if (/[a-z]/i.test(this.#last)) {
      return { take: 1, give: text.charAt(0) };
    }
    const begun = /^(?:(?:https?|ftp)\\?:\\?\/\\?\/|www\\?\.)[^\s<>"`[\]()|{}^]*/i.exec(text)?.[0];
    if (begun === undefined) {
      const maybe = /^(?:h|ht|htt|https?|f|ft|ftp|w|ww|www)(?:\\?:?\\?\/?\\?)?$/i.test(text);
      return maybe && !final ? null : { take: 1, give: text.charAt(0) };
    }
    if (begun.length === text.length && begun.length < MAX_ADDRESS && !final) {
      return null;
    }
    const address = /^w/i.test(begun) ? `http://${begun}` : begun;
    const fits = begun.length < MAX_ADDRESS && this.#mayLead(address.replace(/[?!.,:*_~';]+$/, ""), false);
    return { take: begun.length, give: fits ? begun : `(${removed(address)})` };
  }

  #mayLead(written: string, image: boolean): boolean {
    const address = written.replace(/^<(.*)>$/s, "$1");
    const host = hostOf(address);
    if (host === null) {
      // Within the client's own pages; anything that could name a host or a scheme is no such address.
      return /^(?!\/\/)[\w./#?=%~+,@&-]*$/.test(address);
    }
    return this.#allowed.anywhere.some((entry) => fitsHost(host, entry)) || (!image && this.#allowed.linked.has(host));
  }

  /** Keeps track of where in the text we are, by what was given out: that is what a renderer will see. */
  #follow(given: string): void {
    for (const letter of given) {
      if (letter === "\n" && this.#last === "\r") {
        // The second half of a line's end.
      } else if (letter === "\n" || letter === "\r") {
        this.#endLine();
        this.#line = "";
      } else if (this.#line.length < MAX_LINE) {
        this.#line += letter;
      }
      if (letter === "[" && this.#fence === "" && this.#brackets.length < MAX_BRACKETS) {
        this.#brackets.push(this.#last === "!");
      }
      this.#last = letter;
    }
  }

  #endLine(): void {
    const line = this.#line;
    if (/^[ \t]*$/.test(line)) {
      // No bracket reaches over an empty line.
      this.#brackets = [];
    }
    if (this.#fence !== "") {
      // Renderers differ in what may stand behind the closing mark: what one of them takes for the end is the end.
      const closing = /^ {0,3}(`{3,}|~{3,})([`~\s]*)$/.exec(line);
      if (closing?.[1]?.startsWith(this.#fence)) {
        this.#fence = "";
        this.#distrust ||= line.length === MAX_LINE || /[^ ]/.test(closing[2] ?? "");
      }
      return;
    }
    if (/^\s*\$\$/.test(line)) {
      // A formula, to some: nothing in it is code.
      this.#distrust = true;
    }
    // Only at the very start of a line is it certain that no list or quotation ends the block before its closing mark.
    const opens = line.length < MAX_LINE ? /^(?:(`{3,})[^`]*|(~{3,}).*)$/.exec(line) : null;
    if (opens && !this.#distrust) {
      this.#fence = opens[1] ?? opens[2] ?? "";
    } else if (/`{3}|~{3}/.test(line)) {
      this.#distrust = true;
    }
  }
}

/** What reads like the name of a host in texts. */
export function hostsIn(texts: readonly string[]): Set<string> {
  const found = texts.flatMap((text) => text.match(/(?<![a-z\d.-])(?:[a-z\d-]{1,63}\.)+[a-z][a-z\d-]{1,62}/gi) ?? []);
  return new Set(found.map((host) => host.toLowerCase()));
}

/** The host of a plain address; null for one that is written in any way that could be read differently. */
function hostOf(address: string): string | null {
  return /^https?:\/\/([a-z\d.-]{1,253}?)\.?(?::\d{1,5})?(?:[/?#][^\s\\<>[\]|`]*)?$/i.exec(address)?.[1]?.toLowerCase() ?? null;
}

function fitsHost(host: string, entry: string): boolean {
  return entry.startsWith("*.") ? host.endsWith(entry.slice(1)) : host === entry;
}

/** What stands in the place of an address; the host's name alone, and only when it is harmless to read. */
function removed(address: string): string {
  const host = hostOf(address.replace(/^<|>$/g, "").replace(/[^\w./:?#=-].*$/s, ""));
  return host === null || host.length > 100 ? "link removed" : `link removed: ${host.replace(/^www\./, "")}`;
}

/** References that stand for a letter which is nothing to Markdown. All others could spell an address that is not seen here. */
const HARMLESS_REFERENCE = /^&(?:amp|lt|gt|quot|nbsp|copy|reg|trade|hellip|mdash|ndash|euro|deg|times|middot|bull|[lr]arr|[lr][sd]quo);/;

function characterReference(text: string, final: boolean): Step {
  if (HARMLESS_REFERENCE.test(text)) {
    return { take: 1, give: "&" };
  }
  if (/^&[#a-z\d]*$/i.test(text) && text.length < MAX_REFERENCE && !final) {
    return null;
  }
  return { take: 1, give: /^&(?:#|[a-z\d]+;)/i.test(text) ? "&amp;" : "&" };
}
