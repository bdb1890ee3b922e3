/**
 * Every method of every store, asked for one user's rows in a unit of work of another user: what its statements say about users
 * then counts for nothing, and the database alone has to hold.
 */

import { v7 as uuid } from "uuid";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readDocument } from "../src/agent/export-format.ts";
import type { JobLease, Run, RunLease, UserId } from "../src/agent/types.ts";
import type { Database, Transaction } from "../src/stores/database.ts";
import { createRequestStore } from "../src/stores/idempotency.ts";
import { createJobStore } from "../src/stores/jobs.ts";
import { createMemoryStore } from "../src/stores/memories.ts";
import { createEventStore } from "../src/stores/run-events.ts";
import { createRunStore } from "../src/stores/runs.ts";
import { createSessionStore } from "../src/stores/sessions.ts";
import { createUserDataStore } from "../src/stores/user-data.ts";
import { startTestServer, type TestServer } from "./support/server.ts";
import { exportUser, liveThrough } from "./support/user-data.ts";

const BOB = "bob" as UserId;
const MALLORY = "mallory" as UserId;
/** Words of Bob's that none of his ids and keys hold. */
const BOBS = /hiking|dark blue|Kyoto|Zoë|Zweites/;
const PAGE = { first: 10 };

let server: TestServer;
let run: Run;
let memoryId: string;
let learnedId: string;
let runLease: RunLease;
let jobLease: JobLease;
let document: string;

beforeAll(async () => {
  server = await startTestServer();
  await liveThrough(server, BOB);
  await server.data("AddMemory", { input: { userId: MALLORY, memory: "User is Mallory" } });
  document = await exportUser(server, BOB);
  const { runs, memories } = server.context.services;
  server.model.respond(({ purpose, body }) =>
    purpose === "extraction" && JSON.stringify(body).includes("unlearnable") ? { kind: "speech", text: "no list" } : undefined,
  );
  await server.data("RunAgent", { input: { userId: BOB, sessionId: "two", message: "I love unlearnable things." } });
  await server.drain();
  const [running] = await inspect("select run_id from recollect_runs where user_id = 'bob' and status = 'COMPLETED' order by turn limit 1");
  run = (await runs.get(BOB, String(running?.run_id))) as Run;
  memoryId = (await memories.list(BOB, { text: "dark blue" }, "NEWEST", PAGE)).items[0]?.node.memoryId ?? "";
  learnedId = (await memories.list(BOB, { text: "hiking" }, "NEWEST", PAGE)).items[0]?.node.memoryId ?? "";
  const extraction = server.model.hold(0, "extraction");
  await server.data("RunAgent", { input: { userId: BOB, sessionId: "held", message: "I love hiking in Kyoto." }, waitFor: "REPLY" });
  await extraction.reached;
  const [job] = await inspect(
    "select job_id::text as job_id, lease_owner, attempt from recollect_jobs where user_id = 'bob' and state = 'RUNNING'",
  );
  jobLease = {
    jobId: String(job?.job_id),
    userId: BOB,
    kind: "extract-memories",
    owner: String(job?.lease_owner),
    attempt: Number(job?.attempt),
  };
  const reply = server.model.hold(1);
  await server.data("RunAgent", { input: { userId: BOB, sessionId: "held", message: "I love Kyoto." }, waitFor: "ACCEPTED" });
  await reply.reached;
  const [held] = await inspect("select run_id, lease_owner, attempt from recollect_runs where user_id = 'bob' and status = 'RUNNING'");
  runLease = { userId: BOB, runId: String(held?.run_id), owner: String(held?.lease_owner), attempt: Number(held?.attempt) };
});

afterAll(() => server.close());

function inspect(sql: string): Promise<Record<string, unknown>[]> {
  return server.context.database.inspect(sql);
}

/** The stores over a database whose units of work are never those of the user that a store asks for. */
function storesOver(unit: <T>(work: (transaction: Transaction) => Promise<T>) => Promise<T>) {
  const { database } = server.context;
  const over = {
    embedded: database.embedded,
    asUser: (_: UserId, work: (transaction: Transaction) => Promise<unknown>) => unit(work),
    asWorker: () => Promise.reject(new Error("not a user's")),
    asLog: () => Promise.reject(new Error("not a user's")),
  } as unknown as Database;
  const lease = { owner: runLease.owner, leaseSeconds: 15 };
  return {
    runs: createRunStore(over, lease),
    sessions: createSessionStore(over),
    memories: createMemoryStore(over, () => undefined),
    jobs: createJobStore(over, lease),
    requests: createRequestStore(over),
    events: createEventStore(over),
    userData: createUserDataStore(over, null, null),
  };
}

type Stores = ReturnType<typeof storesOver>;
type Calls = {
  [Store in keyof Stores]: { [Method in keyof Stores[Store]]: ((store: Stores[Store]) => Promise<unknown>) | "worker" | "no statement" };
};

/** Each method, asked for what is Bob's. The types ask for a line for each new one. */
const calls: Calls = {
  runs: {
    accept: (store) =>
      store.accept(BOB, {
        request: {
          userId: BOB,
          agentId: "rag-agent",
          sessionId: "one",
          message: "planted",
          idempotencyKey: null,
          memory: "ON",
          onBusy: "ENQUEUE",
        },
        sessionId: "one",
        runId: uuid(),
        messageId: uuid(),
        fingerprint: "f",
        extract: true,
      }),
    get: (store) => store.get(BOB, run.runId),
    active: (store) => store.active(BOB, "held"),
    messages: (store) => store.messages(run),
    input: (store) => store.input({ ...runLease, runId: run.runId }),
    context: (store) => store.context({ ...run, turn: 99 }, { turns: 99, memories: 99, text: "hiking" }),
    finish: (store) => store.finish(runLease, { status: "CANCELLED", reply: "planted", messageId: uuid() }, []),
    requestCancel: (store) => store.requestCancel(BOB, runLease.runId),
    claim: "worker",
    heartbeat: "worker",
    reap: "worker",
  },
  sessions: {
    get: (store) => store.get(BOB, "one"),
    messages: (store) => store.messages(BOB, "one", PAGE),
    messageCount: (store) => store.messageCount(BOB, "one"),
    unsummarized: (store) => store.unsummarized(BOB, "two"),
    saveSummary: (store) => store.saveSummary(jobLease, "one", { summary: "planted", topics: [], updatedAt: "", coveredTurn: 1 }, USAGE),
    list: (store) => store.list(BOB, {}, PAGE),
    count: (store) => store.count(BOB, {}),
    runs: (store) => store.runs(BOB, "one", null, PAGE),
    rename: (store) => store.rename(BOB, "two", "planted", null),
    delete: (store) => store.delete(BOB, "two", null),
  },
  memories: {
    get: (store) => store.get(BOB, memoryId),
    getMany: (store) => store.getMany(BOB, [memoryId]),
    list: (store) => store.list(BOB, {}, "NEWEST", PAGE),
    count: (store) => store.count(BOB, {}),
    sequence: (store) => store.sequence(BOB),
    evidence: (store) => store.evidence(BOB, learnedId, 10),
    history: (store) => store.history(BOB, memoryId, 10),
    changes: (store) => store.changes(BOB, run.runId),
    change: (store) => store.change(BOB, "1"),
    extractionInput: (store) => store.extractionInput(jobLease),
    learn: (store) =>
      store.learn(
        jobLease,
        { runId: run.runId, messageId: "m", saidAt: new Date(), agentId: "a", origin: "EXTRACTED", facts: [FACT], usage: null } as never,
        () => [{ action: "add", fact: FACT }],
      ),
    add: (store) => store.add(BOB, [FACT], () => [{ action: "add", fact: FACT }], null),
    topics: (store) => store.topics(BOB, 10),
    search: (store) => store.search(BOB, { text: "hiking", topics: ["hobbies"], filter: {}, limit: 10 }),
    changesAfter: (store) => store.changesAfter(BOB, 0, 100),
    revise: (store) => store.revise(BOB, memoryId, "UPDATED", () => ({ pinned: false }), null),
    clear: (store) => store.clear(BOB, null),
  },
  jobs: {
    claim: "worker",
    heartbeat: "worker",
    payload: (store) => store.payload(jobLease),
    complete: (store) => store.complete(jobLease),
    fail: (store) => store.fail(jobLease, { code: "INTERNAL", message: "planted", retryable: false, errorId: null }, 1),
    giveBack: (store) => store.giveBack(jobLease),
    hurry: "worker",
    reap: "worker",
    counts: "worker",
    requestSummary: (store) => store.requestSummary(BOB, "one"),
    state: (store) => store.state(BOB, jobLease.jobId),
    failedLearning: (store) => store.failedLearning(BOB, PAGE),
    retryLearning: (store) => store.retryLearning(BOB, run.runId, null),
  },
  requests: {
    seen: (store) => store.seen(BOB, { key: "k", operation: "addMemories", fingerprint: "another" }),
    keep: (store) => store.keep(BOB, { key: "planted", operation: "o", fingerprint: "f" }),
  },
  events: {
    append: "worker",
    read: (store) => store.read(BOB, run.runId, 0, 100),
    release: "no statement",
  },
  userData: {
    read: (store) => store.read(BOB),
    write: (store) => store.write(BOB, readDocument(JSON.parse(document))),
    active: (store) => store.active(BOB),
    erase: (store) => store.erase(BOB),
  },
};

const USAGE = { inputTokens: 1, outputTokens: 1, estimated: false };

const FACT = {
  memory: "planted",
  topics: [],
  kind: "OTHER" as const,
  subject: null,
  slot: null,
  quote: null,
  fingerprint: "planted",
  quarantined: false,
  expiresAt: null,
};

const methods = Object.entries(calls).flatMap(([store, of]) =>
  Object.entries(of).flatMap(([method, call]) => (typeof call === "function" ? [[`${store}.${method}`, store, call] as const] : [])),
);

/** All of a user's rows in all tables, but for leases, which are renewed meanwhile. */
async function rowsOf(user: UserId): Promise<string> {
  const tables = await inspect(
    `select distinct c.relname as name from pg_class c join pg_attribute a on a.attrelid = c.oid
    where a.attname = 'user_id' and not a.attisdropped and c.relkind in ('r', 'p') and c.relnamespace = current_schema()::regnamespace order by 1`,
  );
  const rows: unknown[] = [];
  for (const { name } of tables) {
    rows.push(await inspect(`select (to_jsonb(t) - 'lease_until')::text as row from ${name} t where user_id = '${user}' order by 1`));
  }
  return JSON.stringify(rows);
}

/** What a call gives, without what it was given. */
async function resultOf(stores: Stores, store: string, call: unknown): Promise<string> {
  const asked = call as (store: unknown) => Promise<unknown>;
  return asked(stores[store as keyof Stores]).then((result) => JSON.stringify(result) ?? "", String);
}

describe("in another user's unit of work", () => {
  test.each(methods)("%s reads nothing of the user's and changes nothing", async (_, store, call) => {
    const before = await Promise.all([rowsOf(BOB), rowsOf(MALLORY)]);
    const stores = storesOver((work) => server.context.database.asUser(MALLORY, work));
    const result = await resultOf(stores, store, call);
    expect(result).not.toMatch(BOBS);
    expect(result).not.toMatch(/^[1-9]|^true/);
    expect(await Promise.all([rowsOf(BOB), rowsOf(MALLORY)])).toEqual(before);
  });
});

describe("without row-level security the same call gives another answer or changes rows, so the test above can fail", () => {
  /** Undoes whatever the call does. */
  class Undone extends Error {}

  test.each(methods)("%s", async (_, store, call) => {
    const { database } = server.context;
    let changed = false;
    const open = storesOver(async (work) => {
      let result: unknown;
      const unit = database.asOperator(async (transaction) => {
        const before = await contentOf(transaction);
        result = await work({ ...transaction, em: transaction.em, commit: transaction.query } as Transaction);
        changed ||= (await contentOf(transaction)) !== before;
        throw new Undone();
      });
      await unit.catch((error: unknown) => {
        if (!(error instanceof Undone)) {
          throw error;
        }
      });
      return result as never;
    });
    const held = storesOver((work) => database.asUser(MALLORY, work));
    const [shown, denied] = [await resultOf(open, store, call), await resultOf(held, store, call)];
    expect(shown !== denied || changed, shown).toBe(true);
  });
});

async function contentOf(transaction: Transaction): Promise<string> {
  const tables = ["agno_memories", "agno_sessions", "recollect_jobs", "recollect_messages", "recollect_runs", "recollect_idempotency"];
  const rows = tables.map((table) =>
    transaction.query(`select (to_jsonb(t) - 'lease_until')::text as row from ${table} t where user_id = $1 order by 1`, [BOB]),
  );
  return JSON.stringify(await Promise.all(rows));
}
