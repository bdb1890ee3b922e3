/** Removes what is past its time, once in a while. */

import { setTimeout as sleep } from "node:timers/promises";
import type { Log, RetentionStore } from "../agent/ports.ts";

export interface RetentionOptions {
  store: RetentionStore;
  log: Log;
  /** How long the pieces of ended runs are kept, in hours. */
  eventHours: number;
  /** Time between two looks, in milliseconds. */
  every: number;
  /** Runs work so that it waits for what users wait for. */
  inBackground: <T>(work: () => Promise<T>) => Promise<T>;
}

export class Retention {
  readonly #options: RetentionOptions;
  readonly #closing = new AbortController();
  #working: Promise<void> | null = null;

  constructor(options: RetentionOptions) {
    this.#options = options;
  }

  start(): void {
    this.#working ??= this.#keepPruning();
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#working;
  }

  async #keepPruning(): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      await sleep(this.#options.every, undefined, { signal }).catch(() => undefined);
      await this.#prune().catch((error: unknown) => {
        this.#options.log.error({ err: error }, "what is past its time could not be removed; trying again later");
      });
    }
  }

  async #prune(): Promise<void> {
    const { store, log, eventHours } = this.#options;
    const runs = await this.#untilNone(() => store.pruneEvents(eventHours));
    if (runs > 0) {
      log.info({ runs }, "events of old runs were removed; their replies stay");
    }
    await this.#untilNone(() => store.pruneKeys());
  }

  async #untilNone(prune: () => Promise<number>): Promise<number> {
    let total = 0;
    for (let some = true; some && !this.#closing.signal.aborted; ) {
      const pruned = await this.#options.inBackground(prune);
      total += pruned;
      some = pruned > 0;
    }
    return total;
  }
}
