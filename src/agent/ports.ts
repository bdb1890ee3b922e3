/**
 * What the domain needs from the outside world. Adapters live in `models/`, `stores/`, `events/`; `context.ts` joins them.
 * Every store method takes the acting user first, and sees only that user's rows: the database enforces it as well.
 */

import type { AppError, Failure } from "../errors.ts";
import type { AgentDefinition, AgentRegistry } from "./agents.ts";
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
  Passage,
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

export interface ChatRequest {
  /** Null: the model the adapter was configured with, or the first one its server lists. */
  model: string | null;
  messages: ChatMessage[];
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
export type RunOutcome = { reply: string; messageId: string } & (
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
   * Ends runs whose lease ran out: back to the queue when the model was never asked, else INTERRUPTED (or CANCELLED, when
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
  /** What a reply to `turn` should know of the conversation: at most `turns` turns before it. */
  conversation(user: UserId, sessionId: string, turn: number, turns: number): Promise<Conversation>;
  /** Turns after the summary's high-water mark, up to the last finished one, oldest first. */
  unsummarized(user: UserId, sessionId: string): Promise<{ session: Session; messages: Message[] } | null>;
  /** Stores a summary and completes its job. False when the lease is stale: nothing was written. */
  saveSummary(job: JobLease, sessionId: string, summary: SessionSummary): Promise<boolean>;
  /** The session used last comes first. */
  list(user: UserId, filter: SessionFilter, page: PageRequest): Promise<Page<Session>>;
  count(user: UserId, filter: SessionFilter): Promise<number>;
  /** The runs of a session, newest first; `status` null: whatever their status. */
  runs(user: UserId, sessionId: string, status: RunStatus[] | null, page: PageRequest): Promise<Page<Run>>;
  /** Null takes the name away. Null when there is no such session. */
  rename(user: UserId, sessionId: string, name: string | null): Promise<Session | null>;
  /**
   * Removes the session with its messages, runs, events and jobs, in one transaction. Whoever still carries out one of its
   * runs or jobs has lost the lease and writes nothing. Memories stay, their evidence without the message. False when there is none.
   */
  delete(user: UserId, sessionId: string): Promise<boolean>;
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
  /**
   * Active memories for a prompt: the pinned first, then those that match `text` by words (any of them, stemmed), best
   * first, then the rest by when they were last confirmed; at most `limit`. `total` counts all active ones.
   */
  candidates(user: UserId, text: string, limit: number): Promise<{ candidates: MemoryCandidate[]; total: number }>;
  /** The text an extraction works on: the stored message, the reply before it in its session, and close memories. */
  extractionInput(job: JobLease): Promise<{ message: Message; run: Run; previousReply: string | null; known: Memory[] } | null>;
  /**
   * Stores what was learned from a run's message and completes the job, all in one transaction: memories, evidence,
   * history, the run's memory status and its MemoryUpdate event. `resolve` sees the memories the facts may touch,
   * locked. Null when the lease is stale: nothing was written.
   */
  learn(job: JobLease, learned: Learned, resolve: (facts: Fact[], stored: Memory[]) => Resolution[]): Promise<RunEvent[] | null>;
  /**
   * Writes memories by hand: all or none. One already there is confirmed instead, and gets the topics it did not have. Gives
   * for each fact, in their order, the memory and what was done; facts that say the same share one change.
   */
  add(user: UserId, facts: Fact[], resolve: (facts: Fact[], stored: Memory[]) => Resolution[]): Promise<ChangedMemory[]>;
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
  ): Promise<{ memory: Memory; change: MemoryChange | null } | null>;
  /** Retires all active memories, each with a history entry. Gives how many there were. */
  clear(user: UserId): Promise<number>;
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
}

export interface ClaimedJob {
  job: JobLease;
  /** True when the processes that had it all died over it: it is to be given up, not tried again. */
  exhausted: boolean;
}

export interface JobStore {
  /** Takes the oldest jobs that are due (`ignoreDelay`: or not yet) and whose lanes are free, at most `limit`. */
  claim(ignoreDelay: boolean, limit: number): Promise<ClaimedJob[]>;
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
}

/** Passages of documents for a reply. */
export interface KnowledgeStore {
  search(user: UserId, text: string, limit: number): Promise<Passage[]>;
}

// ─── Events ──────────────────────────────────────────────────────────────────

/** Writes the events of one run that this process carries out. Once a write has failed, every later call throws the same error. */
export interface EventWriter {
  /**
   * Appends and resolves once committed. `requestsModel` marks that the model is about to be asked: from there on the run
   * is never carried out a second time. Throws LeaseLost when another process has the run.
   */
  append(events: RunEventBody[], options?: { requestsModel?: boolean }): Promise<void>;
  /** Appends without waiting; pieces of one message are joined and written together with other runs' pieces. */
  push(event: RunEventBody): void;
  /** Waits for what is being written and hands over what is not: it is to be stored with the run's end. Throws as `append` does. */
  takeRest(): Promise<RunEventBody[]>;
}

/** The event log of runs: stored first, then seen. */
export interface EventLog {
  writer(lease: RunLease): EventWriter;
  /** Tells followers of events that a store has committed. */
  announce(user: UserId, events: RunEvent[]): void;
  /**
   * Yields the events after `after`, stored ones first, then live ones, each exactly once, in order, without a gap.
   * Ends after the terminal event, or with `until: "MEMORY"` when the message's extraction is settled too.
   * Ends early when `signal` aborts.
   */
  follow(user: UserId, runId: string, after: number, until: "REPLY" | "MEMORY", signal: AbortSignal): AsyncGenerator<RunEvent, void>;
}

/** Memory changes as they happen: stored first, then seen. */
export interface MemoryFeed {
  /** Tells followers in this process that a change of this user's was committed. */
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
  /** Wakes the watchers in this process, after a change was committed. */
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

export interface ModelProbe {
  /** Asks the model server at most every 10 s, and waits at most 2 s. Never throws. */
  look(): Promise<ModelServerState>;
  /** Which of the listed models answers requests that name none; null when none can chat. */
  chosen(listed: readonly string[]): string | null;
  /** What was seen of a model's answers in JSON since the start; null before the first. */
  structuredOutput(model: string): StructuredOutput | null;
  /** The name that rules go by while they answer in place of a model; null while a model does. */
  rules(): string | null;
}

export interface DatabaseProbe {
  readonly embedded: boolean;
  /** The version of Postgres. Throws as the stores do. */
  version(): Promise<string>;
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
  /** Stops a run, keeping what was written; a finished one is left as it is. Throws NOT_FOUND. */
  cancel(user: UserId, runId: string): Promise<Run>;
}

/** Changes of a session in which more than its store takes part. Made by `keep-sessions.ts`; each throws NOT_FOUND. */
export interface SessionKeeper {
  /** Null takes the name away. Throws BAD_USER_INPUT. */
  rename(user: UserId, sessionId: string, name: string | null): Promise<Session>;
  /**
   * Brings the summary up to date and waits for it, at most 60 s; with nothing new to sum up no model is asked. Throws what
   * the model call came to, and MODEL_TIMEOUT when the time is up: the work then goes on by itself.
   */
  summarize(user: UserId, sessionId: string, signal: AbortSignal): Promise<Session>;
  /** Stops the runs under way, then removes the session; see `SessionStore.delete`. */
  delete(user: UserId, sessionId: string): Promise<void>;
}

/** How the server is doing. Made by `status.ts`. */
export interface StatusReader {
  read(): Promise<ServerStatus>;
  /** The model a role of an agent has by configuration; null: the first one its server lists. */
  modelOf(role: "CHAT" | "MEMORY", agent: AgentDefinition): string | null;
  /** Remembers that a request was refused because it named no user; anything else is ignored. */
  noteRefusal(error: unknown): void;
}

/** Everything a transport may call; built by `context.ts`. */
export interface Services {
  agents: AgentRegistry;
  runner: Runner;
  runs: RunStore;
  sessions: SessionStore;
  memories: MemoryStore;
  events: EventLog;
  keeper: SessionKeeper;
  sessionFeed: SessionFeed;
  memoryFeed: MemoryFeed;
  status: StatusReader;
}
