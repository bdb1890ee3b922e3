/** The reply as it is being written: every piece goes to the event log, and their sum is what gets stored. */

import { storable } from "../errors.ts";
import { LinkGuard } from "./links.ts";
import type { EventWriter } from "./ports.ts";

export class ReplyText {
  readonly #messageId: string;
  readonly #events: EventWriter;
  readonly #linkHosts = new Set<string>();
  #text = "";
  readonly #shown: Shown;
  readonly #thought: Shown;

  /** `allowedHosts`: where images, links and addresses in the text may lead; see `links.ts`. */
  constructor(messageId: string, events: EventWriter, allowedHosts: readonly string[]) {
    this.#messageId = messageId;
    this.#events = events;
    const hosts = { anywhere: allowedHosts, linked: this.#linkHosts };
    this.#shown = new Shown(new LinkGuard(hosts));
    this.#thought = new Shown(new LinkGuard(hosts));
  }

  /** Lets links lead to these hosts too, but no images. */
  allowLinks(hosts: ReadonlySet<string>): void {
    for (const host of hosts) {
      this.#linkHosts.add(host);
    }
  }

  addText(piece: string): void {
    const thought = this.#thought.end();
    // What is thought after this text is another paragraph: the two must not come to an address together.
    this.#writeReasoning(thought === "" ? "" : `${thought}\n\n`);
    this.#writeText(this.#shown.next(piece));
  }

  addReasoning(piece: string): void {
    this.#writeReasoning(this.#thought.next(piece));
  }

  /** The reply so far, with what was held back of it, and the id of its message. */
  finish(): { reply: string; messageId: string } {
    try {
      this.#writeReasoning(this.#thought.end());
      this.#writeText(this.#shown.end());
    } catch {
      // What the log did not take it reports to whoever ends the run; the text is whole here.
    }
    return { reply: this.#text, messageId: this.#messageId };
  }

  #writeReasoning(delta: string): void {
    if (delta !== "") {
      this.#events.push({ type: "ReasoningDelta", delta });
    }
  }

  #writeText(delta: string): void {
    if (delta === "") {
      return;
    }
    const first = this.#text === "";
    this.#text += delta;
    if (first) {
      this.#events.push({ type: "TextMessageStart", messageId: this.#messageId });
    }
    this.#events.push({ type: "TextMessageContent", messageId: this.#messageId, delta });
  }
}

/** A stream of pieces as it may be shown: storable, and leading nowhere it should not. */
class Shown {
  readonly #repair = new TextRepair();
  readonly #guard: LinkGuard;

  constructor(guard: LinkGuard) {
    this.#guard = guard;
  }

  next(piece: string): string {
    return this.#guard.next(this.#repair.next(piece));
  }

  end(): string {
    return this.#guard.end();
  }
}

/** Makes a stream of pieces storable: no NUL, no lone surrogate; a pair split over two pieces is put together. */
class TextRepair {
  #half = "";

  next(piece: string): string {
    let text = this.#half + piece;
    this.#half = "";
    const last = text.charCodeAt(text.length - 1);
    if (last >= 0xd800 && last <= 0xdbff) {
      this.#half = text.slice(-1);
      text = text.slice(0, -1);
    }
    return storable(text);
  }
}
