/** How runs end: with a reply, a failure or a cancellation, and, when their process has died, by whoever finds them. */

import type { RunOutcome } from "../agent/ports.ts";
import type { RunEvent, RunEventBody, RunLease, UserId } from "../agent/types.ts";
import type { Failure } from "../errors.ts";
import type { UnnumberedEvent } from "../events/event-store.ts";
import type { Transaction } from "./database.ts";
import { LEAP, type Unended } from "./pieces.ts";
import { eventParameter, numberEvents } from "./rows.ts";
import type { LeaseOptions } from "./runs.ts";
import { countingUsage, usageValues } from "./usage.ts";

/** A run given back this often by processes that died before the reply was begun is not tried again. */
const MAX_ATTEMPTS = 5;

/** Null when the lease is stale: nothing was written. */
export async function finishRun(
  query: Transaction["query"],
  lease: RunLease,
  outcome: RunOutcome,
  rest: RunEventBody[],
  { after, unsaved }: Unended = { after: null, unsaved: [] },
): Promise<{ events: RunEvent[]; queued: boolean } | null> {
  const bodies: UnnumberedEvent[] = [...unsaved, ...rest, ...closingEvents(outcome)];
  const completed = outcome.status === "COMPLETED" ? outcome : null;
  const error = "error" in outcome ? outcome.error : null;
  const recalled = rest.find((event) => event.type === "MemoriesRecalled");
  const [row] = await query<{ last_sequence: number; at: string; queued: boolean }>(
    `with run as (
      update recollect_runs run set status = $5, model = $6, usage = $7::jsonb, error = $8::jsonb, finished_at = now(),
        last_sequence = coalesce($15, last_sequence) + $9, lease_owner = null, lease_until = null,
        recall = coalesce($14::jsonb, (
          select event.data -> 'recall' from recollect_run_events event
          where event.user_id = $1 and event.run_id = $2 and event.type = 'MemoriesRecalled' order by event.sequence desc limit 1))
      where user_id = $1 and run_id = $2 and lease_owner = $3 and attempt = $4 and status = 'RUNNING'
      returning session_id, turn, last_sequence
    ), message as (
      insert into recollect_messages (user_id, message_id, session_id, run_id, role, content, complete, sequence)
      select $1, $10, run.session_id, $2, 'ASSISTANT', $11, $5 = 'COMPLETED', 2 * run.turn from run where $11 <> ''
    ), events as (
      insert into recollect_run_events (user_id, run_id, sequence, type, data, at)
      select $1, $2, run.last_sequence - $9 + event.position, event.type, event.data, coalesce(event.at, now())
      from run, jsonb_to_recordset($12::jsonb) as event (position integer, type text, data jsonb, at timestamptz)
      -- Some of those that may not be stored may be.
      on conflict do nothing
    ), job as (
      update recollect_jobs job set state = 'READY', run_at = now() from run
      where job.user_id = $1 and job.run_id = $2 and job.state = 'BLOCKED'
    ), session as (
      update agno_sessions session set updated_at = now() from run
      where session.user_id = $1 and session.session_id = run.session_id
      returning session.session_id, session.turns > run.turn as queued,
        run.turn - coalesce((session.summary ->> 'coveredTurn')::integer, 0) as uncovered
    ), summary as (
      insert into recollect_jobs (user_id, lane, kind, run_id, payload, state)
      select $1, 'summary:' || session_id, 'summarize-session', $2, jsonb_build_object('sessionId', session_id), 'READY'
      from session where uncovered >= $13
      on conflict do nothing
    ), ${countingUsage("reply", "run", 16)}
    -- The session's row is as the last one to accept a turn left it; who accepts one now waits for this statement.
    select last_sequence, now() as at, coalesce((select queued from session), false) as queued
    from run`,
    [
      lease.userId,
      lease.runId,
      lease.owner,
      lease.attempt,
      outcome.status,
      completed?.model ?? null,
      completed ? JSON.stringify(completed.usage) : null,
      error ? JSON.stringify(error) : null,
      bodies.length,
      outcome.messageId,
      outcome.reply,
      eventParameter(bodies),
      completed?.summarizeEvery ?? null,
      recalled ? JSON.stringify(recalled.recall) : null,
      after,
      ...usageValues(completed?.usage ?? outcome.spent ?? null),
    ],
  );
  return row ? { events: numberEvents(lease.runId, bodies, row.last_sequence, row.at), queued: row.queued } : null;
}

function closingEvents(outcome: RunOutcome): RunEventBody[] {
  switch (outcome.status) {
    case "COMPLETED":
      return [
        { type: "TextMessageEnd", messageId: outcome.messageId },
        { type: "RunFinished", usage: outcome.usage },
      ];
    case "FAILED":
    case "INTERRUPTED":
      return [{ type: "RunError", error: outcome.error }];
    case "CANCELLED":
      return [{ type: "RunCancelled" }];
    default:
      return outcome satisfies never;
  }
}

/** A run that nobody began leaves nothing to learn from: its user took the message back. */
export async function cancelBeforeStart(transaction: Transaction, user: UserId, runId: string): Promise<RunEvent[]> {
  const bodies: RunEventBody[] = [{ type: "RunCancelled" }];
  const [row] = await transaction.query<{ last_sequence: number; at: string }>(
    `with run as (
      update recollect_runs set status = 'CANCELLED', memory_status = 'SKIPPED', finished_at = now(), last_sequence = last_sequence + 1
      where user_id = $1 and run_id = $2 returning last_sequence
    ), event as (
      insert into recollect_run_events (user_id, run_id, sequence, type, data) select $1, $2, run.last_sequence, 'RunCancelled', '{}' from run
    ), job as (
      delete from recollect_jobs where user_id = $1 and run_id = $2 and state = 'BLOCKED'
    )
    select last_sequence, now() as at from run`,
    [user, runId],
  );
  return row ? numberEvents(runId, bodies, row.last_sequence, row.at) : [];
}

/**
 * Gives runs of whose reply nothing is stored back to the queue. Takes the others from whoever had them, for as long as a lease
 * lasts: who comes back has lost them. Locks in the order in which leases are renewed.
 */
export async function takeAbandoned(
  transaction: Transaction,
  { owner, leaseSeconds }: LeaseOptions,
  everyLease: boolean,
): Promise<RunLease[]> {
  await transaction.query(
    `update recollect_runs set status = 'QUEUED', lease_owner = null, lease_until = null
    where status = 'RUNNING' and ($1::boolean or lease_until < now()) and not reply_begun and not cancel_requested and attempt < $2`,
    [everyLease, MAX_ATTEMPTS],
  );
  const rows = await transaction.query<{ user_id: UserId; run_id: string; attempt: number }>(
    `with due as (
      select user_id, run_id from recollect_runs
      where status = 'RUNNING' and ($1::boolean or lease_until < now()) order by user_id, run_id limit 100 for update skip locked
    )
    update recollect_runs run set lease_owner = $2, lease_until = now() + make_interval(secs => $3), attempt = attempt + 1
    from due where run.user_id = due.user_id and run.run_id = due.run_id returning run.user_id, run.run_id, run.attempt`,
    [everyLease, owner, leaseSeconds],
  );
  return rows.map((row) => ({ userId: row.user_id, runId: row.run_id, owner, attempt: row.attempt }));
}

/** Why a run ended whose process stopped. */
export const INTERRUPTED: Failure = {
  code: "RUN_INTERRUPTED",
  message: "The server stopped while the reply was being written. What was written is kept; send the message again for a whole reply.",
  retryable: true,
  errorId: null,
};

/** `pieces`: what is stored of the reply in Redis; null when nobody knows. */
export async function endAbandoned(transaction: Transaction, lease: RunLease, pieces: RunEvent[] | null): ReturnType<typeof finishRun> {
  const [run] = await transaction.query<{ last_sequence: number; cancel_requested: boolean }>(
    `select last_sequence, cancel_requested from recollect_runs
    where user_id = $1 and run_id = $2 and lease_owner = $3 and attempt = $4 and status = 'RUNNING' for update`,
    [lease.userId, lease.runId, lease.owner, lease.attempt],
  );
  if (!run) {
    return null;
  }
  const { last_sequence: stored } = run;
  const written = withPieces(await writtenSoFar(transaction, lease.userId, lease.runId, stored), pieces ?? []);
  const reply = { reply: written.content, messageId: written.messageId ?? "" };
  const outcome: RunOutcome = run.cancel_requested
    ? { ...reply, status: "CANCELLED" }
    : { ...reply, status: "INTERRUPTED", error: INTERRUPTED };
  const after = pieces ? Math.max(stored, pieces.at(-1)?.sequence ?? 0) : stored + LEAP;
  return finishRun(transaction.commit, lease, outcome, [], { after, unsaved: [] });
}

/** A reply as far as it is written. */
export interface Written {
  /** Null before its first word. */
  messageId: string | null;
  content: string;
  createdAt: Date;
  /** The last event taken into account. */
  through: number;
}

/** The reply as far as the event log had it at `lastSequence`. */
export async function writtenSoFar(transaction: Transaction, user: UserId, runId: string, lastSequence: number): Promise<Written> {
  const [row] = await transaction.query<{ message_id: string | null; content: string; at: string | null; through: number | null }>(
    `select min(data ->> 'messageId') as message_id, coalesce(string_agg(data ->> 'delta', '' order by sequence) filter (where told), '') as content,
      min(at) filter (where told) as at, max(sequence) as through
    from recollect_run_events, lateral (select type in ('TextMessageStart', 'TextMessageContent') as told) as kind
    where user_id = $1 and run_id = $2 and sequence <= $3`,
    [user, runId, lastSequence],
  );
  const { message_id: messageId = null, content = "", at = null, through = null } = row ?? {};
  return { messageId, content, createdAt: new Date(at ?? 0), through: through ?? 0 };
}

/** What is written with what follows it. */
export function withPieces(written: Written, pieces: readonly RunEvent[]): Written {
  const all = { ...written };
  for (const piece of pieces) {
    if (piece.sequence <= written.through) {
      continue;
    }
    if (piece.type === "TextMessageStart") {
      all.messageId = piece.messageId;
      all.createdAt = piece.at;
    } else if (piece.type === "TextMessageContent") {
      all.content += piece.delta;
    }
    all.through = piece.sequence;
  }
  return all;
}
