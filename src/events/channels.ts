/** Wakes whoever follows a run in this process, and keeps its latest events at hand for them. */

import type { RunEvent, UserId } from "../agent/types.ts";

/** Events kept per followed run; who is further behind reads the database. */
const RING_SIZE = 1_024;

export class Channels {
  readonly #channels = new Map<string, Channel>();

  /** Joins the followers of a run; `leave` when done. */
  enter(user: UserId, runId: string): Channel {
    const key = JSON.stringify([user, runId]);
    const channel = this.#channels.get(key) ?? new Channel(key);
    this.#channels.set(key, channel);
    channel.followers++;
    return channel;
  }

  leave(channel: Channel): void {
    if (--channel.followers === 0) {
      this.#channels.delete(channel.key);
    }
  }

  /** Hands committed events of one or more runs of a user to their followers. */
  publish(user: UserId, events: RunEvent[]): void {
    for (const event of events) {
      this.#channels.get(JSON.stringify([user, event.runId]))?.add(event);
    }
  }
}

/** The followers of one run. */
export class Channel {
  readonly key: string;
  followers = 0;
  /** The latest events, without a gap between them. */
  #ring: RunEvent[] = [];
  #next = Promise.withResolvers<void>();

  constructor(key: string) {
    this.key = key;
  }

  add(event: RunEvent): void {
    const last = this.#ring.at(-1);
    if (last && event.sequence !== last.sequence + 1) {
      this.#ring = [];
    }
    this.#ring.push(event);
    if (this.#ring.length > RING_SIZE) {
      this.#ring.shift();
    }
    this.#next.resolve();
    this.#next = Promise.withResolvers();
  }

  /** The events after `sequence`; null when this ring cannot tell, because it holds nothing or begins later. */
  eventsAfter(sequence: number): RunEvent[] | null {
    const first = this.#ring[0];
    if (!first || first.sequence > sequence + 1) {
      return null;
    }
    return this.#ring.slice(sequence + 1 - first.sequence);
  }

  /** Resolves at the next event; take it before looking, so that none slips in between. */
  nextEvent(): Promise<void> {
    return this.#next.promise;
  }

  /** Waits for `woken`, at most `milliseconds`, or until `signal` aborts. True when woken. */
  async wait(woken: Promise<void>, milliseconds: number, signal: AbortSignal): Promise<boolean> {
    const stopped = Promise.withResolvers<false>();
    const stop = (): void => stopped.resolve(false);
    const timer = setTimeout(stop, milliseconds);
    signal.addEventListener("abort", stop, { once: true });
    try {
      return await Promise.race([woken.then(() => true), stopped.promise]);
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", stop);
    }
  }
}
