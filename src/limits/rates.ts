/** What one user or one address may do at a time and in a minute. Counted in this process, which allows its share of a rate when there are several. */

import { AppError } from "../errors.ts";

/** From how many names on those are forgotten that have not been heard of for a minute. */
const FORGET_FROM = 10_000;
const MINUTE_MS = 60_000;

interface Bucket {
  /** Requests that may still be made, at the time `at` (ms). */
  left: number;
  at: number;
}

/** Requests a minute, for each name of its own: a burst of a minute's worth, then as many as the minute brings back. */
export class RequestRate {
  readonly #perMinute: number | null;
  readonly #processes: () => number;
  readonly #now: () => number;
  readonly #buckets = new Map<string, Bucket>();
  #forgetFrom = FORGET_FROM;

  /**
   * `perMinute`: null for no limit. `processes`: how many share it, this one included. `now`: the time in ms, by default of a
   * clock that never goes back.
   */
  constructor(
    perMinute: number | null,
    { processes = () => 1, now = () => performance.now() }: { processes?: () => number; now?: () => number } = {},
  ) {
    this.#perMinute = perMinute;
    this.#processes = processes;
    this.#now = now;
  }

  /** Counts one request. Throws RATE_LIMITED, with the time to wait, for one too many: that one does not count. */
  count(name: string): void {
    if (this.#perMinute === null) {
      return;
    }
    const now = this.#now();
    const share = Math.max(1, this.#perMinute / this.#processes());
    const bucket = this.#buckets.get(name) ?? { left: share, at: now };
    bucket.left = Math.min(share, bucket.left + ((now - bucket.at) / MINUTE_MS) * share);
    bucket.at = now;
    if (bucket.left < 1) {
      throw tooMany(
        `More than ${this.#perMinute} requests in a minute. Send fewer at a time.`,
        Math.max(1, Math.ceil(((1 - bucket.left) / share) * (MINUTE_MS / 1_000))),
        { name: "requestsPerMinute", max: this.#perMinute },
      );
    }
    bucket.left -= 1;
    this.#buckets.set(name, bucket);
    if (this.#buckets.size > this.#forgetFrom) {
      this.#forget(now);
    }
  }

  /** A bucket not used for a minute is full again. */
  #forget(now: number): void {
    for (const [name, { at }] of this.#buckets) {
      if (now - at > MINUTE_MS) {
        this.#buckets.delete(name);
      }
    }
    this.#forgetFrom = Math.max(FORGET_FROM, this.#buckets.size * 2);
  }
}

/** How many of something there may be at the same time, for each name of its own. */
export class Places {
  readonly #each: number | null;
  readonly #taken = new Map<string, number>();

  /** `each`: null for no limit. */
  constructor(each: number | null) {
    this.#each = each;
  }

  /** Takes a place; null when there is none left. What it returns gives the place back, once. */
  take(name: string): (() => void) | null {
    const taken = this.#taken.get(name) ?? 0;
    if (this.#each !== null && taken >= this.#each) {
      return null;
    }
    this.#taken.set(name, taken + 1);
    let given = true;
    return () => {
      if (given) {
        given = false;
        this.#leave(name);
      }
    };
  }

  #leave(name: string): void {
    const left = (this.#taken.get(name) ?? 1) - 1;
    if (left === 0) {
      this.#taken.delete(name);
    } else {
      this.#taken.set(name, left);
    }
  }
}

/** A RATE_LIMITED: what is too much and what to do about it, and when to come back. */
export function tooMany(message: string, retryAfterSeconds: number, limit: { name: string; max: number }): AppError {
  return new AppError("RATE_LIMITED", message, { details: { retryAfterSeconds, limit } });
}
