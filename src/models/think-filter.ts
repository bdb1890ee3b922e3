const OPEN = "<think>";
const CLOSE = "</think>";
/** How replies begin whose model was made to think by its prompt template. Lower case. */
const MUSINGS = ["okay", "alright", "hmm", "the user", "we need", "let me", "let's", "first,", "thinking process", "here's a thinking"];
/** How much is held back, in UTF-16 units, when the beginning sounds like thinking, and when this model is known to begin with it. */
const HOLD_WHEN_SUSPECTED = 4_000;
const HOLD_WHEN_KNOWN = 64_000;

export interface Piece {
  type: "text" | "reasoning";
  text: string;
}

/**
 * Separates `<think>…</think>` from the text of one streamed reply, wherever the chunks are cut.
 *
 * Some templates put `<think>` into the prompt, so a reply begins inside it and only `</think>` arrives. What comes before
 * is reasoning, but that is known late, and text cannot be held back for ever. So: a model known to do this has its replies
 * held until the tag comes (64,000 characters at most); of a model not heard before, only a reply that begins like thinking
 * aloud is held (4,000 at most); everything else streams at once. A `</think>` that comes too late is left out, and
 * `opened` tells the owner, who passes it on to the filter of the model's next reply.
 */
export class ThinkFilter {
  readonly #expected: boolean | null;
  #state: "start" | "held" | "text" | "thinking" = "start";
  #hold = 0;
  #buffer = "";
  #blank = true;
  #opened = false;

  /** `expected`: whether replies of this model begin inside a think block; null when none was heard yet. */
  constructor(expected: boolean | null) {
    this.#expected = expected;
  }

  /** Whether this reply began inside a think block. */
  get opened(): boolean {
    return this.#opened;
  }

  /** The pieces that are settled once `content` has arrived. */
  push(content: string): Piece[] {
    this.#buffer += content;
    const pieces: Piece[] = [];
    while (this.#step(pieces)) {
      // Each step settles one stretch of the buffer.
    }
    return pieces;
  }

  /** The rest. `complete`: the model said all it wanted to; otherwise what is still held counts as thinking where it was expected. */
  end(complete: boolean): Piece[] {
    const pieces: Piece[] = [];
    const isThinking = this.#state === "thinking" || (this.#state === "held" && this.#expected === true && !complete);
    this.#give(pieces, isThinking ? "reasoning" : "text", this.#buffer.length);
    return pieces;
  }

  /** Settles what can be; false when more has to arrive first. */
  #step(pieces: Piece[]): boolean {
    switch (this.#state) {
      case "start":
        return this.#begin();
      case "held":
        return this.#held(pieces);
      case "text":
        return this.#text(pieces);
      case "thinking":
        return this.#thinking(pieces);
      default:
        return this.#state satisfies never;
    }
  }

  #begin(): boolean {
    if (this.#expected === true) {
      this.#hold = HOLD_WHEN_KNOWN;
      this.#state = "held";
      return true;
    }
    const start = this.#buffer.trimStart().slice(0, 40).toLowerCase();
    const musings = this.#expected === null ? MUSINGS : [];
    if (musings.some((words) => start.startsWith(words))) {
      this.#hold = HOLD_WHEN_SUSPECTED;
      this.#state = "held";
      return true;
    }
    const mayYetTell = [OPEN, ...musings].some((words) => words.length > start.length && words.startsWith(start));
    this.#state = mayYetTell ? "start" : "text";
    return !mayYetTell;
  }

  #held(pieces: Piece[]): boolean {
    const tag = this.#nextTag();
    if (tag?.[0] === CLOSE && tag.index <= this.#hold) {
      this.#opened = true;
      this.#give(pieces, "reasoning", tag.index, CLOSE);
      this.#state = "text";
      return true;
    }
    if (tag || this.#buffer.length > this.#hold + CLOSE.length) {
      this.#state = "text";
      return true;
    }
    return false;
  }

  #text(pieces: Piece[]): boolean {
    const tag = this.#nextTag();
    if (tag) {
      this.#give(pieces, "text", tag.index, tag[0]);
      this.#state = tag[0] === OPEN ? "thinking" : "text";
      this.#opened ||= tag[0] === CLOSE;
      return true;
    }
    this.#give(pieces, "text", this.#buffer.length - Math.max(overlap(this.#buffer, OPEN), overlap(this.#buffer, CLOSE)));
    return false;
  }

  #thinking(pieces: Piece[]): boolean {
    const close = this.#buffer.indexOf(CLOSE);
    if (close >= 0) {
      this.#give(pieces, "reasoning", close, CLOSE);
      this.#state = "text";
      return true;
    }
    this.#give(pieces, "reasoning", this.#buffer.length - overlap(this.#buffer, CLOSE));
    return false;
  }

  #nextTag(): RegExpExecArray | null {
    return /<\/?think>/.exec(this.#buffer);
  }

  /** Takes the first `length` characters of the buffer, and `tag` after them, out of it. Blanks before the first text are dropped. */
  #give(pieces: Piece[], type: Piece["type"], length: number, tag = ""): void {
    let text = this.#buffer.slice(0, length);
    this.#buffer = this.#buffer.slice(length + tag.length);
    if (type === "text" && this.#blank) {
      text = text.trimStart();
      this.#blank = text === "";
    }
    if (text !== "") {
      pieces.push({ type, text });
    }
  }
}

/** How many characters at the end of `text` may be the beginning of `tag`. */
function overlap(text: string, tag: string): number {
  for (let length = Math.min(tag.length - 1, text.length); length > 0; length--) {
    if (tag.startsWith(text.slice(-length))) {
      return length;
    }
  }
  return 0;
}
