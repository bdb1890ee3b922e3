/**
 * The words of this server, each used for one idea everywhere (code, tables, API, docs):
 *
 * - user: whoever is remembered; named by any text the client chooses. Nothing is shared between users.
 * - agent: something that answers messages: instructions, a model, switches. Defined in `agents.ts`.
 * - session: a conversation of one user. Two users may use the same session id: those are two sessions.
 * - run: one message of the user and what the agent did to answer it. A row with a status; a session runs one at a time.
 * - turn: a run's place in its session, counted from 1.
 * - message: what was said in a run, by the user or by the agent (the reply).
 * - event: something that happened in a run, numbered by `sequence` from 1, stored before anyone sees it.
 * - memory: one lasting fact about a user, in a sentence, with topics. Derived from messages or written by hand.
 * - evidence: the user's own words (a quote with its place in a message) that a memory rests on.
 * - change: one thing that happened to one memory, numbered per user; together they are its history.
 * - extract: find the facts of a message. resolve: decide what each fact does to the stored memories: add, reinforce
 *   (said again), supersede (a new value takes the place of an old one).
 * - recall: choose the memories a reply is given. retrieve: choose passages of documents.
 * - summary: what a session was about, kept up to date a few turns at a time.
 * - job: background work, stored with what caused it. lane: jobs of one user and lane run one after the other.
 * - lease: the right of one process to work on a run or job for a while; `attempt` fences off whoever had it before.
 */

import type { Failure } from "../errors.ts";

declare const userIdBrand: unique symbol;
/** A checked user id: 1 to 256 bytes of UTF-8. Only `userId()` in `input.ts` makes one, so no store can be asked for everybody. */
export type UserId = string & { readonly [userIdBrand]: true };

export const RUN_STATUSES = ["QUEUED", "RUNNING", "PAUSED", "COMPLETED", "FAILED", "CANCELLED", "INTERRUPTED"] as const;
export type RunStatus = (typeof RUN_STATUSES)[number];

/** True once nothing more will happen to the run's reply. */
export function isTerminal(status: RunStatus): boolean {
  return status !== "QUEUED" && status !== "RUNNING" && status !== "PAUSED";
}

export const MEMORY_KINDS = ["IDENTITY", "PREFERENCE", "PLAN", "EVENT", "RELATION", "SKILL", "CONSTRAINT", "OTHER"] as const;
export type MemoryKind = (typeof MEMORY_KINDS)[number];

export const MEMORY_STATUSES = ["ACTIVE", "SUPERSEDED", "QUARANTINED", "RETIRED"] as const;
export type MemoryStatus = (typeof MEMORY_STATUSES)[number];

export const MEMORY_ORIGINS = ["EXTRACTED", "MANUAL", "IMPORTED", "RULE"] as const;
export type MemoryOrigin = (typeof MEMORY_ORIGINS)[number];

export const CHANGE_KINDS = [
  "ADDED",
  "REINFORCED",
  "SUPERSEDED",
  "UPDATED",
  "QUARANTINED",
  "DELETED",
  "FORGOTTEN",
  "EXPIRED",
  "RESTORED",
] as const;
export type ChangeKind = (typeof CHANGE_KINDS)[number];

/** PENDING: not settled yet. SKIPPED: memory off, or nothing to remember in the message. */
export const MEMORY_UPDATE_STATUSES = ["PENDING", "DONE", "SKIPPED", "FAILED"] as const;
export type MemoryUpdateStatus = (typeof MEMORY_UPDATE_STATUSES)[number];

export const SEARCH_ARMS = ["VECTOR", "TEXT", "NAME", "TOPIC", "DATE"] as const;
export type SearchArm = (typeof SEARCH_ARMS)[number];

/** How many runs of a session there may be at once is always one; this says what a second one does. */
export type OnBusy = "ENQUEUE" | "REJECT" | "INTERRUPT";
/** ON: recall and learn. OFF: neither. */
export type MemoryMode = "ON" | "OFF";
/** A point in a run to wait for. */
export type RunStage = "ACCEPTED" | "REPLY" | "MEMORY";

export interface TokenUsage {
  inputTokens: number;
  outputTokens: number;
  /** True when the model server did not count and we did (about 4 characters a token). */
  estimated: boolean;
}

/** What a client asks for; checked by `parseRunRequest` in `input.ts`. */
export interface RunRequest {
  userId: UserId;
  agentId: string;
  /** Null: a session with a name of our own is started. */
  sessionId: string | null;
  message: string;
  idempotencyKey: string | null;
  memory: MemoryMode;
  onBusy: OnBusy;
}

/** What becomes of a run whose client leaves before it has the answer. */
export type OnDisconnect = "CONTINUE" | "CANCEL";

/** Names a request that writes, so that it is carried out once however often it is sent. Made by `requestKey` in `input.ts`. */
export interface RequestKey {
  /** The client's name for it, unique for the user. */
  key: string;
  operation: string;
  /** Hash of what it asks for: the same key with another operation or hash is a conflict. */
  fingerprint: string;
}

export interface Run {
  userId: UserId;
  runId: string;
  sessionId: string;
  agentId: string;
  status: RunStatus;
  /** Place in the session, from 1. */
  turn: number;
  createdAt: Date;
  finishedAt: Date | null;
  /** Sequence of the run's last event; 0 before the first. */
  lastSequence: number;
  /** The model that answered, as its server named it; null before the reply is complete. */
  model: string | null;
  /** What was recalled; null before that step and when memory is off. */
  recall: Recall | null;
  /** Null until the reply ends. */
  usage: TokenUsage | null;
  /** Null unless FAILED or INTERRUPTED. */
  error: Failure | null;
  memory: MemoryMode;
  memoryUpdate: { status: MemoryUpdateStatus; error: Failure | null };
}

export interface Message {
  userId: UserId;
  messageId: string;
  sessionId: string;
  runId: string;
  role: "USER" | "ASSISTANT";
  content: string;
  /** False while a reply is being written, and when it was cut off. */
  complete: boolean;
  /** Order within the session: 2·turn − 1 for the user's, 2·turn for the reply. */
  sequence: number;
  createdAt: Date;
}

export interface Session {
  userId: UserId;
  sessionId: string;
  agentId: string;
  name: string | null;
  createdAt: Date;
  updatedAt: Date;
  summary: SessionSummary | null;
  /** Turns accepted so far. */
  turns: number;
}

export interface SessionSummary {
  summary: string;
  topics: string[];
  /** ISO 8601, UTC: it is stored as JSON and read by SQL. */
  updatedAt: string;
  /** The last turn it takes into account. */
  coveredTurn: number;
}

/** CURRENT: how it is when the watching begins. */
export type SessionChangeKind = "CURRENT" | "SUMMARIZED" | "RENAMED" | "DELETED";

/** What somebody who watches a session is shown. */
export interface SessionChange {
  kind: SessionChangeKind;
  /** As it is now; of a deleted one, as it was last seen. */
  session: Session;
  at: Date;
}

export interface Memory {
  userId: UserId;
  memoryId: string;
  memory: string;
  /** Lower case, trimmed, without duplicates. */
  topics: string[];
  kind: MemoryKind;
  /** The person or thing it is about; null when that is the user. */
  subject: string | null;
  /** Key of a single-valued property such as home_city; null for facts of which there may be many. */
  slot: string | null;
  status: MemoryStatus;
  origin: MemoryOrigin;
  agentId: string | null;
  createdAt: Date;
  updatedAt: Date;
  validFrom: Date;
  validTo: Date | null;
  expiresAt: Date | null;
  supersededBy: string | null;
  /** How often the user said it; 0 for one written by hand. */
  evidenceCount: number;
  lastConfirmedAt: Date;
  pinned: boolean;
  feedback: "GOOD" | "BAD" | null;
  version: number;
}

export interface MemoryEvidence {
  memoryId: string;
  quote: string;
  /** UTF-16 offsets into the message: `content.slice(start, end)` is the quote. */
  start: number;
  end: number;
  saidAt: Date;
  /** Null once its conversation is deleted. */
  messageId: string | null;
}

/** How a memory read at one time. */
export interface MemoryVersion {
  version: number;
  memory: string;
  topics: string[];
  status: MemoryStatus;
  pinned: boolean;
  expiresAt: Date | null;
}

export interface MemoryChange {
  userId: UserId;
  changeId: string;
  memoryId: string;
  /** Counts up by one per user. */
  sequence: number;
  kind: ChangeKind;
  at: Date;
  before: MemoryVersion | null;
  after: MemoryVersion | null;
  quote: string | null;
  runId: string | null;
}

/** What was looked up before a reply: the answer to "why did it say that". */
export interface Recall {
  /** True when every active memory fitted, so nothing had to be chosen. */
  complete: boolean;
  used: RecallItem[];
  nearMisses: RecallItem[];
  arms: SearchArm[];
}

export interface RecallItem {
  memoryId: string;
  /** The text as the agent was, or would have been, given it. */
  text: string;
  /** Null when everything fitted and nothing was ranked. */
  score: number | null;
  ranks: { arm: SearchArm; rank: number }[];
  missedBecause: "TOO_WEAK" | "NO_ROOM" | "DUPLICATE" | null;
}

/** A passage of a document, offered to a reply. */
export interface Passage {
  passageId: string;
  title: string;
  text: string;
  score: number;
}

/** What happened in a run, without its number. Names follow the AG-UI protocol. */
export type RunEventBody =
  | { type: "RunStarted" }
  | { type: "MemoriesRecalled"; recall: Recall }
  | { type: "ReasoningDelta"; delta: string }
  | { type: "TextMessageStart"; messageId: string }
  | { type: "TextMessageContent"; messageId: string; delta: string }
  | { type: "TextMessageEnd"; messageId: string }
  | { type: "ToolCallStart"; toolCallId: string; toolCallName: string }
  | { type: "ToolCallArgs"; toolCallId: string; delta: string }
  | { type: "ToolCallEnd"; toolCallId: string }
  | { type: "ToolCallResult"; toolCallId: string; content: string; failed: boolean }
  | { type: "RunSnapshot" }
  | { type: "RunFinished"; usage: TokenUsage }
  | { type: "RunError"; error: Failure }
  | { type: "RunCancelled" }
  | { type: "MemoryUpdate"; changeIds: string[] }
  | { type: "MemoryUpdateFailed"; error: Failure };

/** A stored event: what happened, in which run, as which, when. */
export type RunEvent = RunEventBody & { runId: string; sequence: number; at: Date };

/** The right of this process to carry out a run. Every write of the executor names it; a stale one changes nothing. */
export interface RunLease {
  userId: UserId;
  runId: string;
  owner: string;
  attempt: number;
}

/** The right of this process to carry out a job. */
export interface JobLease {
  jobId: string;
  userId: UserId;
  kind: JobKind;
  owner: string;
  attempt: number;
}

export type JobKind = "extract-memories" | "summarize-session";

/** What one fact found in a message looks like once code has checked it. */
export interface Fact {
  memory: string;
  topics: string[];
  kind: MemoryKind;
  subject: string | null;
  slot: string | null;
  /** The user's words, exactly as written; null for a memory written by hand. */
  quote: { text: string; start: number; end: number } | null;
  /** The folded text two wordings of the same fact share; see `fingerprint` in `ground.ts`. */
  fingerprint: string;
  /** Set aside for review instead of used: it reads like an order to the agent. */
  quarantined: boolean;
  expiresAt: Date | null;
}

/** What a fact does to the stored memories; decided by `resolve`, carried out by the store in one transaction. */
export type Resolution =
  | { action: "add"; fact: Fact }
  | { action: "reinforce"; fact: Fact; memoryId: string }
  | { action: "supersede"; fact: Fact; memoryId: string };
