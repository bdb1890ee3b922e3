/** Durable background work. A job's effect and its completion share a transaction, fenced by owner and attempt: one effect, once. */

import type { JobStore, Learned } from "../agent/ports.ts";
import type { JobKind, JobLease, RunEventBody, UserId } from "../agent/types.ts";
import type { Failure } from "../errors.ts";
import type { Database, Transaction } from "./database.ts";
import { isUniqueViolation } from "./database-error.ts";
import { failedLearning, retryLearning } from "./failed-learning.ts";
import { appendRunEvents } from "./run-events.ts";
import type { LeaseOptions } from "./runs.ts";
import { countingUsage, usageValues } from "./usage.ts";

/** Delays before the second, third, … try of a job, in seconds. */
const BACKOFF_SECONDS = [2, 10, 60, 300];
/** A job claimed this often, about a day of trying, is given up whatever became of those tries. */
const MOST_CLAIMS = 300;

/** Whether another job of a job's lane waits to be claimed. */
const OTHER_READY = `exists (
  select 1 from recollect_jobs other where other.user_id = job.user_id and other.lane = job.lane and other.state = 'READY')`;

interface ClaimedRow {
  job_id: string;
  user_id: UserId;
  kind: JobKind;
  attempt: number;
  awaited: boolean;
}

const MAY_BE_CLAIMED = `job.state = 'READY' and ($3::boolean or job.run_at <= now()) and not exists (
      select 1 from recollect_jobs other
      where other.user_id = job.user_id and other.lane = job.lane
        and (other.state = 'RUNNING' or (other.state = 'READY' and other.job_id < job.job_id)))`;
const OLDEST = `select job.job_id from recollect_jobs job where ${MAY_BE_CLAIMED}
    order by job.run_at, job.job_id for update skip locked`;
const TAKE = `update recollect_jobs taken set state = 'RUNNING', attempt = attempt + 1, lease_owner = $1, lease_until = now() + make_interval(secs => $2)`;
const TAKEN = `returning job_id::text, user_id, kind, attempt, exists (
    select 1 from recollect_jobs other
    where other.user_id = taken.user_id and other.lane = taken.lane and other.state = 'READY' and other.job_id <> taken.job_id) as awaited`;
const CLAIM = `with due as materialized (${OLDEST} limit $4) ${TAKE} where job_id in (select job_id from due) ${TAKEN}`;
const CLAIM_AWAITED = `with awaited as (
    select job.job_id from jsonb_array_elements_text($5::jsonb) as person (user_id)
    join recollect_jobs job on job.user_id = person.user_id collate "C" and job.lane = 'memory'
    where ${MAY_BE_CLAIMED} limit $4 for update of job skip locked
  ), oldest as (
    ${OLDEST} limit greatest(0, $4 - (select count(*) from awaited))
  )
  ${TAKE} where job_id in (select job_id from awaited union select job_id from oldest) ${TAKEN}`;

export function createJobStore(database: Database, { owner, leaseSeconds }: LeaseOptions): JobStore {
  return {
    async claim(ignoreDelay, limit, first) {
      try {
        return await database.asWorker(async (transaction) => {
          const values = [owner, leaseSeconds, ignoreDelay, limit];
          const rows = await (first.length > 0
            ? transaction.commit<ClaimedRow>(CLAIM_AWAITED, [...values, JSON.stringify(first)])
            : transaction.commit<ClaimedRow>(CLAIM, values));
          return rows.map((row) => ({
            job: { jobId: row.job_id, userId: row.user_id, kind: row.kind, owner, attempt: row.attempt },
            exhausted: row.attempt > MOST_CLAIMS,
            awaited: row.awaited,
          }));
        });
      } catch (error) {
        // Another process took a job of the same lane at the same moment.
        if (isUniqueViolation(error)) {
          return [];
        }
        throw error;
      }
    },

    heartbeat(jobIds) {
      return database.asWorker(async (transaction) => {
        const rows = await transaction.commit<{ job_id: string }>(
          `update recollect_jobs set lease_until = now() + make_interval(secs => $2)
          where lease_owner = $1 and state = 'RUNNING' and job_id in (select jsonb_array_elements_text($3::jsonb)::bigint)
          returning job_id::text`,
          [owner, leaseSeconds, JSON.stringify(jobIds)],
        );
        return rows.map((row) => row.job_id);
      });
    },

    payload(job) {
      return database.asUser(job.userId, async (transaction) => {
        const [row] = await transaction.commit<{ payload: Record<string, unknown> }>(
          "select payload from recollect_jobs where user_id = $1 and job_id = $2::bigint",
          [job.userId, job.jobId],
        );
        return row?.payload ?? null;
      });
    },

    async complete(job) {
      await database.asUser(job.userId, (transaction) => completeJob(transaction, job));
    },

    fail(job, failure, maxAttempts) {
      return database.asUser(job.userId, (transaction) => failJob(transaction, job, failure, maxAttempts));
    },

    reap(everyLease) {
      return database.asWorker(async (transaction) => {
        // A summary behind which another one waits is left to that one: of a lane one job may be ready.
        await transaction.query(
          `delete from recollect_jobs job
          where state = 'RUNNING' and ($1::boolean or lease_until < now()) and kind = 'summarize-session' and ${OTHER_READY}`,
          [everyLease],
        );
        const rows = await transaction.query(
          `update recollect_jobs set state = 'READY', run_at = now(), lease_owner = null, lease_until = null
          where state = 'RUNNING' and ($1::boolean or lease_until < now()) returning 1 as one`,
          [everyLease],
        );
        return rows.length;
      });
    },

    async giveBack(job) {
      await database.asUser(job.userId, (transaction) =>
        transaction.commit(
          `update recollect_jobs job set state = 'READY', attempt = attempt - 1, run_at = now(), lease_owner = null, lease_until = null
          where user_id = $1 and job_id = $2::bigint and lease_owner = $3 and attempt = $4 and state = 'RUNNING'
            and not (kind = 'summarize-session' and ${OTHER_READY})`,
          [job.userId, job.jobId, job.owner, job.attempt],
        ),
      );
    },

    async hurry() {
      await database.asWorker((transaction) =>
        transaction.commit("update recollect_jobs set run_at = now() where state = 'READY' and attempt > 0 and run_at > now()"),
      );
    },

    counts() {
      return database.asWorker(async (transaction) => {
        const [row] = await transaction.commit<{ waiting: number; due: number; running: number; dead: number; oldest: number | null }>(
          `select count(*) filter (where state in ('READY', 'BLOCKED'))::int as waiting, count(*) filter (where state = 'READY')::int as due,
            count(*) filter (where state = 'RUNNING')::int as running,
            count(*) filter (where state = 'DEAD')::int as dead,
            extract(epoch from now() - min(created_at) filter (where state = 'READY'))::int as oldest from recollect_jobs`,
        );
        return {
          waiting: row?.waiting ?? 0,
          due: row?.due ?? 0,
          running: row?.running ?? 0,
          dead: row?.dead ?? 0,
          oldestWaitingSeconds: row?.oldest ?? null,
        };
      });
    },

    requestSummary(user, sessionId) {
      return database.asUser(user, async (transaction) => {
        // Claimed before whatever else waits: somebody waits for it.
        const [row] = await transaction.commit<{ job_id: string }>(
          `insert into recollect_jobs (user_id, lane, kind, payload, state, run_at)
          values ($1, $2, 'summarize-session', jsonb_build_object('sessionId', $3::text), 'READY', 'epoch')
          on conflict (user_id, lane) where kind = 'summarize-session' and state = 'READY'
          do update set run_at = 'epoch', attempt = 0, last_error = null
          returning job_id::text`,
          [user, summaryLane(sessionId), sessionId],
        );
        if (!row) {
          throw new Error("The statement that requests a summary returned no row.");
        }
        return row.job_id;
      });
    },

    state(user, jobId) {
      return database.asUser(user, async (transaction) => {
        const [row] = await transaction.commit<{ failure: Failure | null }>(
          "select last_error as failure from recollect_jobs where user_id = $1 and job_id = $2::bigint",
          [user, jobId],
        );
        return row ?? null;
      });
    },

    failedLearning: (user, page) => failedLearning(database, user, page),
    retryLearning: (user, runId, request) => retryLearning(database, user, runId, request),
  };
}

/** The lane of a session's summary jobs. */
export function summaryLane(sessionId: string): string {
  return `summary:${sessionId}`;
}

/**
 * What ends an extraction, as common table expressions of the statement that holds its effect: `job` is removed and `run` is
 * told what changed. When the lease is stale, or the run is gone, `run` is empty: then nothing else may be written.
 * $1 is the user; the values of `endOfLearning` are bound from parameter `first` on.
 */
export function endingLearning(first: number): string {
  return `job as (
      delete from recollect_jobs where user_id = $1 and job_id = $${first}::bigint and lease_owner = $${first + 1} and attempt = $${first + 2}
        and state = 'RUNNING' returning user_id
    ), run as (
      update recollect_runs run set last_sequence = last_sequence + 1, memory_status = 'DONE', memory_error = null
      from job where run.user_id = $1 and run.run_id = $${first + 3} returning last_sequence
    ), event as (
      insert into recollect_run_events (user_id, run_id, sequence, type, data)
      select $1, $${first + 3}, run.last_sequence, 'MemoryUpdate', jsonb_build_object('changeIds', $${first + 4}::jsonb) from run
    ), ${countingUsage("memory", "run", first + 5)}`;
}

export function endOfLearning(job: JobLease, { runId, usage }: Learned, changeIds: string[]): unknown[] {
  return [job.jobId, job.owner, job.attempt, runId, JSON.stringify(changeIds), ...usageValues(usage)];
}

/** Removes a job in the transaction that holds its effect. False when the lease is stale: then nothing else may be written. */
export async function completeJob(transaction: Transaction, job: JobLease): Promise<boolean> {
  const rows = await transaction.query(
    `delete from recollect_jobs where user_id = $1 and job_id = $2::bigint and lease_owner = $3 and attempt = $4 and state = 'RUNNING'
    returning 1 as one`,
    [job.userId, job.jobId, job.owner, job.attempt],
  );
  return rows.length === 1;
}

async function failJob(
  transaction: Transaction,
  job: JobLease,
  failure: Failure,
  maxAttempts: number,
): Promise<Awaited<ReturnType<JobStore["fail"]>>> {
  const left = await transaction.query(
    `delete from recollect_jobs job where user_id = $1 and job_id = $2::bigint and lease_owner = $3 and attempt = $4 and state = 'RUNNING'
      and kind = 'summarize-session' and ${OTHER_READY} returning 1 as one`,
    [job.userId, job.jobId, job.owner, job.attempt],
  );
  if (left.length > 0) {
    return { dead: false, events: [] };
  }
  const delay = BACKOFF_SECONDS[job.attempt - 1] ?? BACKOFF_SECONDS.at(-1);
  const [row] = await transaction.query<{ state: string; kind: JobKind; run_id: string | null }>(
    `update recollect_jobs set state = case when attempt < $6::integer then 'READY' else 'DEAD' end, last_error = $5::jsonb,
      run_at = now() + make_interval(secs => $7), lease_owner = null, lease_until = null
    where user_id = $1 and job_id = $2::bigint and lease_owner = $3 and attempt = $4 and state = 'RUNNING'
    returning state, kind, run_id`,
    [job.userId, job.jobId, job.owner, job.attempt, JSON.stringify(failure), maxAttempts, delay],
  );
  if (row?.state !== "DEAD" || row.kind !== "extract-memories" || row.run_id === null) {
    return { dead: row?.state === "DEAD", events: [] };
  }
  const bodies: RunEventBody[] = [{ type: "MemoryUpdateFailed", error: failure }];
  const events = await appendRunEvents(transaction, job.userId, row.run_id, bodies, {
    memoryStatus: "FAILED",
    memoryError: failure,
  });
  return { dead: true, events };
}
