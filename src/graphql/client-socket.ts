/** One client's WebSocket: it is sent no more than it takes, and sent away when it takes nothing or has gone without a word. */

import type { Socket } from "node:net";
import { performance } from "node:perf_hooks";
import type { WebSocket } from "ws";

/** Messages for one client in one turn of the event loop: the others are next. */
const TURN = 32;
/** Tells a client that it may come back. */
export const TRY_AGAIN_LATER = 1013;
/** The longest reason of a close frame, in bytes. */
const LONGEST_REASON = 123;
const TOO_SLOW = "You read too slowly. Go on with runEvents(runId, after: your last sequence), or memoryEvents(after).";

export interface Patience {
  /** How long a client may take nothing of what waits for it (ms). */
  reading: number;
  /** How long a client may be silent: then it is asked for a sign of life, and has as long again to give one (ms). */
  silence: number;
}

export class ClientSocket {
  readonly #socket: WebSocket;
  readonly #stream: Socket;
  readonly #patience: Patience;
  /** Resolves when the connection takes more; null while it does. */
  #room: PromiseWithResolvers<void> | null = null;
  /** Resolves with the next turn of the event loop; null unless this client has had its share of this one. */
  #turn: PromiseWithResolvers<void> | null = null;
  #sentThisTurn = 0;
  #corked = false;
  #heard = true;
  #nextPing = 0;
  /** Called once when nothing more is to be made for this client: it has left, or was sent away. */
  onGone: () => void = () => undefined;

  /** `stream` is the connection below `socket`. */
  constructor(socket: WebSocket, stream: Socket, patience: Patience) {
    this.#socket = socket;
    this.#stream = stream;
    this.#patience = patience;
    this.hear();
    socket.on("pong", () => this.hear());
    stream.on("drain", () => this.#makeRoom());
    stream.on("timeout", () => this.dismiss(TRY_AGAIN_LATER, TOO_SLOW));
    socket.once("close", () => this.#leave());
  }

  get open(): boolean {
    return this.#socket.readyState === this.#socket.OPEN;
  }

  /** Resolves when the message is on its way, or cannot be any more. Until then nothing else should be made for this client. */
  async send(message: string): Promise<void> {
    while (this.open && this.#mustWait()) {
      await (this.#room ?? this.#turn)?.promise;
    }
    if (this.open) {
      this.#gather();
      this.#socket.send(message);
    }
  }

  /** Notes that the client lives. */
  hear(): void {
    this.#heard = true;
    this.#nextPing = performance.now() + this.#patience.silence;
  }

  /** To be called every second or so: asks for a sign of life when it is time, and ends the connection when there was none. */
  check(now: number): void {
    if (!this.open || this.#room || now < this.#nextPing) {
      return;
    }
    if (!this.#heard) {
      this.#socket.terminate();
      return;
    }
    this.#heard = false;
    this.#nextPing = now + this.#patience.silence;
    this.#socket.ping();
  }

  /** Sends the client away: nothing more is made for it from now on. A reason that is too long loses its end. */
  dismiss(code: number, reason: string): void {
    if (!this.open) {
      return;
    }
    // Who reads on finds out why; who does not is cut off when ws has waited 30 s for the other side's goodbye.
    this.#socket.close(
      code,
      Buffer.from(reason)
        .subarray(0, LONGEST_REASON)
        .toString()
        .replace(/\uFFFD+$/, ""),
    );
    this.#leave();
  }

  #mustWait(): boolean {
    if (this.#stream.writableNeedDrain) {
      this.#waitForRoom();
    }
    return this.#room !== null || this.#turn !== null;
  }

  /** Who does not take answers is not listened to either: else the answers to what it asks would pile up. */
  #waitForRoom(): void {
    if (this.#room) {
      return;
    }
    this.#room = Promise.withResolvers();
    this.#socket.pause();
    // Node starts this time anew whenever the connection took a part of what waits.
    this.#stream.setTimeout(this.#patience.reading);
  }

  #makeRoom(): void {
    if (!this.#room) {
      return;
    }
    this.#stream.setTimeout(0);
    this.hear();
    this.#socket.resume();
    this.#room.resolve();
    this.#room = null;
  }

  #leave(): void {
    this.#makeRoom();
    this.onGone();
    this.onGone = () => undefined;
  }

  /** Puts the messages of one turn of the event loop into one write. */
  #gather(): void {
    if (!this.#corked) {
      this.#corked = true;
      this.#sentThisTurn = 0;
      this.#stream.cork();
      setImmediate(() => this.#passOn());
    }
    this.#sentThisTurn++;
    if (this.#sentThisTurn === TURN) {
      this.#turn = Promise.withResolvers();
    }
  }

  #passOn(): void {
    this.#corked = false;
    this.#stream.uncork();
    this.#turn?.resolve();
    this.#turn = null;
  }
}
