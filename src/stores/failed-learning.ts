/** Extractions that were given up: listed, and tried again. */

import type { Page, PageRequest } from "../agent/ports.ts";
import type { RequestKey, Run, UserId } from "../agent/types.ts";
import type { Database, Transaction } from "./database.ts";
import { once } from "./idempotency.ts";
import { pageQuery, toPage } from "./paging.ts";
import { RUN_COLUMNS, type RunRow, toRun } from "./rows.ts";

const LIST = "failed-learning";

export function failedLearning(database: Database, user: UserId, page: PageRequest): Promise<Page<Run>> {
  const query = pageQuery(LIST, page);
  return database.asUser(user, async (transaction) => {
    const rows = await transaction.commit<RunRow & { job_id: string }>(
      `select ${RUN_COLUMNS}, job.job_id::text from recollect_jobs job join recollect_runs run using (user_id, run_id)
      where job.user_id = $1 and job.state = 'DEAD' and job.kind = 'extract-memories'
        and ($2::bigint is null or job.job_id < $2::bigint) and ($3::bigint is null or job.job_id > $3::bigint)
      order by job.job_id ${query.fromEnd ? "asc" : "desc"} limit $4`,
      [user, query.after, query.before, query.limit],
    );
    const found = toPage(LIST, query, rows, (row) => Number(row.job_id));
    return { ...found, items: found.items.map(({ cursor, node }) => ({ cursor, node: toRun(user, node) })) };
  });
}

export async function retryLearning(database: Database, user: UserId, runId: string, request: RequestKey | null): Promise<boolean> {
  const found = await database.asUser(user, (transaction) =>
    once(transaction, user, request, {
      work: async () => (await requeue(transaction, user, runId)) || null,
      keep: () => ({}),
      recall: async () => true,
    }),
  );
  return found ?? false;
}

/** A new job: one that still believed it had the old one could be taken for whoever carries this one out. */
async function requeue(transaction: Transaction, user: UserId, runId: string): Promise<boolean> {
  await transaction.query(
    `with dead as (
      delete from recollect_jobs where user_id = $1 and run_id = $2 and kind = 'extract-memories' and state = 'DEAD' returning lane, payload
    ), job as (
      insert into recollect_jobs (user_id, lane, kind, run_id, payload, state)
      select $1, lane, 'extract-memories', $2, payload, 'READY' from dead
    )
    update recollect_runs set memory_status = 'PENDING', memory_error = null
    where user_id = $1 and run_id = $2 and exists (select 1 from dead)`,
    [user, runId],
  );
  const rows = await transaction.query("select 1 as one from recollect_runs where user_id = $1 and run_id = $2", [user, runId]);
  return rows.length === 1;
}
