/** Runs and what is stored with them: the user's message, the reply, the first and last events, the jobs they cause. */

import type { AcceptedRun, NewRun, RunStore } from "../agent/ports.ts";
import { isTerminal, type Message, type Run, type RunEvent, type RunLease, type UserId } from "../agent/types.ts";
import { AppError } from "../errors.ts";
import type { Database, Transaction } from "./database.ts";
import { isUniqueViolation } from "./database-error.ts";
import { type Pieces, piecesAway } from "./pieces.ts";
import { MESSAGE_COLUMNS, numberEvents, RUN_COLUMNS, type RunRow, type SqlMessageRow, toMessage, toRun } from "./rows.ts";
import { loadContext } from "./run-context.ts";
import { cancelBeforeStart, endAbandoned, finishRun, takeAbandoned, type Written, withPieces, writtenSoFar } from "./run-ends.ts";
import { Admission, type AdmissionValues, admitting, NO_LIMITS, type RunLimits } from "./usage.ts";

export interface LeaseOptions {
  /** Names this process: leases are its own. */
  owner: string;
  /** How long a lease lasts without a heartbeat, in seconds. */
  leaseSeconds: number;
}

const NOT_TERMINAL = "('QUEUED', 'RUNNING', 'PAUSED')";

/**
 * Locks the user's row, so what is accepted for one user is accepted one after the other; but a statement sees what was there
 * when it began. When the session got a turn while this one waited, nobody knows here whether it is free: the run waits too.
 */
const INSERT_RUN = `with counter as (
    insert into recollect_users (user_id, session_sequence) select $1, 1 where ${admitting(13)}
    on conflict (user_id) do update set session_sequence = recollect_users.session_sequence + 1
    returning session_sequence
  ), session as (
    insert into agno_sessions (user_id, session_id, agent_id, turns, sequence) select $1, $2, $3, 1, session_sequence from counter
    on conflict (user_id, session_id) do update set turns = agno_sessions.turns + 1, sequence = excluded.sequence, updated_at = now()
    returning turns
  ), run as (
    insert into recollect_runs (user_id, run_id, session_id, agent_id, turn, memory, memory_status, idempotency_key, fingerprint,
      status, lease_owner, lease_until, attempt, last_sequence)
    select $1, $4, $2, $3, session.turns, $5, case when $6::boolean then 'PENDING' else 'SKIPPED' end, $7, $8,
      case when free then 'RUNNING' else 'QUEUED' end,
      case when free then $9 end, case when free then now() + make_interval(secs => $10) end,
      case when free then 1 else 0 end, case when free then 1 else 0 end
    from session, lateral (select
      session.turns = 1 + coalesce((select turns from agno_sessions where user_id = $1 and session_id = $2), 0)
      and not exists (
        select 1 from recollect_runs busy where busy.user_id = $1 and busy.session_id = $2 and busy.status in ${NOT_TERMINAL}) as free) as state
    returning *
  ), message as (
    insert into recollect_messages (user_id, message_id, session_id, run_id, role, content, complete, sequence)
    select $1, $11, $2, $4, 'USER', $12, true, 2 * run.turn - 1 from run
  ), started as (
    insert into recollect_run_events (user_id, run_id, sequence, type, data)
    select $1, $4, 1, 'RunStarted', '{}' from run where run.status = 'RUNNING'
  ), job as (
    insert into recollect_jobs (user_id, lane, kind, run_id, payload, state)
    select $1, 'memory', 'extract-memories', $4, '{}', 'BLOCKED' from run where $6::boolean
  )
  select ${RUN_COLUMNS}, now() as at from run`;

const FIND_RUN = `select ${RUN_COLUMNS} from recollect_runs run where user_id = $1 and run_id = $2`;

/** How long Redis is waited for before runs end without their pieces in it (ms): shorter than a lease. */
const PIECES_PATIENCE = 8_000;

/** `pieces`: where those of replies being written are, if not in the database. */
export function createRunStore(
  database: Database,
  lease: LeaseOptions,
  pieces: Pieces | null = null,
  limits: RunLimits = NO_LIMITS,
): RunStore {
  const { owner, leaseSeconds } = lease;
  const admission = new Admission(limits);
  return {
    async accept(user, run) {
      const accepted = await admission.around(user, run.runId, (admitted) => acceptAdmitted(user, run, admitted));
      if (!accepted) {
        throw await admission.refusal(database, user);
      }
      return accepted;
    },

    async get(user, runId) {
      const run = await database.asUser(user, (transaction) => findRun(transaction.commit, user, runId));
      return run && refreshed(run);
    },

    async active(user, sessionId) {
      const runs = await database.asUser(user, async (transaction) => {
        const rows = await transaction.commit<RunRow>(
          `select ${RUN_COLUMNS} from recollect_runs run
          where user_id = $1 and session_id = $2 and status in ${NOT_TERMINAL} order by turn`,
          [user, sessionId],
        );
        return rows.map((row) => toRun(user, row));
      });
      return pieces ? pieces.refresh(runs) : runs;
    },

    async messages(run) {
      for (let tries = 1; ; tries++) {
        const { messages, written } = await storedMessages(run);
        const question = messages[0];
        if (!written || !question) {
          return messages;
        }
        const more = pieces && written.through < run.lastSequence ? await pieces.between(run, written.through) : [];
        if (more) {
          const { messageId, content, createdAt } = withPieces(written, more);
          const reply = { ...question, content, createdAt, role: "ASSISTANT" as const, complete: false, sequence: question.sequence + 1 };
          return messageId === null ? [question] : [question, { ...reply, messageId }];
        }
        // They may have gone to the database meanwhile.
        if (tries > 1) {
          throw piecesAway();
        }
      }
    },

    input(lease) {
      return database.asUser(lease.userId, async (transaction) => {
        const run = await findRun(transaction.query, lease.userId, lease.runId);
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

    context(run, ask) {
      return database.asUser(run.userId, (transaction) => loadContext(transaction, run, ask));
    },

    async finish(lease, outcome, rest) {
      const unended = pieces?.unended(lease);
      const end = await database.asUser(lease.userId, (transaction) => finishRun(transaction.commit, lease, outcome, rest, unended));
      if (end) {
        pieces?.ended(lease);
      }
      return end;
    },

    requestCancel(user, runId) {
      return database.asUser(user, async (transaction) => {
        const [asked] = await transaction.query<{ status: string }>(
          `update recollect_runs set cancel_requested = true
          where user_id = $1 and run_id = $2 and status in ${NOT_TERMINAL} returning status`,
          [user, runId],
        );
        const events = asked && asked.status !== "RUNNING" ? await cancelBeforeStart(transaction, user, runId) : [];
        const run = await findRun(transaction.query, user, runId);
        return run && { run, events };
      });
    },

    async claim() {
      try {
        return await database.asWorker(async (transaction) => {
          const [row] = await transaction.commit<{ user_id: UserId; run_id: string; attempt: number }>(
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
        const rows = await transaction.commit<{ run_id: string; cancel_requested: boolean }>(
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
      const abandoned = await database.asWorker((transaction) => takeAbandoned(transaction, lease, everyLease));
      if (abandoned.length > 0) {
        await pieces?.answers(PIECES_PATIENCE);
      }
      const ended: { userId: UserId; events: RunEvent[] }[] = [];
      let failure: unknown = null;
      for (const taken of abandoned) {
        try {
          ended.push({ userId: taken.userId, events: await endTaken(taken) });
        } catch (error) {
          // The others must not wait for it; it comes again when its lease has run out.
          failure ??= error;
        }
      }
      if (failure !== null && ended.length === 0) {
        throw failure;
      }
      return ended;
    },
  };

  async function endTaken(taken: RunLease): Promise<RunEvent[]> {
    const written = pieces ? await pieces.take(taken) : [];
    const end = await database.asUser(taken.userId, (transaction) => endAbandoned(transaction, taken, written));
    if (end) {
      pieces?.ended(taken);
    }
    return end?.events ?? [];
  }

  async function refreshed(run: Run): Promise<Run> {
    const [fresh = run] = pieces ? await pieces.refresh([run]) : [];
    return fresh;
  }

  /** `written`: of a run still going on, the reply as far as the database has it. */
  function storedMessages(run: Run): Promise<{ messages: Message[]; written: Written | null }> {
    const { userId, runId } = run;
    return database.asUser(userId, async (transaction) => {
      const rows = await transaction.query<SqlMessageRow>(
        `select ${MESSAGE_COLUMNS} from recollect_messages where user_id = $1 and run_id = $2 order by sequence`,
        [userId, runId],
      );
      const messages = rows.map((row) => toMessage(userId, row));
      // Who goes on with the events after `lastSequence` must be given the text up to there, even when more is stored by now.
      const written = isTerminal(run.status) ? null : await writtenSoFar(transaction, userId, runId, run.lastSequence);
      return { messages: written ? messages.filter(({ role }) => role === "USER") : messages, written };
    });
  }

  /** Null when the user may have no other run begun. */
  async function acceptAdmitted(user: UserId, run: NewRun, admitted: AdmissionValues): Promise<AcceptedRun | null> {
    const { idempotencyKey, onBusy } = run.request;
    for (let tries = 1; ; tries++) {
      try {
        return await database.asUser(user, async (transaction) => {
          const repeated = idempotencyKey === null ? null : await findRepeated(transaction, user, idempotencyKey, run.fingerprint);
          if (repeated) {
            return { run: repeated, created: false, lease: null, events: [] };
          }
          const accepted = await insertRun(onBusy === "REJECT" ? transaction.query : transaction.commit, user, run, admitted);
          if (onBusy === "REJECT" && accepted && !accepted.lease) {
            const message = "The conversation is still being answered. Wait for it, or send onBusy: ENQUEUE or INTERRUPT.";
            throw new AppError("CONFLICT", message);
          }
          return accepted;
        });
      } catch (error) {
        // The same key came twice at the same moment: the other one is there now.
        if (idempotencyKey === null || tries > 1 || !isUniqueViolation(error)) {
          throw error;
        }
      }
    }
  }

  async function insertRun(query: Transaction["query"], user: UserId, run: NewRun, admitted: AdmissionValues): Promise<AcceptedRun | null> {
    const { request, runId, sessionId } = run;
    const [row] = await query<RunRow & { at: string }>(INSERT_RUN, [
      user,
      sessionId,
      request.agentId,
      runId,
      request.memory,
      run.extract,
      request.idempotencyKey,
      run.fingerprint,
      owner,
      leaseSeconds,
      run.messageId,
      request.message,
      ...admitted,
    ]);
    if (!row) {
      return null;
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

async function findRun(query: Transaction["query"], user: UserId, runId: string): Promise<Run | null> {
  const [row] = await query<RunRow>(FIND_RUN, [user, runId]);
  return row ? toRun(user, row) : null;
}

async function findRepeated(transaction: Transaction, user: UserId, key: string, fingerprint: string): Promise<Run | null> {
  const [row] = await transaction.query<RunRow & { fingerprint: string }>(
    `select ${RUN_COLUMNS}, run.fingerprint from recollect_runs run where user_id = $1 and idempotency_key = $2`,
    [user, key],
  );
  const others = row ? [] : await transaction.query("select 1 from recollect_idempotency where user_id = $1 and key = $2", [user, key]);
  if (others.length > 0 || (row && row.fingerprint !== fingerprint)) {
    throw new AppError("IDEMPOTENCY_CONFLICT", "This idempotencyKey was used for another request. Use a new key for each message.");
  }
  return row ? toRun(user, row) : null;
}
