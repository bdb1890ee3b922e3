/** The event log's statements. Events of one run are numbered from the run's row, in the transaction that writes them. */

import type { MemoryUpdateStatus, RunEvent, RunEventBody, RunStatus, UserId } from "../agent/types.ts";
import type { Failure } from "../errors.ts";
import type { EventStore } from "../events/event-store.ts";
import type { Database, Transaction } from "./database.ts";
import { type EventRow, eventParameter, numberEvents, toEvent } from "./rows.ts";

export function createEventStore(database: Database): EventStore {
  return {
    async append(batches) {
      const parameter = batches.map(({ lease, events, beginsReply, after }, batch) => ({
        batch,
        user_id: lease.userId,
        run_id: lease.runId,
        owner: lease.owner,
        attempt: lease.attempt,
        count: events.length,
        begins_reply: beginsReply,
        base: after ?? null,
        events: JSON.parse(eventParameter(events)) as unknown,
      }));
      const rows = await database.asLog(async (transaction) => {
        return transaction.commit<{ batch: number; last_sequence: number; at: string }>(
          `with batch as (
            select * from jsonb_to_recordset($1::jsonb) as batch
              (batch integer, user_id text, run_id text, owner text, attempt integer, count integer, begins_reply boolean, base integer,
               events jsonb)
          ), locked as (
            -- In one order, here and where leases are renewed: else two of them could wait for each other.
            select run.user_id, run.run_id from recollect_runs run join batch using (user_id, run_id) order by 1, 2 for update of run
          ), run as (
            update recollect_runs run set last_sequence = coalesce(batch.base, run.last_sequence) + batch.count,
              reply_begun = run.reply_begun or batch.begins_reply
            from locked join batch using (user_id, run_id) where run.user_id = batch.user_id and run.run_id = batch.run_id
              and run.lease_owner = batch.owner and run.attempt = batch.attempt and run.status = 'RUNNING'
            returning batch.batch, run.user_id, run.run_id, run.last_sequence - batch.count as base, run.last_sequence, batch.events
          ), event as (
            insert into recollect_run_events (user_id, run_id, sequence, type, data, at)
            select run.user_id, run.run_id, run.base + event.position, event.type, event.data, coalesce(event.at, now())
            from run, jsonb_to_recordset(run.events) as event (position integer, type text, data jsonb, at timestamptz)
            on conflict do nothing
          )
          select batch, last_sequence, now() as at from run`,
          [JSON.stringify(parameter)],
        );
      });
      const written = new Map(rows.map((row) => [row.batch, row]));
      return batches.map(({ lease, events }, batch) => {
        const row = written.get(batch);
        return row ? numberEvents(lease.runId, events, row.last_sequence, row.at) : null;
      });
    },

    read(user, runId, after, limit) {
      return database.asUser(user, async (transaction) => {
        const [row] = await transaction.commit<{
          status: RunStatus;
          last_sequence: number;
          memory_status: MemoryUpdateStatus;
          events: EventRow[];
        }>(
          `select status, last_sequence, memory_status, coalesce((
              select jsonb_agg(to_jsonb(event) order by event.sequence) from (
                select sequence, type, data, at from recollect_run_events
                where user_id = $1 and run_id = $2 and sequence > $3 order by sequence limit $4) as event), '[]') as events
          from recollect_runs where user_id = $1 and run_id = $2`,
          [user, runId, after, limit],
        );
        return {
          events: (row?.events ?? []).map((event) => toEvent(runId, event)),
          run: row ? { status: row.status, lastSequence: row.last_sequence, memoryStatus: row.memory_status } : null,
        };
      });
    },

    release: () => undefined,
  };
}

/** Appends events that follow a run's end, with what its memory work came to. */
export async function appendRunEvents(
  transaction: Transaction,
  user: UserId,
  runId: string,
  bodies: RunEventBody[],
  memory: { memoryStatus: MemoryUpdateStatus; memoryError: Failure | null },
): Promise<RunEvent[]> {
  const [row] = await transaction.query<{ last_sequence: number; at: string }>(
    `with run as (
      update recollect_runs set last_sequence = last_sequence + $3, memory_status = $4, memory_error = $5::jsonb
      where user_id = $1 and run_id = $2 returning last_sequence
    ), event as (
      insert into recollect_run_events (user_id, run_id, sequence, type, data)
      select $1, $2, run.last_sequence - $3 + event.position, event.type, event.data
      from run, jsonb_to_recordset($6::jsonb) as event (position integer, type text, data jsonb)
    )
    select last_sequence, now() as at from run`,
    [
      user,
      runId,
      bodies.length,
      memory.memoryStatus,
      memory.memoryError ? JSON.stringify(memory.memoryError) : null,
      eventParameter(bodies),
    ],
  );
  return row ? numberEvents(runId, bodies, row.last_sequence, row.at) : [];
}
