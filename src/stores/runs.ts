/** Runs and what is stored with them: the user's message, the reply, the first and last events, the jobs they cause. */

import type { AcceptedRun, NewRun, RunStore } from "../agent/ports.ts";
import { isTerminal, type Run, type RunEvent, type UserId } from "../agent/types.ts";
import { AppError } from "../errors.ts";
import type { Database, Transaction } from "./database.ts";
import { isUniqueViolation } from "./database-error.ts";
import { MESSAGE_COLUMNS, numberEvents, RUN_COLUMNS, type RunRow, type SqlMessageRow, toMessage, toRun } from "./rows.ts";
import { cancelBeforeStart, endAbandoned, finishRun, takeAbandoned, writtenSoFar } from "./run-ends.ts";

export interface LeaseOptions {
  /** Names this process: leases are its own. */
  owner: string;
  /** How long a lease lasts without a heartbeat, in seconds. */
  leaseSeconds: number;
}

const NOT_TERMINAL = "('QUEUED', 'RUNNING', 'PAUSED')";

export function createRunStore(database: Database, { owner, leaseSeconds }: LeaseOptions): RunStore {
  return {
    accept(user, run) {
      return database.asUser(user, async (transaction) => {
        // Locks the user's row: whatever is accepted for one user is accepted one after the other.
        const [counter] = await transaction.query<{ session_sequence: number }>(
          `insert into recollect_users (user_id, session_sequence) values ($1, 1)
          on conflict (user_id) do update set session_sequence = recollect_users.session_sequence + 1
          returning session_sequence`,
          [user],
        );
        const repeated = await findRepeated(transaction, user, run);
        if (repeated) {
          return { run: repeated, created: false, lease: null, events: [] };
        }
        if (run.request.onBusy === "REJECT") {
          await refuseWhenBusy(transaction, user, run.sessionId);
        }
        return insertRun(transaction, user, run, counter?.session_sequence ?? 1);
      });
    },

    get(user, runId) {
      return database.asUser(user, (transaction) => findRun(transaction, user, runId));
    },

    active(user, sessionId) {
      return database.asUser(user, async (transaction) => {
        const rows = await transaction.query<RunRow>(
          `select ${RUN_COLUMNS} from recollect_runs run
          where user_id = $1 and session_id = $2 and status in ${NOT_TERMINAL} order by turn`,
          [user, sessionId],
        );
        return rows.map((row) => toRun(user, row));
      });
    },

    messages(run) {
      const { userId, runId } = run;
      return database.asUser(userId, async (transaction) => {
        const rows = await transaction.query<SqlMessageRow>(
          `select ${MESSAGE_COLUMNS} from recollect_messages where user_id = $1 and run_id = $2 order by sequence`,
          [userId, runId],
        );
        const messages = rows.map((row) => toMessage(userId, row));
        const question = messages[0];
        if (isTerminal(run.status) || !question) {
          return messages;
        }
        // Who goes on with the events after `lastSequence` must be given the text up to there, even when more is stored by now.
        const written = await writtenSoFar(transaction, userId, runId, run.lastSequence);
        return written
          ? [question, { ...question, ...written, role: "ASSISTANT", complete: false, sequence: question.sequence + 1 }]
          : [question];
      });
    },

    input(lease) {
      return database.asUser(lease.userId, async (transaction) => {
        const run = await findRun(transaction, lease.userId, lease.runId);
        const [message] = await transaction.query<SqlMessageRow & { cancel_requested: boolean }>(
          `select ${MESSAGE_COLUMNS}, (select cancel_requested from recollect_runs where user_id = $1 and run_id = $2) as cancel_requested
          from recollect_messages where user_id = $1 and run_id = $2 and role = 'USER'`,
          [lease.userId, lease.runId],
        );
        if (!run || !message) {
          throw new AppError("NOT_FOUND", "The run is gone: its conversation was deleted.");
        }
        return { run, message: toMessage(lease.userId, message), cancelRequested: message.cancel_requested };
      });
    },

    finish(lease, outcome, rest) {
      return database.asUser(lease.userId, (transaction) => finishRun(transaction, lease, outcome, rest));
    },

    requestCancel(user, runId) {
      return database.asUser(user, async (transaction) => {
        const [asked] = await transaction.query<{ status: string }>(
          `update recollect_runs set cancel_requested = true
          where user_id = $1 and run_id = $2 and status in ${NOT_TERMINAL} returning status`,
          [user, runId],
        );
        const events = asked && asked.status !== "RUNNING" ? await cancelBeforeStart(transaction, user, runId) : [];
        const run = await findRun(transaction, user, runId);
        return run && { run, events };
      });
    },

    async claim() {
      try {
        return await database.asWorker(async (transaction) => {
          const [row] = await transaction.query<{ user_id: UserId; run_id: string; attempt: number }>(
            `update recollect_runs set status = 'RUNNING', lease_owner = $1, lease_until = now() + make_interval(secs => $2), attempt = attempt + 1
            where (user_id, run_id) = (
              select queued.user_id, queued.run_id from recollect_runs queued
              where queued.status = 'QUEUED' and not exists (
                select 1 from recollect_runs earlier
                where earlier.user_id = queued.user_id and earlier.session_id = queued.session_id
                  and earlier.status in ${NOT_TERMINAL} and earlier.turn < queued.turn)
              order by queued.created_at for update skip locked limit 1)
            returning user_id, run_id, attempt`,
            [owner, leaseSeconds],
          );
          return row ? { userId: row.user_id, runId: row.run_id, owner, attempt: row.attempt } : null;
        });
      } catch (error) {
        // Another process took a run of the same session at the same moment.
        if (isUniqueViolation(error)) {
          return null;
        }
        throw error;
      }
    },

    heartbeat(runIds) {
      return database.asWorker(async (transaction) => {
        const rows = await transaction.query<{ run_id: string; cancel_requested: boolean }>(
          `with locked as (
            select user_id, run_id from recollect_runs
            where lease_owner = $1 and status = 'RUNNING' and run_id in (select jsonb_array_elements_text($3::jsonb))
            order by user_id, run_id for update
          )
          update recollect_runs run set lease_until = now() + make_interval(secs => $2) from locked
          where run.user_id = locked.user_id and run.run_id = locked.run_id and run.status = 'RUNNING'
          returning run.run_id, run.cancel_requested`,
          [owner, leaseSeconds, JSON.stringify(runIds)],
        );
        return rows.map((row) => ({ runId: row.run_id, cancelRequested: row.cancel_requested }));
      });
    },

    async reap(everyLease) {
      const abandoned = await database.asWorker((transaction) => takeAbandoned(transaction, everyLease));
      const ended: { userId: UserId; events: RunEvent[] }[] = [];
      for (const lease of abandoned) {
        const end = await database.asUser(lease.userId, (transaction) => endAbandoned(transaction, lease, everyLease));
        ended.push({ userId: lease.userId, events: end?.events ?? [] });
      }
      return ended;
    },
  };

  async function insertRun(transaction: Transaction, user: UserId, run: NewRun, sequence: number): Promise<AcceptedRun> {
    const { request, runId, sessionId } = run;
    const [row] = await transaction.query<RunRow & { at: string }>(
      `with session as (
        insert into agno_sessions (user_id, session_id, agent_id, turns, sequence) values ($1, $2, $3, 1, $4)
        on conflict (user_id, session_id) do update set turns = agno_sessions.turns + 1, sequence = $4, updated_at = now()
        returning turns
      ), run as (
        insert into recollect_runs (user_id, run_id, session_id, agent_id, turn, memory, memory_status, idempotency_key, fingerprint,
          status, lease_owner, lease_until, attempt, last_sequence)
        select $1, $5, $2, $3, session.turns, $6, case when $7::boolean then 'PENDING' else 'SKIPPED' end, $8, $9,
          case when free then 'RUNNING' else 'QUEUED' end,
          case when free then $10 end, case when free then now() + make_interval(secs => $11) end,
          case when free then 1 else 0 end, case when free then 1 else 0 end
        from session, (select not exists (
          select 1 from recollect_runs busy where busy.user_id = $1 and busy.session_id = $2 and busy.status in ${NOT_TERMINAL}) as free) as state
        returning *
      ), message as (
        insert into recollect_messages (user_id, message_id, session_id, run_id, role, content, complete, sequence)
        select $1, $12, $2, $5, 'USER', $13, true, 2 * run.turn - 1 from run
      ), started as (
        insert into recollect_run_events (user_id, run_id, sequence, type, data)
        select $1, $5, 1, 'RunStarted', '{}' from run where run.status = 'RUNNING'
      ), job as (
        insert into recollect_jobs (user_id, lane, kind, run_id, payload, state)
        select $1, 'memory', 'extract-memories', $5, '{}', 'BLOCKED' from run where $7::boolean
      )
      select ${RUN_COLUMNS}, now() as at from run`,
      [
        user,
        sessionId,
        request.agentId,
        sequence,
        runId,
        request.memory,
        run.extract,
        request.idempotencyKey,
        run.fingerprint,
        owner,
        leaseSeconds,
        run.messageId,
        request.message,
      ],
    );
    if (!row) {
      throw new Error("The statement that accepts a run returned no row.");
    }
    const accepted = toRun(user, row);
    const running = accepted.status === "RUNNING";
    return {
      run: accepted,
      created: true,
      lease: running ? { userId: user, runId, owner, attempt: 1 } : null,
      events: running ? numberEvents(runId, [{ type: "RunStarted" }], 1, row.at) : [],
    };
  }
}

async function findRun(transaction: Transaction, user: UserId, runId: string): Promise<Run | null> {
  const [row] = await transaction.query<RunRow>(`select ${RUN_COLUMNS} from recollect_runs run where user_id = $1 and run_id = $2`, [
    user,
    runId,
  ]);
  return row ? toRun(user, row) : null;
}

async function findRepeated(transaction: Transaction, user: UserId, run: NewRun): Promise<Run | null> {
  if (run.request.idempotencyKey === null) {
    return null;
  }
  const [row] = await transaction.query<RunRow & { fingerprint: string }>(
    `select ${RUN_COLUMNS}, run.fingerprint from recollect_runs run where user_id = $1 and idempotency_key = $2`,
    [user, run.request.idempotencyKey],
  );
  if (row && row.fingerprint !== run.fingerprint) {
    throw new AppError("IDEMPOTENCY_CONFLICT", "This idempotencyKey was used for another request. Use a new key for each message.");
  }
  return row ? toRun(user, row) : null;
}

async function refuseWhenBusy(transaction: Transaction, user: UserId, sessionId: string): Promise<void> {
  const rows = await transaction.query(
    `select 1 from recollect_runs where user_id = $1 and session_id = $2 and status in ${NOT_TERMINAL} limit 1`,
    [user, sessionId],
  );
  if (rows.length > 0) {
    throw new AppError("CONFLICT", "The conversation is still being answered. Wait for it, or send onBusy: ENQUEUE or INTERRUPT.");
  }
}
