/** What clients were told, kept outside the server: what has to be true once things have calmed down. */

import type { RunEvent } from "../../src/agent/types.ts";

/** One message of a user, sent again with the same key until it is answered. */
export interface SentRun {
  user: number;
  fact: string;
  key: string;
  /** The ids of runs that answers to this key named: one, or something is wrong. None: no answer was seen. */
  runIds: Set<string>;
  /** The events a reader was shown, by sequence. */
  seen: Map<number, string>;
  /** What else was shown under a sequence already seen. */
  contradictions: string[];
}

/** Several memories written in one request. */
export interface SentBatch {
  user: number;
  facts: string[];
  acknowledged: boolean;
}

export interface Ledger {
  /** Users who took part. */
  users: number[];
  runs: SentRun[];
  batches: SentBatch[];
}

export function createLedger(): Ledger {
  return { users: [], runs: [], batches: [] };
}

/** What of an event may never change. */
export function eventText(event: { __typename?: string; type?: RunEvent["type"]; delta?: string }): string {
  return JSON.stringify([event.__typename ?? event.type, event.delta ?? null]);
}

export function recordEvent(run: SentRun, event: { __typename: string; runId: string; sequence: number; delta?: string }): void {
  run.runIds.add(event.runId);
  const text = eventText(event);
  const before = run.seen.get(event.sequence);
  if (before !== undefined && before !== text) {
    run.contradictions.push(`sequence ${event.sequence} was ${before} and then ${text}`);
  }
  run.seen.set(event.sequence, text);
}
