/**
 * Named moments at which a crash has something to spoil. Each is published on the diagnostics channel "recollect:step", where
 * the chaos harness waits to kill the process; without a subscriber a step costs one look at a property.
 */

import { channel } from "node:diagnostics_channel";

export const STEPS = [
  /** The embedded database's folder is locked; then it is open. */
  "folder-locked",
  "folder-opened",
  /** The schema is about to be brought up to date; then it is. */
  "migrating",
  "migrated",
  /** A message is stored, nobody was told. */
  "run-accepted",
  /** A waiting run was taken from the queue. */
  "run-claimed",
  /** Events are stored, nobody was told. */
  "events-stored",
  /** The reply is complete and its end not stored; then it is. */
  "reply-complete",
  "run-ended",
  "jobs-claimed",
  /** The model has named the facts of a message; then they are stored. */
  "facts-found",
  "facts-stored",
  /** Memories written by hand are stored within their transaction; then it is committed. */
  "batch-written",
  "batch-stored",
  /** The model has written a summary; then it is stored. */
  "summary-written",
  "summary-stored",
] as const;

export type Step = (typeof STEPS)[number];

const steps = channel("recollect:step");

/** Says that a step is reached. Subscribers run before this returns. */
export function step(name: Step): void {
  if (steps.hasSubscribers) {
    steps.publish(name);
  }
}
