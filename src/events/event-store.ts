/** What the event log needs from a database. */

import type { MemoryUpdateStatus, RunEvent, RunEventBody, RunLease, RunStatus, UserId } from "../agent/types.ts";

/** Events of one run, to be written together. */
export interface EventBatch {
  lease: RunLease;
  events: RunEventBody[];
  /** Marks that the run's model is about to be asked. */
  requestsModel: boolean;
}

export interface EventPage {
  events: RunEvent[];
  /** Null when there is no such run of this user. */
  run: { status: RunStatus; lastSequence: number; memoryStatus: MemoryUpdateStatus } | null;
}

export interface EventStore {
  /** Writes several runs' events in one transaction. A batch whose lease is stale is left out; its entry is null. */
  append(batches: EventBatch[]): Promise<(RunEvent[] | null)[]>;
  /** Stored events after `after`, at most `limit`, in order, and how far the run is, from one snapshot. */
  read(user: UserId, runId: string, after: number, limit: number): Promise<EventPage>;
}
