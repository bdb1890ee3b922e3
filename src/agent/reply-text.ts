/** The reply as it is being written: every piece goes to the event log, and their sum is what gets stored. */

import { storable } from "../errors.ts";
import type { EventWriter } from "./ports.ts";

export class ReplyText {
  readonly #messageId: string;
  readonly #events: EventWriter;
  #text = "";
  readonly #textRepair = new TextRepair();
  readonly #reasoningRepair = new TextRepair();

  constructor(messageId: string, events: EventWriter) {
    this.#messageId = messageId;
    this.#events = events;
  }

  addText(piece: string): void {
    this.#writeText(this.#textRepair.next(piece));
  }

  addReasoning(piece: string): void {
    const delta = this.#reasoningRepair.next(piece);
    if (delta !== "") {
      this.#events.push({ type: "ReasoningDelta", delta });
    }
  }

  /** The reply so far, and the id of its message. */
  finish(): { reply: string; messageId: string } {
    return { reply: this.#text, messageId: this.#messageId };
  }

  #writeText(delta: string): void {
    if (delta === "") {
      return;
    }
    if (this.#text === "") {
      this.#events.push({ type: "TextMessageStart", messageId: this.#messageId });
    }
    this.#text += delta;
    this.#events.push({ type: "TextMessageContent", messageId: this.#messageId, delta });
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
