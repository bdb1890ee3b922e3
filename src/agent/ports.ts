/**
 * What the domain needs from the outside world. Adapters live in `models/`, `stores/`, `events/`; `context.ts` joins them.
 * Every store method takes the acting user first, and sees only that user's rows: the database enforces it as well.
 */

import { AppError, type Failure } from "../errors.ts";
import type { AgentDefinition, AgentRegistry } from "./agents.ts";
import type { RecordKind, UserRecords } from "./export-format.ts";
import type { ServerStatus } from "./status.ts";
import type {
  Fact,
  JobLease,
  Memory,
  MemoryChange,
  MemoryEvidence,
  MemoryKind,
  MemoryOrigin,
  MemoryStatus,
  Message,
  OnDisconnect,
  Passage,
  RequestKey,
  Resolution,
  Run,
  RunEvent,
  RunEventBody,
  RunLease,
  RunRequest,
  RunStage,
  RunStatus,
  Session,
  SessionChange,
  SessionSummary,
  TokenUsage,
  UserId,
} from "./types.ts";

// ─── Log ─────────────────────────────────────────────────────────────────────

/** Structured log lines: what happened in `data`, in words in `message`. No text of users above debug. */
export interface Log {
  debug(data: object, message: string): void;
  info(data: object, message: string): void;
  warn(data: object, message: string): void;
  error(data: object, message: string): void;
}

// ─── Models ──────────────────────────────────────────────────────────────────

export interface ChatMessage {
  role: "system" | "user" | "assistant";
  content: string;
}

/** A piece of a model's answer. Every stream ends with exactly one `finish`, or throws. */
export type ChatPart =
  | { type: "text-delta"; delta: string }
  | { type: "reasoning-delta"; delta: string }
  | { type: "finish"; usage: TokenUsage; model: string };

/** A JSON schema the answer must keep to: flat objects, no unions, no nulls, every property required. */
export interface AnswerSchema {
  name: string;
  schema: Record<string, unknown>;
}

/** What a model is asked for. Somebody waits for a reply; the rest is done in the background. */
export type CallPurpose = "reply" | "memory" | "summary";

export interface ChatRequest {
  /** Null: the model the adapter was configured with, or the first one its server lists. */
  model: string | null;
  messages: ChatMessage[];
  purpose: CallPurpose;
  /** For work of a job: since when it could be done, and whose it is. */
  job?: { since: Date; userId: UserId };
}

export interface StructuredAnswer {
  /** What the model wrote, think blocks and code fences removed, parsed as JSON but not checked against the schema. */
  value: unknown;
  usage: TokenUsage;
  model: string;
  /** True when rules wrote it and no language model: what is learned from it is marked so. */
  byRules?: boolean;
}

/**
 * A server of chat models. Both methods throw AppError MODEL_UNAVAILABLE, MODEL_TIMEOUT, MODEL_BAD_RESPONSE, or
 * CANCELLED when `signal` aborts; they retry by themselves, but never once a first piece has been given out.
 */
export interface ChatModel {
  /** Streams the reply. Reasoning never appears among the text. A stream cut off before its finish reason throws. */
  stream(request: ChatRequest, signal: AbortSignal): AsyncIterable<ChatPart>;
  /** Asks for one answer in JSON. Throws MODEL_BAD_RESPONSE when none can be read. */
  answer(request: ChatRequest, schema: AnswerSchema, signal: AbortSignal): Promise<StructuredAnswer>;
}

/** Thrown in place of asking a model server that failed again and again and is left alone for a moment: nothing was sent. */
export class ModelResting extends AppError {}

/** Tells who asks models for which run somebody waits: its background calls go before all others. */
export interface CallUrgency {
  /** From now until the returned function is called somebody waits for what the user's messages teach. */
  awaits(user: UserId): () => void;
}

// ─── Stores ──────────────────────────────────────────────────────────────────

/** What is stored when a run is accepted. Ids are made by the caller. */
export interface NewRun {
  request: RunRequest;
  /** The request's session id, or a new one. */
  sessionId: string;
  runId: string;
  messageId: string;
  /** Hash of everything in the request but the key: the same key with another hash is a conflict. */
  fingerprint: string;
  /** False: nothing to remember in this message, or memory is off; no extraction is scheduled. */
  extract: boolean;
}

export interface AcceptedRun {
  run: Run;
  /** False when the idempotency key was used before: `run` is that earlier run. */
  created: boolean;
  /** This process may carry the run out at once; null when it has to wait for its turn, or was not created. */
  lease: RunLease | null;
  /** Events stored with the run, to announce. */
  events: RunEvent[];
}

/** How a run ended, with the reply as far as it was written ("" when it was not begun). */
export type RunOutcome = {
  reply: string;
  messageId: string;
  /** About what a model used up for a reply that was begun and is not complete. */
  spent?: TokenUsage;
} & (
  | {
      status: "COMPLETED";
      usage: TokenUsage;
      model: string;
      /** Bring the session's summary up to date once this many turns are not covered by it; null: never. */
      summarizeEvery: number | null;
    }
  | { status: "FAILED" | "INTERRUPTED"; error: Failure }
  | { status: "CANCELLED" }
);

export interface PageRequest {
  first?: number | null | undefined;
  after?: string | null | undefined;
  last?: number | null | undefined;
  before?: string | null | undefined;
}

/** One page of a list; `cursor` of an item is its place. */
export interface Page<T> {
  items: { cursor: string; node: T }[];
  hasNextPage: boolean;
  hasPreviousPage: boolean;
}

/** What a reply may be written from. */
export interface RunContext {
  conversation: Conversation;
  memories: MemoryCandidates;
}

export interface ContextRequest {
  /** At most this many turns before the run's own. */
  turns: number;
  /** At most this many memories; 0 for none. */
  memories: number;
  /** What they should have to do with. */
  text: string;
}

export interface RunStore {
  /**
   * Commits message, run and extraction job in one transaction. Throws CONFLICT when the session is busy and the
   * request says REJECT, IDEMPOTENCY_CONFLICT when the key was used with another fingerprint.
   */
  accept(user: UserId, run: NewRun): Promise<AcceptedRun>;
  get(user: UserId, runId: string): Promise<Run | null>;
  /** Runs of a session that are not terminal, oldest first. */
  active(user: UserId, sessionId: string): Promise<Run[]>;
  /** The user's message and, once begun, the reply; of one still being written, what it was at the run's `lastSequence`. */
  messages(run: Run): Promise<Message[]>;
  /** The input of a run about to be carried out. */
  input(lease: RunLease): Promise<{ run: Run; message: Message; cancelRequested: boolean }>;
  /** What the reply to a run's message may be written from, as it is now. */
  context(run: Run, request: ContextRequest): Promise<RunContext>;
  /**
   * Ends a run: the rest of its events, reply, terminal event, release of the extraction job and, when due, a summary job, in one transaction.
   * `queued`: another run of the session waits for its turn. Null when the lease is stale (nothing was written).
   */
  finish(lease: RunLease, outcome: RunOutcome, rest: RunEventBody[]): Promise<{ events: RunEvent[]; queued: boolean } | null>;
  /** Cancels a queued run at once and asks for a running one to be stopped. Null when there is no such run. */
  requestCancel(user: UserId, runId: string): Promise<{ run: Run; events: RunEvent[] } | null>;

  // For every user, by ids, states and times alone (the recollect_worker role):
  /** Takes the oldest queued run whose session is free; null when there is none. */
  claim(): Promise<RunLease | null>;
  /** Renews this process's leases on these runs. Returns those still held, and which of them were asked to stop. */
  heartbeat(runIds: string[]): Promise<{ runId: string; cancelRequested: boolean }[]>;
  /**
   * Ends runs whose lease ran out: back to the queue when nothing of the reply is stored, else INTERRUPTED (or CANCELLED, when
   * that was asked for) with what was stored. `everyLease`: also those not run out yet, when no other process can hold any.
   */
  reap(everyLease: boolean): Promise<{ userId: UserId; events: RunEvent[] }[]>;
}

export interface Conversation {
  /** Complete turns before this one, oldest first, as many as were asked for. */
  history: Message[];
  summary: SessionSummary | null;
  /** Summary of the user's session used before this one; given to a session that has just begun. */
  previousSummary: SessionSummary | null;
}

export interface SessionStore {
  get(user: UserId, sessionId: string): Promise<Session | null>;
  messages(user: UserId, sessionId: string, page: PageRequest): Promise<Page<Message>>;
  messageCount(user: UserId, sessionId: string): Promise<number>;
  /** Turns after the summary's high-water mark, up to the last finished one, oldest first. */
  unsummarized(user: UserId, sessionId: string): Promise<{ session: Session; messages: Message[] } | null>;
  /** Stores a summary and completes its job. False when the lease is stale: nothing was written. */
  saveSummary(job: JobLease, sessionId: string, summary: SessionSummary, usage: TokenUsage): Promise<boolean>;
  /** The session used last comes first. */
  list(user: UserId, filter: SessionFilter, page: PageRequest): Promise<Page<Session>>;
  count(user: UserId, filter: SessionFilter): Promise<number>;
  /** The runs of a session, newest first; `status` null: whatever their status. */
  runs(user: UserId, sessionId: string, status: RunStatus[] | null, page: PageRequest): Promise<Page<Run>>;
  /** Null takes the name away. Null when there is no such session. */
  rename(user: UserId, sessionId: string, name: string | null, request: RequestKey | null): Promise<Session | null>;
  /**
   * Removes the session with its messages, runs, events and jobs, in one transaction. Whoever still carries out one of its
   * runs or jobs has lost the lease and writes nothing. Memories stay, their evidence without the message. Gives the ids of
   * the runs removed, none when the request was answered before; null when there is no such session.
   */
  delete(user: UserId, sessionId: string, request: RequestKey | null): Promise<string[] | null>;
}

/** Every condition given must hold. */
export interface SessionFilter {
  agentId?: string | null | undefined;
  /** In the name or in the summary, upper and lower case the same. */
  text?: string | null | undefined;
  updatedAfter?: Date | null | undefined;
  updatedBefore?: Date | null | undefined;
}

export interface MemoryFilter {
  topics?: string[] | null | undefined;
  topicsMatch?: "ANY" | "ALL" | undefined;
  text?: string | null | undefined;
  agentId?: string | null | undefined;
  sessionId?: string | null | undefined;
  kind?: MemoryKind[] | null | undefined;
  status?: MemoryStatus[] | undefined;
  origin?: MemoryOrigin[] | null | undefined;
  createdAfter?: Date | null | undefined;
  createdBefore?: Date | null | undefined;
}

export type MemoryOrder = "NEWEST" | "OLDEST" | "RECENTLY_CONFIRMED";

/** Memories close to a text, with the place each way of searching gave them. */
export interface MemoryCandidate {
  memory: Memory;
  /** ts_rank of the text; 0 when no word matched. */
  textScore: number;
}

/**
 * Active memories for a prompt: the pinned first, then those that match a text by words (any of them, stemmed), best
 * first, then the rest by when they were last confirmed. `total` counts all active ones.
 */
export interface MemoryCandidates {
  candidates: MemoryCandidate[];
  total: number;
}

/** What facts do to the memories they may touch. `room`: how many memories may be added; null when that is far away. May throw. */
export type Resolve = (facts: Fact[], stored: Memory[], room: number | null) => Resolution[];

export interface MemoryStore {
  get(user: UserId, memoryId: string): Promise<Memory | null>;
  /** In the order of the ids; missing ones are left out. */
  getMany(user: UserId, memoryIds: string[]): Promise<Memory[]>;
  list(user: UserId, filter: MemoryFilter, order: MemoryOrder, page: PageRequest): Promise<Page<Memory>>;
  count(user: UserId, filter: MemoryFilter): Promise<number>;
  /** The user's last change number; 0 before the first. */
  sequence(user: UserId): Promise<number>;
  evidence(user: UserId, memoryId: string, limit: number): Promise<(MemoryEvidence & { message: Message | null })[]>;
  history(user: UserId, memoryId: string, limit: number): Promise<MemoryChange[]>;
  /** What a run's message changed, in order. */
  changes(user: UserId, runId: string): Promise<MemoryChange[]>;
  change(user: UserId, changeId: string): Promise<MemoryChange | null>;
  /** The text an extraction works on: the stored message, the reply before it in its session, and close memories. */
  extractionInput(job: JobLease): Promise<{ message: Message; run: Run; previousReply: string | null; known: Memory[] } | null>;
  /**
   * Stores what was learned from a run's message and completes the job, all in one transaction: memories, evidence,
   * history, the run's memory status and its MemoryUpdate event. `resolve` sees the memories the facts may touch,
   * locked. Null when the lease is stale: nothing was written.
   */
  learn(job: JobLease, learned: Learned, resolve: Resolve): Promise<RunEvent[] | null>;
  /**
   * Writes memories by hand: all or none. One already there is confirmed instead, and gets the topics it did not have. Gives
   * for each fact, in their order, the memory and what was done; facts that say the same share one change.
   */
  add(user: UserId, facts: Fact[], resolve: Resolve, request: RequestKey | null): Promise<ChangedMemory[]>;
  /** Topics of the active memories with how many have each, most used first, then by name; at most `limit`. */
  topics(user: UserId, limit: number): Promise<{ topic: string; count: number }[]>;
  /** Memories of the filter that share words with `text` (ranked as `candidates` ranks them) or have one of `topics`. Best first. */
  search(user: UserId, search: MemorySearch): Promise<FoundMemory[]>;
  /** The user's changes with a number above `after`, in order, at most `limit`. */
  changesAfter(user: UserId, after: number, limit: number): Promise<ChangedMemory[]>;
  /**
   * Changes one memory, alone with it: `revise` is given the memory as it is and says what becomes of it, null for
   * nothing, or throws. One history entry of `kind`. Null when there is no such memory of this user. Throws CONFLICT when
   * another active memory says the same already.
   */
  revise(
    user: UserId,
    memoryId: string,
    kind: "UPDATED" | "DELETED",
    revise: (memory: Memory) => MemoryRevision | null,
    request: RequestKey | null,
  ): Promise<{ memory: Memory; change: MemoryChange | null } | null>;
  /** Retires all active memories, each with a history entry. Gives how many there were. */
  clear(user: UserId, request: RequestKey | null): Promise<number>;
}

/** A change with its memory as it is now. */
export type ChangedMemory = MemoryChange & { memory: Memory };

export interface MemorySearch {
  text: string;
  /** In the spelling topics are stored in. */
  topics: string[];
  filter: MemoryFilter;
  limit: number;
}

/** A memory found by a search. Ranks are its places among all memories of the filter, 1 the best; null where it was not found. */
export interface FoundMemory extends MemoryCandidate {
  textRank: number | null;
  topicRank: number | null;
  /** Of 1: its words against the best match's, its topics against the best match's. */
  score: number;
}

/** What becomes of a memory; what is left out stays. A new text comes with its fingerprint. */
export type MemoryRevision = Partial<Pick<Memory, "topics" | "pinned" | "expiresAt" | "status">> & {
  text?: Pick<Memory, "memory" | "slot" | "origin"> & { fingerprint: string };
};

/** What was learned from one message. */
export interface Learned {
  runId: string;
  messageId: string;
  /** When the message was accepted. */
  saidAt: Date;
  agentId: string;
  origin: MemoryOrigin;
  facts: Fact[];
  /** What finding them took. */
  usage: TokenUsage;
}

export interface ClaimedJob {
  job: JobLease;
  /** True when the processes that had it all died over it: it is to be given up, not tried again. */
  exhausted: boolean;
  /** True when another one waits for this one's lane. */
  awaited: boolean;
}

export interface JobStore {
  /**
   * Takes jobs that are due (`ignoreDelay`: or not yet) and whose lanes are free, at most `limit`: extractions of the users in
   * `first`, then the oldest.
   */
  claim(ignoreDelay: boolean, limit: number, first: UserId[]): Promise<ClaimedJob[]>;
  /** Renews this process's leases on these jobs; returns the ids still held. */
  heartbeat(jobIds: string[]): Promise<string[]>;
  payload(job: JobLease): Promise<Record<string, unknown> | null>;
  /** Removes a job that had nothing left to do. */
  complete(job: JobLease): Promise<void>;
  /**
   * Records a failure: tried again later with growing delay, or given up (dead) after `maxAttempts`. For an extraction
   * that is given up the run's memory status becomes FAILED; the events that say so are returned.
   */
  fail(job: JobLease, failure: Failure, maxAttempts: number): Promise<{ dead: boolean; events: RunEvent[] }>;
  /** Gives back a job of this process that was not carried out: as if it had never been claimed. */
  giveBack(job: JobLease): Promise<void>;
  /** Makes jobs that wait after a failure due now: what they failed on is there again. */
  hurry(): Promise<void>;
  /** Gives back jobs whose lease ran out; `everyLease`: also those not run out yet, when no other process can hold any. */
  reap(everyLease: boolean): Promise<number>;
  /** `due`: ready, their time come or not; `waiting`: those and the ones whose run has not ended. */
  counts(): Promise<{ waiting: number; due: number; running: number; dead: number; oldestWaitingSeconds: number | null }>;
  /** Puts a summary of the session at the head of the queue, in place of one that waits or was given up; returns its job's id. */
  requestSummary(user: UserId, sessionId: string): Promise<string>;
  /** Whether a job has failed since it was last requested, and how; null once it is done or gone. */
  state(user: UserId, jobId: string): Promise<{ failure: Failure | null } | null>;
  /** The runs whose extraction was given up, newest first. */
  failedLearning(user: UserId, page: PageRequest): Promise<Page<Run>>;
  /**
   * Queues a new extraction in place of the one that was given up, behind those that wait; the run's memory status becomes
   * PENDING. A run that has none such is left as it is. False when there is no such run.
   */
  retryLearning(user: UserId, runId: string, request: RequestKey | null): Promise<boolean>;
}

/**
 * Which requests that have a key were answered, for those whose effect is not one transaction; the others keep their key with
 * their effect. Both throw IDEMPOTENCY_CONFLICT when the key belongs to another request. Null: it has no key.
 */
export interface RequestStore {
  seen(user: UserId, request: RequestKey | null): Promise<boolean>;
  /** Keeps it for a day at least. */
  keep(user: UserId, request: RequestKey | null): Promise<void>;
}

/** What is kept for a time only. */
export interface RetentionStore {
  /**
   * Removes the events of some runs that ended more than `hours` ago, but for those that say how they ended and what was
   * learned; never of runs whose message is still being learned from. Gives how many runs that were, 0 when none is left.
   */
  pruneEvents(hours: number): Promise<number>;
  /** Removes some idempotency keys of requests answered days ago. Gives how many that were. */
  pruneKeys(): Promise<number>;
}

/** Passages of documents for a reply. */
export interface KnowledgeStore {
  search(user: UserId, text: string, limit: number): Promise<Passage[]>;
}

// ─── Events ──────────────────────────────────────────────────────────────────

/** Writes the events of one run that this process carries out. Once a write has failed, every later call throws the same error. */
export interface EventWriter {
  /**
   * Appends without waiting; pieces of one message are joined and written together with other runs' pieces. Once something of
   * the reply is stored the run is never carried out a second time. Throws LeaseLost when another process has the run.
   */
  push(event: RunEventBody): void;
  /** Waits for what is being written and hands over what is not: it is to be stored with the run's end. Throws as `push` does. */
  takeRest(): Promise<RunEventBody[]>;
  /** The run's end is stored, or never will be from here. */
  close(): void;
}

/** The event log of runs: stored first, then seen. */
export interface EventLog {
  /** `after`: the number of the run's last event. A database that is away for some seconds is waited for. */
  writer(lease: RunLease, after: number): EventWriter;
  /** Tells followers of events that a store has committed. */
  announce(user: UserId, events: RunEvent[]): void;
  /** Sends followers of these runs to the store: what they wait for may never come. */
  lookAgain(user: UserId, runIds: string[]): void;
  /**
   * Yields the events after `after`, stored ones first, then live ones, each exactly once, in order, without a gap.
   * Ends after the terminal event, or with `until: "MEMORY"` when the message's extraction is settled too.
   * Ends early when `signal` aborts.
   */
  follow(user: UserId, runId: string, after: number, until: "REPLY" | "MEMORY", signal: AbortSignal): AsyncGenerator<RunEvent, void>;
}

/**
 * The other server processes on the same database. They are told at once what they would find by themselves at their next
 * look, once a second; a word that is lost costs that second and nothing else.
 */
export interface Peers {
  /** How many are known; while there is none nothing is sent. */
  readonly others: number;
  /** False while words of others may be missed. */
  readonly listening: boolean;
  /**
   * Sends a word to all of them within milliseconds, together with other words. Never waits, never throws. A word has up to
   * 16 letters and digits, "-" and "_", and nothing of users can be read from it.
   */
  tell(word: string): void;
  /** Calls `listener` with each word of theirs. */
  hear(listener: (word: string) => void): void;
}

/**
 * Words of processes: a run waits to be claimed; a job does; a run was asked to stop; words may have been missed, so whatever
 * is followed is to be looked at. Others name what there is news of.
 */
export const PEER_WORDS = { runs: "runs", jobs: "jobs", cancel: "cancel", missed: "missed" } as const;

/** Memory changes as they happen: stored first, then seen. */
export interface MemoryFeed {
  /** Tells followers, here and in other processes, that a change of this user's was committed. */
  wake(user: UserId): void;
  /** Yields the user's changes with a number above `after`, each exactly once, in order, without a gap. Ends when `signal` aborts. */
  follow(user: UserId, after: number, signal: AbortSignal): AsyncGenerator<ChangedMemory, void>;
}

/** Thrown to an executor whose run was taken by another process: it must stop and write nothing. */
export class LeaseLost extends Error {
  override readonly name = "LeaseLost";
}

/** Tells who watches a session that it changed. What they are shown is read from the database: nothing is queued for them. */
export interface SessionFeed {
  /** Wakes the watchers, here and in other processes, after a change was committed. */
  announce(user: UserId, sessionId: string): void;
  /** Resolves at the next announcement, after `milliseconds`, or when `signal` aborts; take it before looking, so that none slips in between. */
  next(user: UserId, sessionId: string, milliseconds: number, signal: AbortSignal): Promise<void>;
  /**
   * Yields the session as it is, then at each change of its name or summary; changes that come faster than they are taken
   * are shown together. Ends after DELETED, when `signal` aborts, and at once when there is no such session.
   */
  follow(user: UserId, sessionId: string, signal: AbortSignal): AsyncGenerator<SessionChange, void>;
}

// ─── Status ──────────────────────────────────────────────────────────────────

/** What the model server said when it was last asked which models it has. */
export interface ModelServerState {
  /** Its address, without secrets. */
  address: string;
  /** The models it lists, those for embeddings included; null when it could not be asked. */
  listed: string[] | null;
  /** Why it could not be asked. */
  failure: AppError | null;
  checkedAt: Date;
}

/** How a model returns answers in JSON: kept to a schema by its server, or as text that we read. */
export type StructuredOutput = "STRICT_SCHEMA" | "TEXT";

/** CLOSED: requests are sent. OPEN: the server failed again and again and is left alone for a moment. HALF_OPEN: one request tries it. */
export type BreakerState = "CLOSED" | "OPEN" | "HALF_OPEN";

export interface BreakerStatus {
  state: BreakerState;
  /** Since when requests are sent, or are not. */
  since: Date;
  /** From when on a request is sent again, to see; null while all are. */
  nextTryAt: Date | null;
  /** What went wrong last; null while CLOSED. */
  failure: AppError | null;
}

export interface ModelProbe {
  /** Asks the model server at most every 10 s, and waits at most 2 s. Never throws. */
  look(): Promise<ModelServerState>;
  /** Which of the listed models answers requests that name none; null when none can chat. */
  chosen(listed: readonly string[]): string | null;
  /** What was seen of a model's answers in JSON since the start; null before the first. */
  structuredOutput(model: string): StructuredOutput | null;
  /** The name that rules go by while they answer in place of a model; null while a model does. */
  rules(): string | null;
  /** Whether requests are sent to the server. */
  breaker(): BreakerStatus;
}

export interface DatabaseProbe {
  readonly embedded: boolean;
  /** The version of Postgres. Throws as the stores do. */
  version(): Promise<string>;
}

/** Where the pieces of replies are kept when not in the database. */
export interface PieceProbe {
  /** What is wrong with it; null when it answers. Never throws. */
  failure(): Promise<AppError | null>;
}

// ─── What transports call ────────────────────────────────────────────────────

/** Accepts runs and sees them to their end in this process. Made by `runner.ts`. */
export interface Runner {
  /**
   * Accepts a request (committed when this resolves) and carries it out in the background. A repeated idempotency key
   * gives the earlier run. Throws NOT_FOUND for an unknown agent, CONFLICT, IDEMPOTENCY_CONFLICT, SERVICE_UNAVAILABLE while stopping.
   */
  submit(request: RunRequest): Promise<Run>;
  /**
   * Waits until a run has come to `stage` and returns it as it is then. MEMORY waits at most 60 s for this message's
   * extraction, never for a summary. Stops waiting, not the run, when `signal` aborts.
   */
  wait(user: UserId, runId: string, stage: RunStage, signal: AbortSignal): Promise<Run>;
  /**
   * Stops a run, in whichever process it is, and returns it ended, with what was written; a finished one is left as it is.
   * Throws NOT_FOUND. One whose process does not answer is taken over when its lease has run out, and returned as it is after 22 s.
   */
  cancel(user: UserId, runId: string): Promise<Run>;
}

/** What a user may do to a run beside watching it. Made by `keep-runs.ts`. `key`: the client's own name for the request. */
export interface RunKeeper {
  /** As `Runner.cancel`. Throws NOT_FOUND, IDEMPOTENCY_CONFLICT. */
  cancel(user: UserId, runId: string, key: string | null | undefined): Promise<Run>;
  /** Stops a run in the background when its client has left and `wanted` that; not while the server is `closing`. Never throws. */
  clientLeft(user: UserId, runId: string, wanted: OnDisconnect, closing: AbortSignal): void;
  /** Learns again from a run whose memory update failed; any other is left as it is. Throws NOT_FOUND, IDEMPOTENCY_CONFLICT. */
  retryMemoryUpdate(user: UserId, runId: string, key: string | null | undefined): Promise<Run>;
  failedMemoryUpdates: JobStore["failedLearning"];
}

/**
 * Changes of a session in which more than its store takes part. Made by `keep-sessions.ts`; each throws NOT_FOUND, and
 * IDEMPOTENCY_CONFLICT. `key`: the client's own name for the request.
 */
export interface SessionKeeper {
  /** Null takes the name away. Throws BAD_USER_INPUT. */
  rename(user: UserId, sessionId: string, name: string | null, key: string | null | undefined): Promise<Session>;
  /**
   * Brings the summary up to date and waits for it, at most 60 s; with nothing new to sum up no model is asked. Throws what
   * the model call came to, and MODEL_TIMEOUT when the time is up: the work then goes on by itself.
   */
  summarize(user: UserId, sessionId: string, key: string | null | undefined, signal: AbortSignal): Promise<Session>;
  /** Stops the runs under way, then removes the session; see `SessionStore.delete`. */
  delete(user: UserId, sessionId: string, key: string | null | undefined): Promise<void>;
}

/** How the server is doing. Made by `status.ts`. */
export interface StatusReader {
  read(): Promise<ServerStatus>;
  /** The model a role of an agent has by configuration; null: the first one its server lists. */
  modelOf(role: "CHAT" | "MEMORY", agent: AgentDefinition): string | null;
  /** Remembers that a request was refused because it named no user; anything else is ignored. */
  noteRefusal(error: unknown): void;
}

/** What an erasure came to. */
export interface Erasure {
  /** Finds the receipt among those the server keeps; it names nobody. */
  receiptId: string;
  erasedAt: Date;
  /** Rows erased, by table. */
  counts: { table: string; count: number }[];
  /** Rows of the user left in all tables, counted afterwards. */
  remaining: number;
  /** The runs that are gone. */
  runIds: string[];
}

/** All that is stored about a user. */
export interface UserDataStore {
  /** The records of an export, in order, all of one moment. */
  read(user: UserId): Promise<{ kind: RecordKind; row: object }[]>;
  /**
   * Stores records for a user who has no session and no memory, all or none; causes no background work. Records of which all are
   * there already are left as they are. Throws CONFLICT when the user has other data, BAD_USER_INPUT when the records do not
   * fit each other, BUDGET_EXCEEDED for too many memories.
   */
  write(user: UserId, records: UserRecords): Promise<{ imported: number; skipped: number }>;
  /** The runs that have not ended, of each session the latest first. */
  active(user: UserId): Promise<string[]>;
  /** Removes every row of the user, in one transaction, and leaves a receipt. Whoever holds a lease of a run or job of theirs has lost it. */
  erase(user: UserId): Promise<Erasure>;
}

/** What users may do with all that is stored about them. Made by `keep-user-data.ts`. */
export interface UserDataKeeper {
  /** The pieces of a document, all of one moment. Of a run under way it holds what would be left if the server stopped now. */
  export(user: UserId): Promise<Iterable<string>>;
  /** Takes in a parsed document; see `UserDataStore.write`. Throws BAD_USER_INPUT for anything that is none. */
  import(user: UserId, document: unknown): Promise<{ imported: number; skipped: number }>;
  /** Stops the user's runs and removes all that is stored about them; the same id may be used anew at once. */
  erase(user: UserId): Promise<Omit<Erasure, "runIds">>;
}

/** Everything a transport may call; built by `context.ts`. */
/** Knows how many requests a user has made. */
export interface RequestCounter {
  /** Counts one. Throws RATE_LIMITED for one too many. */
  count(user: UserId): void;
}

export interface Services {
  agents: AgentRegistry;
  runner: Runner;
  runs: RunStore;
  sessions: SessionStore;
  memories: MemoryStore;
  events: EventLog;
  runKeeper: RunKeeper;
  keeper: SessionKeeper;
  sessionFeed: SessionFeed;
  memoryFeed: MemoryFeed;
  status: StatusReader;
  userData: UserDataKeeper;
  rates: RequestCounter;
}
