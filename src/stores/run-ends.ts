/** How runs end: with a reply, a failure or a cancellation, and, when their process has died, by whoever finds them. */

import type { RunOutcome } from "../agent/ports.ts";
import type { Message, RunEvent, RunEventBody, RunLease, UserId } from "../agent/types.ts";
import type { Failure } from "../errors.ts";
import type { Transaction } from "./database.ts";
import { eventParameter, numberEvents } from "./rows.ts";

/** A run given back this often by processes that died before asking the model is not tried again. */
const MAX_ATTEMPTS = 5;

/** Null when the lease is stale: nothing was written. */
export async function finishRun(
  transaction: Transaction,
  lease: RunLease,
  outcome: RunOutcome,
  rest: RunEventBody[],
): Promise<{ events: RunEvent[]; queued: boolean } | null> {
  const bodies = [...rest, ...closingEvents(outcome)];
  const completed = outcome.status === "COMPLETED" ? outcome : null;
  const error = "error" in outcome ? outcome.error : null;
  const [row] = await transaction.query<{ last_sequence: number; at: string; queued: boolean }>(
    `with run as (
      update recollect_runs run set status = $5, model = $6, usage = $7::jsonb, error = $8::jsonb, finished_at = now(),
        last_sequence = last_sequence + $9, lease_owner = null, lease_until = null, recall = (
          select event.data -> 'recall' from recollect_run_events event
          where event.user_id = $1 and event.run_id = $2 and event.type = 'MemoriesRecalled' order by event.sequence limit 1)
      where user_id = $1 and run_id = $2 and lease_owner = $3 and attempt = $4 and status = 'RUNNING'
      returning session_id, turn, last_sequence
    ), message as (
      insert into recollect_messages (user_id, message_id, session_id, run_id, role, content, complete, sequence)
      select $1, $10, run.session_id, $2, 'ASSISTANT', $11, $5 = 'COMPLETED', 2 * run.turn from run where $11 <> ''
    ), events as (
      insert into recollect_run_events (user_id, run_id, sequence, type, data)
      select $1, $2, run.last_sequence - $9 + event.position, event.type, event.data
      from run, jsonb_to_recordset($12::jsonb) as event (position integer, type text, data jsonb)
    ), job as (
      update recollect_jobs job set state = 'READY', run_at = now() from run
      where job.user_id = $1 and job.run_id = $2 and job.state = 'BLOCKED'
    ), session as (
      update agno_sessions session set updated_at = now() from run
      where session.user_id = $1 and session.session_id = run.session_id
      returning session.session_id, run.turn - coalesce((session.summary ->> 'coveredTurn')::integer, 0) as uncovered
    ), summary as (
      insert into recollect_jobs (user_id, lane, kind, run_id, payload, state)
      select $1, 'summary:' || session_id, 'summarize-session', $2, jsonb_build_object('sessionId', session_id), 'READY'
      from session where uncovered >= $13
      on conflict do nothing
    )
    select last_sequence, now() as at, exists (
      select 1 from recollect_runs other where other.user_id = $1 and other.session_id = run.session_id and other.status = 'QUEUED') as queued
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

/** Gives runs whose model was never asked back to the queue; returns the others. */
export async function takeAbandoned(transaction: Transaction, everyLease: boolean): Promise<RunLease[]> {
  await transaction.query(
    `update recollect_runs set status = 'QUEUED', lease_owner = null, lease_until = null
    where status = 'RUNNING' and ($1::boolean or lease_until < now()) and not model_requested and not cancel_requested and attempt < $2`,
    [everyLease, MAX_ATTEMPTS],
  );
  const rows = await transaction.query<{ user_id: UserId; run_id: string; lease_owner: string; attempt: number }>(
    `select user_id, run_id, lease_owner, attempt from recollect_runs
    where status = 'RUNNING' and ($1::boolean or lease_until < now()) limit 100`,
    [everyLease],
  );
  return rows.map((row) => ({ userId: row.user_id, runId: row.run_id, owner: row.lease_owner, attempt: row.attempt }));
}

const INTERRUPTED: Failure = {
  code: "RUN_INTERRUPTED",
  message: "The server stopped while the reply was being written. What was written is kept; send the message again for a whole reply.",
  retryable: true,
  errorId: null,
};

export async function endAbandoned(transaction: Transaction, lease: RunLease, everyLease: boolean): ReturnType<typeof finishRun> {
  // Its owner may have come back since the look at all leases.
  const [run] = await transaction.query<{ last_sequence: number; cancel_requested: boolean }>(
    `select last_sequence, cancel_requested from recollect_runs
    where user_id = $1 and run_id = $2 and lease_owner = $3 and attempt = $4 and status = 'RUNNING' and ($5::boolean or lease_until < now())
    for update`,
    [lease.userId, lease.runId, lease.owner, lease.attempt, everyLease],
  );
  if (!run) {
    return null;
  }
  const written = await writtenSoFar(transaction, lease.userId, lease.runId, run.last_sequence);
  const reply = { reply: written?.content ?? "", messageId: written?.messageId ?? "" };
  const outcome: RunOutcome = run.cancel_requested
    ? { ...reply, status: "CANCELLED" }
    : { ...reply, status: "INTERRUPTED", error: INTERRUPTED };
  return finishRun(transaction, lease, outcome, []);
}

/** The reply as far as the event log had it at `lastSequence`; null before its first word. */
export async function writtenSoFar(
  transaction: Transaction,
  user: UserId,
  runId: string,
  lastSequence: number,
): Promise<Pick<Message, "messageId" | "content" | "createdAt"> | null> {
  const [row] = await transaction.query<{ message_id: string | null; content: string; at: string }>(
    `select min(data ->> 'messageId') as message_id, coalesce(string_agg(data ->> 'delta', '' order by sequence), '') as content, min(at) as at
    from recollect_run_events where user_id = $1 and run_id = $2 and sequence <= $3 and type in ('TextMessageStart', 'TextMessageContent')`,
    [user, runId, lastSequence],
  );
  return row?.message_id ? { messageId: row.message_id, content: row.content, createdAt: new Date(row.at) } : null;
}
