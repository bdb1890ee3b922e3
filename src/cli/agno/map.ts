/** What Agno stored about a user, as a document this server takes in. The same rows always give the same document. */

import { createHash } from "node:crypto";
import { z } from "zod";
import { RECORD_KINDS, type UserRecords, writeDocument } from "../../agent/export-format.ts";
import { fingerprint } from "../../agent/ground.ts";
import { MAX_ID_BYTES, MAX_MEMORY_LENGTH, MAX_MESSAGE_BYTES, MAX_TOPIC_LENGTH, MAX_TOPICS } from "../../agent/input.ts";
import { storable } from "../../errors.ts";
import type { AgnoMemory, AgnoSession } from "./read.ts";

export interface Mapped {
  document: string;
  memories: number;
  sessions: number;
  messages: number;
  /** What was left out, and why. */
  leftOut: string[];
}

export interface AgnoUser {
  userId: string;
  memories: AgnoMemory[];
  sessions: AgnoSession[];
}

/** `agentId`: the agent here that goes on with the conversations. */
export function mapUser({ userId, memories, sessions }: AgnoUser, agentId: string): Mapped {
  const leftOut: string[] = [];
  const records = Object.fromEntries(RECORD_KINDS.map((kind) => [kind, []])) as unknown as UserRecords;
  addMemories(records, memories, leftOut);
  for (const session of sessions) {
    addSession(records, session, agentId, leftOut);
  }
  const times = [...memories, ...sessions].map(({ created_at }) => created_at ?? 0);
  const first = {
    session_sequence: records.session.length,
    memory_sequence: records.change.length,
    created_at: timeOf(Math.min(...times)),
  };
  records.user.push(first);
  return {
    document: [...writeDocument(userId, allOf(records))].join(""),
    memories: records.memory.length,
    sessions: records.session.length,
    messages: records.message.length,
    leftOut,
  };
}

function* allOf(records: UserRecords): Generator<{ kind: (typeof RECORD_KINDS)[number]; row: object }, void> {
  for (const kind of RECORD_KINDS) {
    for (const row of records[kind]) {
      yield { kind, row };
    }
  }
}

function addMemories(records: UserRecords, memories: AgnoMemory[], leftOut: string[]): void {
  const known = new Set<string>();
  for (const row of memories) {
    const memory = textOf(row.memory);
    const print = fingerprint(memory, null);
    const why =
      memory === "" ? "it is empty" : memory.length > MAX_MEMORY_LENGTH ? `it is longer than ${MAX_MEMORY_LENGTH} characters` : null;
    if (why !== null || known.has(print)) {
      leftOut.push(`memory ${row.memory_id}: ${why ?? "another one says the same"}`);
      continue;
    }
    known.add(print);
    const sequence = known.size;
    const made = timeOf(row.created_at ?? row.updated_at ?? 0);
    const changed = timeOf(row.updated_at ?? row.created_at ?? 0);
    const memoryId = idOf(row.memory_id);
    const topics = topicsOf(row.topics);
    records.memory.push({
      memory_id: memoryId,
      memory,
      topics,
      agent_id: row.agent_id === null ? null : idOf(row.agent_id),
      input: row.input === null ? null : clip(row.input, MAX_MESSAGE_BYTES),
      kind: "OTHER",
      subject: null,
      slot: null,
      status: "ACTIVE",
      origin: "IMPORTED",
      fingerprint: print,
      valid_from: made,
      valid_to: null,
      superseded_by: null,
      evidence_count: 0,
      last_confirmed_at: changed,
      expires_at: null,
      pinned: false,
      feedback: feedbackOf(row.feedback),
      version: 1,
      sequence,
      confirmed_sequence: sequence,
      created_at: made,
      updated_at: changed,
    });
    records.change.push({
      sequence,
      memory_id: memoryId,
      kind: "ADDED",
      before: null,
      after: { version: 1, memory, topics, status: "ACTIVE", pinned: false, expiresAt: null },
      quote: null,
      run_id: null,
      undo_id: null,
      at: made,
    });
  }
}

const word = z.string().nullish().catch(null);
const number = z.number().nullish().catch(null);
/** What is read of a run; whatever else there is, or has another shape, is passed over. */
const RUN = z.object({
  run_id: word,
  parent_run_id: word,
  status: word,
  content: z.unknown(),
  model: word,
  created_at: number,
  input: z.object({ input_content: z.unknown() }).nullish().catch(null),
  messages: z
    .array(z.object({ role: word, content: z.unknown() }))
    .nullish()
    .catch(null),
  metrics: z.object({ input_tokens: number, output_tokens: number }).nullish().catch(null),
});
const SUMMARY = z.object({ summary: z.string().min(1), topics: z.unknown(), updated_at: z.unknown() });
const SESSION_DATA = z.object({ session_name: z.string().min(1) });

const STATUSES: Partial<Record<string, "COMPLETED" | "FAILED" | "CANCELLED">> = {
  COMPLETED: "COMPLETED",
  ERROR: "FAILED",
  CANCELLED: "CANCELLED",
};

function addSession(records: UserRecords, session: AgnoSession, agentId: string, leftOut: string[]): void {
  const sessionId = idOf(session.session_id);
  let turn = 0;
  for (const [index, item] of listOf(session.runs).entries()) {
    const run = RUN.safeParse(item);
    const message = run.success ? messageOf(run.data) : "";
    // Members of a team answer it, not the user.
    if (!run.success || message === "" || run.data.parent_run_id) {
      leftOut.push(`run ${index + 1} of session ${session.session_id}: it has no message of a user`);
      continue;
    }
    addRun(records, run.data, { sessionId, agentId, turn: ++turn, message, since: session.created_at ?? 0 });
  }
  const summary = SUMMARY.safeParse(session.summary);
  const name = SESSION_DATA.safeParse(session.session_data);
  const changed = session.updated_at ?? session.created_at ?? 0;
  records.session.push({
    session_id: sessionId,
    agent_id: agentId,
    name: name.success ? clip(name.data.session_name, 200) : null,
    summary: summary.success
      ? {
          summary: clip(summary.data.summary, 20_000),
          topics: topicsOf(summary.data.topics),
          updatedAt: summaryTime(summary.data.updated_at, changed),
          coveredTurn: turn,
        }
      : null,
    state: {},
    turns: turn,
    sequence: records.session.length + 1,
    created_at: timeOf(session.created_at ?? 0),
    updated_at: timeOf(changed),
  });
}

interface Place {
  sessionId: string;
  agentId: string;
  turn: number;
  message: string;
  /** When the session began, for runs that do not say when they did (s). */
  since: number;
}

function addRun(records: UserRecords, run: z.infer<typeof RUN>, { sessionId, agentId, turn, message, since }: Place): void {
  const status = run.status ? (STATUSES[run.status] ?? "INTERRUPTED") : "COMPLETED";
  const runId = idOf(run.run_id || `${sessionId}:${turn}`);
  const at = timeOf(run.created_at ?? since);
  const reply = clip(textOf(run.content), 1_000_000);
  const usage = { inputTokens: run.metrics?.input_tokens ?? 0, outputTokens: run.metrics?.output_tokens ?? 0, estimated: false };
  const error =
    status === "FAILED" || status === "INTERRUPTED"
      ? { code: "RUN_INTERRUPTED" as const, message: "It did not end well where it was imported from.", retryable: false, errorId: null }
      : null;
  const isDone = status === "COMPLETED";
  records.run.push({
    run_id: runId,
    session_id: sessionId,
    agent_id: agentId,
    turn,
    status,
    memory: "ON",
    model: run.model ? clip(run.model, 200) : null,
    recall: null,
    usage: isDone ? usage : null,
    error,
    memory_status: "SKIPPED",
    memory_error: null,
    idempotency_key: null,
    fingerprint: hash(`${sessionId}:${turn}`),
    last_sequence: 1,
    created_at: at,
    finished_at: at,
  });
  const base = { session_id: sessionId, run_id: runId, created_at: at };
  records.message.push({
    ...base,
    message_id: idOf(`${runId}:user`),
    role: "USER",
    content: clip(message, MAX_MESSAGE_BYTES),
    complete: true,
    sequence: 2 * turn - 1,
  });
  if (reply !== "") {
    records.message.push({
      ...base,
      message_id: idOf(`${runId}:assistant`),
      role: "ASSISTANT",
      content: reply,
      complete: isDone,
      sequence: 2 * turn,
    });
  }
  const event = { run_id: runId, sequence: 1, at };
  records.event.push(
    error
      ? { ...event, type: "RunError", data: { error } }
      : isDone
        ? { ...event, type: "RunFinished", data: { usage } }
        : { ...event, type: "RunCancelled", data: {} },
  );
}

/** What the user said: the input, or the last message of theirs. */
function messageOf({ input, messages }: z.infer<typeof RUN>): string {
  return textOf(input?.input_content) || textOf(messages?.findLast(({ role }) => role === "user")?.content);
}

/** A text however Agno wrapped it: itself, or the text inside a list or an object. */
function textOf(value: unknown): string {
  if (typeof value === "string") {
    return storable(value).trim();
  }
  if (Array.isArray(value)) {
    return value
      .map((part) => textOf(part))
      .filter((part) => part !== "")
      .join("\n");
  }
  if (typeof value === "object" && value !== null) {
    const { memory, text, content } = value as Record<string, unknown>;
    return textOf(memory ?? text ?? content ?? null) || storable(JSON.stringify(value));
  }
  return typeof value === "number" || typeof value === "boolean" ? String(value) : "";
}

function listOf(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}

function topicsOf(value: unknown): string[] {
  const topics = listOf(value)
    .map((topic) => textOf(topic).toLowerCase().slice(0, MAX_TOPIC_LENGTH).toWellFormed())
    .filter((topic) => topic !== "");
  return [...new Set(topics)].slice(0, MAX_TOPICS);
}

function feedbackOf(value: string | null): "GOOD" | "BAD" | null {
  const feedback = value?.toUpperCase();
  return feedback === "GOOD" || feedback === "BAD" ? feedback : null;
}

/** An id as it is, or the hash of one that is too long. */
function idOf(value: string): string {
  const id = storable(value);
  return id !== "" && Buffer.byteLength(id) <= MAX_ID_BYTES ? id : hash(id);
}

function hash(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

/** At most so many bytes of UTF-8. */
function clip(text: string, bytes: number): string {
  const whole = storable(text);
  return Buffer.byteLength(whole) <= bytes
    ? whole
    : storable(
        Buffer.from(whole)
          .subarray(0, bytes - 3)
          .toString("utf8")
          .replace(/\ufffd+$/, ""),
      );
}

const LATEST = 4_102_444_800;

/** As Postgres writes it. */
function timeOf(seconds: number): string {
  const sane = Number.isFinite(seconds) ? Math.min(Math.max(0, Math.floor(seconds)), LATEST) : 0;
  return `${new Date(sane * 1_000).toISOString().slice(0, 19)}+00:00`;
}

/** Agno writes this one as text, without a zone, in UTC. */
function summaryTime(value: unknown, otherwise: number): string {
  const text = typeof value === "string" ? value : "";
  const moment = new Date(/[zZ]|[+-]\d\d:?\d\d$/.test(text) ? text : `${text}Z`);
  return (Number.isNaN(moment.getTime()) ? new Date(Math.max(0, otherwise) * 1_000) : moment).toISOString();
}
