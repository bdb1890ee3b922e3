/** Removes what is kept for a time only, a little at a time, so that nobody waits for it. Several processes may do it at once. */

import type { RetentionStore } from "../agent/ports.ts";
import type { Database } from "./database.ts";

/** Runs looked at, and events removed, in one unit of work; a longer run is removed whole. */
const RUNS_PER_UNIT = 50;
const EVENTS_PER_UNIT = 1_000;
const KEYS_PER_UNIT = 1_000;
/** Clients are promised half of it. */
const KEYS_KEPT = "48 hours";

export function createRetentionStore(database: Database): RetentionStore {
  return {
    pruneEvents(hours) {
      return database.asWorker(async (transaction) => {
        const [row] = await transaction.commit<{ runs: number }>(
          `with due as (
            select user_id, run_id, finished_at, last_sequence from recollect_runs
            where pieces_kept and finished_at < now() - make_interval(hours => $1) and memory_status <> 'PENDING'
            order by finished_at limit $2 for update skip locked
          ), chosen as (
            select user_id, run_id from (
              select user_id, run_id, sum(last_sequence) over (order by finished_at, user_id, run_id) - last_sequence as before from due
            ) as counted where before < $3
          ), pruned as (
            delete from recollect_run_events event using chosen
            where event.user_id = chosen.user_id and event.run_id = chosen.run_id
              and event.type not in ('RunFinished', 'RunError', 'RunCancelled', 'MemoryUpdate', 'MemoryUpdateFailed')
          ), marked as (
            update recollect_runs run set pieces_kept = false from chosen
            where run.user_id = chosen.user_id and run.run_id = chosen.run_id returning 1
          )
          select count(*)::int as runs from marked`,
          [hours, RUNS_PER_UNIT, EVENTS_PER_UNIT],
        );
        return row?.runs ?? 0;
      });
    },

    pruneKeys() {
      return database.asWorker(async (transaction) => {
        const rows = await transaction.commit(
          `delete from recollect_idempotency where (user_id, key) in (
            select user_id, key from recollect_idempotency where created_at < now() - $1::interval
            order by created_at limit $2)
          returning 1 as one`,
          [KEYS_KEPT, KEYS_PER_UNIT],
        );
        return rows.length;
      });
    },
  };
}
