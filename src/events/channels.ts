/** Wakes whoever follows something in this process. Followers are told that there is news, and look for themselves: nothing is pushed. */

import type { RunEvent } from "../agent/types.ts";

/** Events kept per followed run; who is further behind reads the database. */
const RING_SIZE = 1_024;

/** The channels that have followers, by name. */
export class Channels<C extends Channel> {
  readonly #channels = new Map<string, C>();
  readonly #make: (key: string) => C;

  constructor(make: (key: string) => C) {
    this.#make = make;
  }

  /** Joins the followers of what has this name, the user first; `leave` when done. */
  enter(...name: string[]): C {
    const key = JSON.stringify(name);
    const channel = this.#channels.get(key) ?? this.#make(key);
    this.#channels.set(key, channel);
    channel.followers++;
    return channel;
  }

  leave(channel: C): void {
    if (--channel.followers === 0) {
      this.#channels.delete(channel.key);
    }
  }

  /** The channel of this name; null when nobody follows it. */
  find(...name: string[]): C | null {
    return this.#channels.get(JSON.stringify(name)) ?? null;
  }
}

/** The followers of one thing. */
export class Channel {
  readonly key: string;
  followers = 0;
  #news = Promise.withResolvers<void>();

  constructor(key: string) {
    this.key = key;
  }

  wake(): void {
    this.#news.resolve();
    this.#news = Promise.withResolvers();
  }

  /** Resolves at the next news; take it before looking, so that none slips in between. */
  news(): Promise<void> {
    return this.#news.promise;
  }

  /** Waits for `news`, at most `milliseconds`, or until `signal` aborts. True when there was news. */
  async wait(news: Promise<void>, milliseconds: number, signal: AbortSignal): Promise<boolean> {
    if (signal.aborted) {
      return false;
    }
    const stopped = Promise.withResolvers<false>();
    const stop = (): void => stopped.resolve(false);
    const timer = setTimeout(stop, milliseconds);
    signal.addEventListener("abort", stop, { once: true });
    try {
      return await Promise.race([news.then(() => true), stopped.promise]);
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", stop);
    }
  }
}

/** The followers of one run, with its latest events at hand for them. */
export class RunChannel extends Channel {
  /** The latest events, without a gap between them. */
  #ring: RunEvent[] = [];

  add(event: RunEvent): void {
    const last = this.#ring.at(-1);
    if (last && event.sequence !== last.sequence + 1) {
      this.#ring = [];
    }
    this.#ring.push(event);
    if (this.#ring.length > RING_SIZE) {
      this.#ring.shift();
    }
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
}
