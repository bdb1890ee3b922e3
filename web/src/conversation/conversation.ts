/** One conversation: what is stored of it, what is being written, and what the user does to it. Lives as long as it is shown. */

import type { Api } from "../api/api.ts";
import { follow } from "../api/follow.ts";
import { ownerOf } from "../api/identity.ts";
import { patience } from "../api/patience.ts";
import type { Problem } from "../api/problem.ts";
import {
  ConversationDocument,
  type ConversationQuery,
  FollowDocument,
  LearnAgainDocument,
  type OpenRunPartsFragment,
  RenameDocument,
  type RunPartsFragment,
  SendDocument,
  StopDocument,
} from "../generated/graphql.ts";
import { dropUnsent, keepUnsent, newKey, type Unsent, unsentIn } from "./outbox.ts";
import { applyEvent, isOpen, type RunEvent, type Turn, turnOfRun, turnsOf, unsentTurn } from "./turn.ts";

/** What is shown. Replaced whole at each change. */
export interface ConversationState {
  turns: Turn[];
  /** False until the first answer. */
  loaded: boolean;
  /** Whether there are older messages on the server. */
  hasOlder: boolean;
  /** Why it cannot be shown. */
  problem: Problem | null;
}

/** Pieces of a reply that come within this time (ms) are shown together. */
const FRAME = 33;
const LONGEST_TITLE = 60;

type Session = NonNullable<ConversationQuery["session"]>;

export class Conversation {
  readonly #api: Api;
  readonly #sessionId: string;
  readonly #onChange: () => void;
  readonly #scope = new AbortController();
  readonly #followed = new Set<string>();
  readonly #listeners = new Set<() => void>();
  readonly #runs = new Map<string, RunPartsFragment>();
  #posting: Promise<void> = Promise.resolve();
  #older: { before: string; runsAfter: string | null } | null = null;
  #state: ConversationState = { turns: [], loaded: false, hasOlder: false, problem: null };

  /** `onChange`: a message was taken or answered, so that lists of conversations are out of date. Whoever makes it calls `start`. */
  constructor(api: Api, sessionId: string, onChange: () => void) {
    this.#api = api;
    this.#sessionId = sessionId;
    this.#onChange = onChange;
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  readonly state = (): ConversationState => this.#state;

  /** Reads what is stored, goes on with what is being written, and sends what was on its way when the page went. */
  start(): void {
    for (const message of unsentIn(this.#owner, this.#sessionId)) {
      this.#enqueue(message);
    }
    void this.#load();
  }

  close(): void {
    this.#scope.abort();
  }

  send(text: string): void {
    this.#enqueue({ key: newKey(), owner: this.#owner, sessionId: this.#sessionId, text });
  }

  /** Sends a message again, under the same key, that was not taken. */
  sendAgain({ key, question }: Turn): void {
    this.#enqueue({ key, owner: this.#owner, sessionId: this.#sessionId, text: question });
  }

  /** Gives up a message that was not taken. */
  discard({ key }: Turn): void {
    dropUnsent(key);
    this.#show({ turns: this.#state.turns.filter((turn) => turn.key !== key) });
  }

  /** Stops every reply that is being written or waits for its turn. */
  async stop(): Promise<void> {
    const open = this.#state.turns.filter((turn) => turn.runId !== null && isOpen(turn));
    await Promise.all(open.map(({ runId }) => this.#api.ask(StopDocument, { input: { userId: this.#userId, runId: runId ?? "" } })));
  }

  async learnAgain({ runId, question }: Turn): Promise<void> {
    if (runId !== null) {
      const { data } = await this.#api.ask(LearnAgainDocument, { input: { userId: this.#userId, runId } });
      if (data) {
        this.#adopt(data.retryMemoryUpdate.run, question);
      }
    }
  }

  async loadOlder(): Promise<void> {
    const session = this.#older && (await this.#read(this.#older));
    if (session) {
      this.#takeIn(session);
      this.#noteOlder(session);
    }
  }

  get #userId(): string | null {
    return this.#api.identity.userId;
  }

  get #owner(): string {
    return ownerOf(this.#api.identity);
  }

  async #load(): Promise<void> {
    const session = await this.#read({});
    if (this.#scope.signal.aborted || session === undefined) {
      return;
    }
    if (session) {
      this.#takeIn(session);
      this.#older ?? this.#noteOlder(session);
      const pending = session.runs.edges.map(({ node }) => node).filter(({ memoryUpdate }) => memoryUpdate.status === "PENDING");
      for (const run of [...session.activeRuns, ...pending]) {
        this.#adopt(run);
      }
    }
    this.#show({ loaded: true, problem: null });
  }

  /** Undefined when the server cannot say; tried again while it does not answer. */
  async #read(page: { before?: string; runsAfter?: string | null }): Promise<Session | null | undefined> {
    const wait = patience();
    while (!this.#scope.signal.aborted) {
      const variables = { userId: this.#userId, sessionId: this.#sessionId, ...page };
      const { data, problem } = await this.#api.ask(ConversationDocument, variables);
      if (data) {
        return data.session ?? null;
      }
      this.#show({ problem });
      if (!problem.retryable) {
        return undefined;
      }
      await wait.next(this.#scope.signal);
    }
    return undefined;
  }

  #takeIn({ messages, runs, activeRuns }: Session): void {
    for (const { node } of runs.edges) {
      this.#runs.set(node.runId, node);
    }
    const open = new Set(activeRuns.map(({ runId }) => runId));
    const known = new Map(this.#state.turns.map((turn) => [turn.runId, turn]));
    const stored = turnsOf(
      messages.edges.map(({ node }) => node),
      this.#runs,
    );
    for (const turn of stored) {
      const seen = known.get(turn.runId);
      // While a reply is being written, what was seen of it is newer than what was read.
      const stale = seen && seen.sequence > 0 && open.has(turn.runId ?? "");
      known.set(
        turn.runId,
        stale ? { ...seen, question: turn.question } : { ...turn, key: seen?.key ?? turn.key, changes: seen?.changes ?? null },
      );
    }
    this.#show({ turns: inOrder([...known.values()]) });
  }

  #noteOlder({ messages: { pageInfo }, runs }: Session): void {
    const before = pageInfo.startCursor;
    this.#older = pageInfo.hasPreviousPage && before ? { before, runsAfter: runs.pageInfo.endCursor ?? null } : null;
    this.#show({ hasOlder: this.#older !== null });
  }

  /** Messages are taken in the order in which they were written. */
  #enqueue(message: Unsent): void {
    keepUnsent(message);
    const others = this.#state.turns.filter(({ key }) => key !== message.key);
    this.#show({ turns: [...others, unsentTurn(message.key, message.text)] });
    this.#posting = this.#posting.then(() => this.#post(message));
  }

  async #post({ key, sessionId, text }: Unsent): Promise<void> {
    const wait = patience();
    while (!this.#scope.signal.aborted && this.#state.turns.some((turn) => turn.key === key)) {
      const input = { userId: this.#userId, sessionId, message: text, idempotencyKey: key };
      const { data, problem } = await this.#api.ask(SendDocument, { input });
      if (data) {
        dropUnsent(key);
        const first = this.#state.loaded && this.#state.turns.length === 1;
        this.#adopt(data.runAgent.run, text, key);
        if (first) {
          await this.#api.ask(RenameDocument, { input: { userId: this.#userId, sessionId, name: titleFrom(text) } });
        }
        this.#onChange();
        return;
      }
      const unreachable = problem.code === "UNREACHABLE";
      this.#change(key, (turn) => ({ ...turn, problem, status: unreachable ? "SENDING" : "UNSENT" }));
      if (!unreachable) {
        return;
      }
      await wait.next(this.#scope.signal);
    }
  }

  /** Shows a run and follows it until its message is remembered, however often the connection is lost. */
  #adopt(run: RunPartsFragment & Partial<OpenRunPartsFragment>, question = "", key = run.runId): void {
    if (this.#scope.signal.aborted) {
      return;
    }
    const { turns } = this.#state;
    const known = turns.find((turn) => turn.runId === run.runId);
    const read = { ...turnOfRun(run, known?.question || question), key: known?.key ?? key, reply: run.reply ?? known?.reply ?? "" };
    const fresh = known && known.sequence > run.lastSequence ? known : read;
    this.#show({ turns: inOrder([...turns.filter((other) => other !== known && other.key !== fresh.key), fresh]) });
    if (this.#followed.has(run.runId)) {
      return;
    }
    this.#followed.add(run.runId);
    this.#follow(fresh.key, run.runId, fresh.sequence);
  }

  #follow(key: string, runId: string, from: number): void {
    let after = from;
    let arrived: RunEvent[] = [];
    const flush = (): void => {
      const events = arrived;
      arrived = [];
      this.#change(key, (turn) => events.reduce(applyEvent, turn));
      if (events.some(({ __typename: type }) => type === "RunFinished" || type === "RunError" || type === "RunCancelled")) {
        this.#onChange();
      }
    };
    const ended = (): void => {
      this.#followed.delete(runId);
      flush();
    };
    follow(
      this.#api,
      {
        document: FollowDocument,
        variables: () => ({ userId: this.#userId, runId, after }),
        onEvent: ({ runEvents: event }) => {
          after = Math.max(after, event.__typename === "RunSnapshot" ? event.run.lastSequence : event.sequence);
          if (arrived.push(event) === 1) {
            setTimeout(flush, FRAME);
          }
        },
        onEnd: ended,
        onProblem: (problem) => {
          ended();
          this.#change(key, (turn) => ({ ...turn, problem, status: isOpen(turn) ? "INTERRUPTED" : turn.status, learning: false }));
        },
      },
      this.#scope.signal,
    );
  }

  #change(key: string, change: (turn: Turn) => Turn): void {
    this.#show({ turns: this.#state.turns.map((turn) => (turn.key === key ? change(turn) : turn)) });
  }

  #show(change: Partial<ConversationState>): void {
    if (this.#scope.signal.aborted) {
      return;
    }
    this.#state = { ...this.#state, ...change };
    for (const listener of this.#listeners) {
      listener();
    }
  }
}

/** What a conversation is called until its user finds a better title: how its first message begins. */
function titleFrom(text: string): string {
  const line = text.trim().replaceAll(/\s+/g, " ");
  return line.length <= LONGEST_TITLE ? line : `${line.slice(0, LONGEST_TITLE).replace(/\s\S*$/, "")}…`;
}

/** As they were accepted; what was not comes last. */
function inOrder(turns: Turn[]): Turn[] {
  return turns.toSorted((one, other) => (one.acceptedAt ?? "9").localeCompare(other.acceptedAt ?? "9"));
}
