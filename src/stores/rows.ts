/** Rows of the SQL helper into domain types. Timestamps come as Postgres writes them, always in UTC. */

import type { Message, Recall, Run, RunEvent, RunStatus, TokenUsage, UserId } from "../agent/types.ts";
import type { Failure } from "../errors.ts";
import type { UnnumberedEvent } from "../events/event-store.ts";
import type { MessageRow } from "./entities.ts";

export interface RunRow {
  run_id: string;
  session_id: string;
  agent_id: string;
  status: RunStatus;
  turn: number;
  created_at: string;
  finished_at: string | null;
  last_sequence: number;
  model: string | null;
  recall: Recall | null;
  usage: TokenUsage | null;
  error: Failure | null;
  memory: Run["memory"];
  memory_status: Run["memoryUpdate"]["status"];
  memory_error: Failure | null;
}

/** What `toRun` needs, from recollect_runs named `run`. A run still going on has its recall in the event log. */
export const RUN_COLUMNS = `run.run_id, run.session_id, run.agent_id, run.status, run.turn, run.created_at, run.finished_at,
  run.last_sequence, run.model, run.usage, run.error, run.memory, run.memory_status, run.memory_error,
  case when run.status = 'RUNNING' then (
    select event.data -> 'recall' from recollect_run_events event
    where event.user_id = run.user_id and event.run_id = run.run_id and event.type = 'MemoriesRecalled'
    order by event.sequence desc limit 1
  ) else run.recall end as recall`;

export function toRun(userId: UserId, row: RunRow): Run {
  return {
    userId,
    runId: row.run_id,
    sessionId: row.session_id,
    agentId: row.agent_id,
    status: row.status,
    turn: row.turn,
    createdAt: new Date(row.created_at),
    finishedAt: toDate(row.finished_at),
    lastSequence: row.last_sequence,
    model: row.model,
    recall: row.recall,
    usage: row.usage,
    error: row.error,
    memory: row.memory,
    memoryUpdate: { status: row.memory_status, error: row.memory_error },
  };
}

export interface EventRow {
  sequence: number;
  type: string;
  data: object;
  at: string;
}

export function toEvent(runId: string, row: EventRow): RunEvent {
  return { ...row.data, type: row.type, runId, sequence: row.sequence, at: new Date(row.at) } as RunEvent;
}

/** Events as the statements take them: JSON text of position (from 1), type, data and, if not now, when. */
export function eventParameter(events: readonly UnnumberedEvent[]): string {
  return JSON.stringify(events.map(({ type, at, ...data }, index) => ({ position: index + 1, type, data, ...(at && { at }) })));
}

/** Events just written as the last ones of a run. */
export function numberEvents(runId: string, bodies: readonly UnnumberedEvent[], lastSequence: number, at: string): RunEvent[] {
  const first = lastSequence - bodies.length + 1;
  return bodies.map((body, index) => ({ ...body, runId, sequence: first + index, at: body.at ?? new Date(at) }));
}

export interface SqlMessageRow {
  message_id: string;
  session_id: string;
  run_id: string;
  role: Message["role"];
  content: string;
  complete: boolean;
  sequence: number;
  created_at: string;
}

export const MESSAGE_COLUMNS = "message_id, session_id, run_id, role, content, complete, sequence, created_at";

export function toMessage(userId: UserId, row: SqlMessageRow): Message {
  return {
    userId,
    messageId: row.message_id,
    sessionId: row.session_id,
    runId: row.run_id,
    role: row.role,
    content: row.content,
    complete: row.complete,
    sequence: row.sequence,
    createdAt: new Date(row.created_at),
  };
}

export function messageFromEntity(userId: UserId, row: MessageRow): Message {
  const { messageId, sessionId, runId, role, content, complete, sequence, createdAt } = row;
  return { userId, messageId, sessionId, runId, role, content, complete, sequence, createdAt };
}

function toDate(value: string | null): Date | null {
  return value === null ? null : new Date(value);
}
