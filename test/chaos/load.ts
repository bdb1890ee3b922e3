/** Users who talk, write memories down and ask for summaries, and try again when that fails, as good clients do. */

import { setTimeout as sleep } from "node:timers/promises";
import { createSocketClient, documentOf, post } from "./client.ts";
import { newFact, newUser, userName } from "./facts.ts";
import { type Ledger, recordEvent, type SentRun } from "./ledger.ts";
import type { Random } from "./random.ts";

export interface LoadOptions {
  ledger: Ledger;
  random: Random;
  users: number;
  /** Where the server is at the moment; null while there is none. */
  target: () => string | null;
}

export interface Load {
  /** Sends nothing new; resolves when every client has its answer or has given up. */
  stop(): Promise<void>;
}

/** How long a client waits for an answer, for news on a socket, and between two tries (ms). */
const ANSWER_DEADLINE = 8_000;
const SILENCE_DEADLINE = 10_000;
const RETRY_DELAY = 150;
/** How long clients go on trying once the load stops (ms). */
const LAST_TRIES = 30_000;
const BATCH_SIZE = 40;
const SESSIONS = 2;
/** How long a user waits before doing something else as well, and stays with the same sessions (ms). */
const BOREDOM = 2_000;
const SESSION_TIME = 4_000;
const FINAL_EVENTS = new Set(["RunFinished", "RunError", "RunCancelled"]);

export function startLoad({ ledger, random, users, target }: LoadOptions): Load {
  const state = { stopping: false, giveUpAt: Number.POSITIVE_INFINITY };
  const client = new Client(ledger, random, target, state);
  const loops = Array.from({ length: users }, async () => {
    const user = newUser();
    ledger.users.push(user);
    const acts: Promise<void>[] = [];
    while (!state.stopping) {
      const act = client.act(user);
      acts.push(act);
      // Who waits for a server that is away goes on to something else.
      await Promise.race([act, sleep(BOREDOM)]);
    }
    await Promise.all(acts);
  });
  return {
    async stop() {
      state.stopping = true;
      state.giveUpAt = Date.now() + LAST_TRIES;
      await Promise.all(loops);
    },
  };
}

class Client {
  readonly #ledger: Ledger;
  readonly #random: Random;
  readonly #target: () => string | null;
  readonly #state: { giveUpAt: number };

  constructor(ledger: Ledger, random: Random, target: () => string | null, state: { giveUpAt: number }) {
    this.#ledger = ledger;
    this.#random = random;
    this.#target = target;
    this.#state = state;
  }

  async act(user: number): Promise<void> {
    const choice = this.#random.below(6);
    if (choice === 0) {
      await this.writeDown(user);
    } else if (choice === 1) {
      await this.#sumUp(user);
    } else {
      // Two at once: often in the same session, where one has to wait.
      await Promise.all([this.talk(user), this.read(user)]);
    }
  }

  /** Sends a message and waits for the reply. */
  async talk(user: number): Promise<void> {
    const run = this.#newRun(user);
    const input = this.#input(run);
    const answer = await this.#send<{ runAgent: { run: { runId: string } } }>(
      "mutation ($input: RunAgentInput!, $waitFor: RunStage!) { runAgent(input: $input, waitFor: $waitFor) { run { runId } } }",
      { input, waitFor: this.#random.below(2) === 0 ? "ACCEPTED" : "REPLY" },
    );
    if (answer) {
      run.runIds.add(answer.runAgent.run.runId);
    }
    if (answer && this.#random.below(4) === 0) {
      // Whoever lost an answer sends the message again.
      const again = await this.#send<{ runAgent: { run: { runId: string } } }>(documentOf("RunAgent"), { input, waitFor: "ACCEPTED" });
      run.runIds.add(again?.runAgent.run.runId ?? answer.runAgent.run.runId);
    }
  }

  /** Sends a message and reads the reply as it is written; takes it up where it was cut off. */
  async read(user: number): Promise<void> {
    const run = this.#newRun(user);
    const input = this.#input(run);
    let ended = false;
    while (!ended && Date.now() < this.#state.giveUpAt) {
      const url = this.#target();
      if (url) {
        const runId = [...run.runIds][0];
        const after = Math.max(0, ...run.seen.keys());
        // Without the last answer there is no telling whether the message arrived; the key sees to it that it does once.
        const wanted =
          runId === undefined ? ["SendMessage", { input, until: "REPLY" }] : ["FollowRun", { userId: userName(user), runId, after }];
        ended = await follow(url, wanted as [string, Record<string, unknown>], run).catch(() => false);
      }
      if (!ended) {
        await sleep(RETRY_DELAY);
      }
    }
  }

  async writeDown(user: number): Promise<void> {
    const batch = { user, facts: Array.from({ length: BATCH_SIZE }, () => newFact(user)), acknowledged: false };
    this.#ledger.batches.push(batch);
    const memories = batch.facts.map((fact) => ({ memory: `User owns ${fact}`, topics: ["things"] }));
    const answer = await this.#send("mutation ($input: AddMemoriesInput!) { addMemories(input: $input) { changes { id } } }", {
      input: { userId: userName(user), memories, idempotencyKey: `batch-${batch.facts[0]}` },
    });
    batch.acknowledged = answer !== null;
  }

  async #sumUp(user: number): Promise<void> {
    const input = { userId: userName(user), sessionId: this.#session() };
    await this.#send("mutation ($input: SummarizeSessionInput!) { summarizeSession(input: $input) { session { id } } }", { input }, 1);
  }

  /** Null when nobody answered in time, or none of the tries was good. */
  async #send<Data>(operation: string, variables: object, tries = Number.POSITIVE_INFINITY): Promise<Data | null> {
    for (let made = 0; made < tries && Date.now() < this.#state.giveUpAt; made++) {
      const url = this.#target();
      const answer = url && (await post(url, operation, variables, ANSWER_DEADLINE).catch(() => null));
      if (answer && !answer.errors && answer.data) {
        return answer.data as Data;
      }
      await sleep(RETRY_DELAY);
    }
    return null;
  }

  #newRun(user: number): SentRun {
    const fact = newFact(user);
    const run = { user, fact, key: `key-${fact}`, runIds: new Set<string>(), seen: new Map<number, string>(), contradictions: [] };
    this.#ledger.runs.push(run);
    return run;
  }

  #input(run: SentRun): object {
    return { userId: userName(run.user), sessionId: this.#session(), message: `I like ${run.fact}.`, idempotencyKey: run.key };
  }

  #session(): string {
    // A run whose process died keeps its session busy until its lease is over: talk goes on in another one.
    return `session-${Math.floor(Date.now() / SESSION_TIME)}-${this.#random.below(SESSIONS)}`;
  }
}

/** Follows a run to the end of its reply; false when the connection ended before, or was silent too long. */
export async function follow(url: string, [operation, variables]: [string, Record<string, unknown>], run: SentRun): Promise<boolean> {
  const client = createSocketClient(url);
  const silence = setTimeout(() => client.terminate(), SILENCE_DEADLINE);
  try {
    for await (const { data } of client.iterate({ query: documentOf(operation), variables })) {
      silence.refresh();
      const event = Object.values(data ?? {})[0] as Parameters<typeof recordEvent>[1] | undefined;
      if (event) {
        recordEvent(run, event);
      }
      if (event && FINAL_EVENTS.has(event.__typename)) {
        return true;
      }
    }
    return false;
  } finally {
    clearTimeout(silence);
    client.terminate();
    await client.dispose();
  }
}
