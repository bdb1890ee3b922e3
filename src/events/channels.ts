/** Wakes whoever follows something. Followers are told that there is news, and look for themselves: nothing is pushed. */

import { createHash } from "node:crypto";
import { PEER_WORDS, type Peers } from "../agent/ports.ts";
import type { RunEvent } from "../agent/types.ts";

/** Events kept per followed run; who is further behind reads the database. */
const RING_SIZE = 1_024;
/** Text kept per followed run, in UTF-16 units; the latest event is always kept. */
const RING_TEXT = 256 * 1_024;
/** Long enough that two names never share a word by chance. */
const WORD_LENGTH = 16;

/** Of a process that has its database to itself. */
export const NO_PEERS: Peers = { others: 0, listening: true, tell: () => undefined, hear: () => undefined };

/** How often followers are sent to the database although nothing woke them (ms): while words of other processes cannot be heard, and otherwise. */
const DEAF_INTERVAL = 1_000;
const HEARING_INTERVAL = 30_000;

/** The channels that have followers in this process, by name; names are a topic's own, the user first. */
export class Channels<C extends Channel> {
  readonly #channels = new Map<string, C>();
  readonly #byWord = new Map<string, C>();
  readonly #topic: string;
  readonly #make: (name: string[]) => C;
  readonly #peers: Peers;
  /** Runs while anybody follows anything. */
  #looking: NodeJS.Timeout | null = null;
  #lastLook = 0;

  constructor(topic: string, make: (name: string[]) => C, peers: Peers) {
    this.#topic = topic;
    this.#make = make;
    this.#peers = peers;
    peers.hear((word) => (word === PEER_WORDS.missed ? this.#wakeAll() : this.#byWord.get(word)?.lookAgain()));
  }

  /** Joins the followers of what has this name; `leave` when done. */
  enter(...name: string[]): C {
    const channel = this.find(...name) ?? this.#add(name);
    channel.followers++;
    return channel;
  }

  leave(channel: C): void {
    if (--channel.followers === 0) {
      this.#channels.delete(keyOf(channel.name));
      this.#byWord.delete(this.#wordOf(channel.name));
      if (this.#channels.size === 0 && this.#looking) {
        clearInterval(this.#looking);
        this.#looking = null;
      }
    }
  }

  /** The channel of this name; null when nobody in this process follows it. */
  find(...name: string[]): C | null {
    return this.#channels.get(keyOf(name)) ?? null;
  }

  /** Wakes the followers in other processes. */
  tellPeers(...name: string[]): void {
    if (this.#peers.others > 0) {
      this.#peers.tell(this.#wordOf(name));
    }
  }

  #add(name: string[]): C {
    const channel = this.#make(name);
    this.#channels.set(keyOf(name), channel);
    this.#byWord.set(this.#wordOf(name), channel);
    this.#looking ??= setInterval(() => this.#look(), DEAF_INTERVAL);
    return channel;
  }

  #look(): void {
    const now = performance.now();
    if (!this.#peers.listening || now - this.#lastLook >= HEARING_INTERVAL) {
      this.#lastLook = now;
      this.#wakeAll();
    }
  }

  #wakeAll(): void {
    for (const channel of this.#channels.values()) {
      channel.lookAgain();
    }
  }

  #wordOf(name: string[]): string {
    return createHash("sha256")
      .update(keyOf([this.#topic, ...name]))
      .digest("base64url")
      .slice(0, WORD_LENGTH);
  }
}

function keyOf(name: string[]): string {
  return JSON.stringify(name);
}

/** The followers of one thing. */
export class Channel {
  readonly name: string[];
  followers = 0;
  #news = Promise.withResolvers<void>();

  constructor(name: string[]) {
    this.name = name;
  }

  wake(): void {
    this.#news.resolve();
    this.#news = Promise.withResolvers();
  }

  /** Wakes the followers and sends them to the database: something was written that this process did not see. */
  lookAgain(): void {
    this.wake();
  }

  /** Resolves at the next news; take it before looking, so that none slips in between. */
  news(): Promise<void> {
    return this.#news.promise;
  }

  /** Waits for `news`, or until `signal` aborts. */
  async wait(news: Promise<void>, signal: AbortSignal): Promise<void> {
    if (signal.aborted) {
      return;
    }
    const stopped = Promise.withResolvers<void>();
    const stop = (): void => stopped.resolve();
    signal.addEventListener("abort", stop, { once: true });
    await Promise.race([news, stopped.promise]).finally(() => signal.removeEventListener("abort", stop));
  }
}

/** The followers of one run, with its latest events at hand for them. */
export class RunChannel extends Channel {
  /** The latest events, without a gap between them. */
  #ring: RunEvent[] = [];
  #text = 0;

  add(event: RunEvent): void {
    const last = this.#ring.at(-1);
    if (last && event.sequence !== last.sequence + 1) {
      this.#empty();
    }
    this.#ring.push(event);
    this.#text += textLength(event);
    while (this.#ring.length > RING_SIZE || (this.#text > RING_TEXT && this.#ring.length > 1)) {
      this.#drop();
    }
    this.wake();
  }

  override lookAgain(): void {
    this.#empty();
    this.wake();
  }

  /** The events after `sequence`; null when this ring cannot tell, because it holds nothing or begins later. */
  eventsAfter(sequence: number): RunEvent[] | null {
    const first = this.#ring[0];
    if (!first || first.sequence > sequence + 1) {
      return null;
    }
    return this.#ring.slice(sequence + 1 - first.sequence);
  }

  #drop(): void {
    const oldest = this.#ring.shift();
    this.#text -= oldest ? textLength(oldest) : 0;
  }

  #empty(): void {
    this.#ring = [];
    this.#text = 0;
  }
}

function textLength(event: RunEvent): number {
  return "delta" in event ? event.delta.length : "content" in event ? event.content.length : 0;
}
