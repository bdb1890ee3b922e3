/** What the event log needs from a database. */

import type { MemoryUpdateStatus, RunEvent, RunEventBody, RunLease, RunStatus, UserId } from "../agent/types.ts";

/** What happened, and when, if that is not now. */
export type UnnumberedEvent = RunEventBody & { at?: Date };

/** Events of one run, to be written together. */
export interface EventBatch {
  lease: RunLease;
  events: UnnumberedEvent[];
  /** Something of the reply is among them: from here on the run is never carried out again. */
  beginsReply: boolean;
  /** The number they follow, where the writer knows better than the run's row; what is stored of them already is left as it is. */
  after?: number;
}

export interface EventPage {
  events: RunEvent[];
  /** Null when there is no such run of this user. */
  run: { status: RunStatus; lastSequence: number; memoryStatus: MemoryUpdateStatus } | null;
}

export interface EventStore {
  /**
   * Writes several runs' events together. A batch whose lease is stale is left out: its entry is null. An entry is an error when
   * that batch alone could not be written.
   */
  append(batches: EventBatch[]): Promise<(RunEvent[] | null | Error)[]>;
  /** Stored events after `after`, at most `limit`, in order, and how far the run is, from one snapshot. */
  read(user: UserId, runId: string, after: number, limit: number): Promise<EventPage>;
  /** Nothing more is written under this lease. */
  release(lease: RunLease): void;
}
