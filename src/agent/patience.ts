/** Waiting for a database that is away for a moment: restarted, failed over, or too busy. */

import { AppError } from "../errors.ts";

/** How long is waited in all, and between two tries, growing (ms). */
const LONGEST_WAIT = 8_000;
const FIRST_DELAY = 100;
const LONGEST_DELAY = 1_000;

/**
 * Does the work, again and again while it fails with SERVICE_UNAVAILABLE, and then throws that. What it did may be done although
 * it failed: a commit whose answer was lost. The work has to bear being done twice.
 */
export async function patiently<T>(work: (attempt: number) => Promise<T>): Promise<T> {
  const until = performance.now() + LONGEST_WAIT;
  for (let attempt = 1, delay = FIRST_DELAY; ; attempt++, delay = Math.min(2 * delay, LONGEST_DELAY)) {
    try {
      return await work(attempt);
    } catch (error) {
      if (!isAway(error) || performance.now() + delay > until) {
        throw error;
      }
    }
    await new Promise((resolve) => setTimeout(resolve, delay));
  }
}

function isAway(error: unknown): boolean {
  return error instanceof AppError && error.code === "SERVICE_UNAVAILABLE";
}
