/** A request with a key is carried out once, however often it is sent, and what it came to is told again. */

import { isInputObjectType, isNonNullType } from "graphql";
import { afterAll, beforeAll, expect, test } from "vitest";
import { addMemories, addMemory } from "../src/agent/add-memories.ts";
import type { UserId } from "../src/agent/types.ts";
import { buildGraphQLSchema } from "../src/graphql/schema.ts";
import { once } from "../src/stores/idempotency.ts";
import { createMemoryStore } from "../src/stores/memories.ts";
import { lockChanges } from "../src/stores/memory-revisions.ts";
import { openDatabase } from "../src/stores/open-database.ts";
import { POSTGRES_URL } from "./support/database.ts";
import { fails } from "./support/model-answers.ts";
import { type GraphQLAnswer, startTestServer, type TestServer } from "./support/server.ts";

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer();
});

afterAll(() => server.close());

function codeOf(answer: GraphQLAnswer): string | undefined {
  return answer.errors?.[0]?.extensions.code;
}

async function rows(sql: string, values: unknown[] = []): Promise<Record<string, unknown>[]> {
  return server.context.database.asOperator((transaction) => transaction.query(sql, values));
}

async function keysOf(userId: string): Promise<unknown[]> {
  return (await rows("select key from recollect_idempotency where user_id = $1 order by key", [userId])).map((row) => row.key);
}

/** What there is of a user's memories: texts, and the number of the last change. */
async function memoriesOf(userId: string): Promise<{ texts: string[]; sequence: number }> {
  const { memories } = await server.data("Memories", { userId });
  const texts = memories.edges.map((edge: { node: { memory: string } }) => edge.node.memory).sort();
  return { texts, sequence: memories.sequence };
}

async function add(userId: string, memory: string): Promise<string> {
  return (await server.data("AddMemory", { input: { userId, memory } })).addMemory.memory.memoryId;
}

async function say(userId: string, sessionId: string, message: string): Promise<string> {
  return (await server.data("RunAgent", { input: { userId, sessionId, message } })).runAgent.run.runId;
}

/** A second time they do nothing, or there is nobody left to keep a key for. */
const WITHOUT_KEY = ["exportUser", "importUser", "eraseUser"];

test("every mutation takes a key", () => {
  const mutations = Object.values(buildGraphQLSchema().getMutationType()?.getFields() ?? {});
  const without = mutations.filter(({ args }) => {
    const type = args.find(({ name }) => name === "input")?.type;
    const input = isNonNullType(type) ? type.ofType : type;
    return !isInputObjectType(input) || !("idempotencyKey" in input.getFields());
  });
  expect(mutations.length).toBeGreaterThan(0);
  expect(without.map(({ name }) => name)).toEqual(WITHOUT_KEY);
});

test("memories added twice with one key are added once; the repeat tells the same changes, and the memories as they are now", async () => {
  const userId = "once-add";
  const one = { userId, memory: "User prefers dark mode", topics: ["ui"], idempotencyKey: "one" };
  const first = (await server.data("AddMemory", { input: one })).addMemory;
  const several = {
    userId,
    idempotencyKey: "several",
    memories: [{ memory: "User likes tea" }, { memory: "User likes tea" }, { memory: "User rows" }],
  };
  const batch = (await server.data("AddMemories", { input: several })).addMemories;
  const { memoryId } = first.memory;
  await server.data("UpdateMemory", { input: { userId, memoryId, topics: ["ui", "preferences"] } });
  const before = await memoriesOf(userId);

  const again = (await server.data("AddMemory", { input: one })).addMemory;
  expect(again.change).toMatchObject({ id: first.change.id, kind: "ADDED", sequence: 1, before: null });
  expect(again.memory).toMatchObject({ memoryId, version: 2, topics: ["ui", "preferences"] });
  expect((await server.data("AddMemories", { input: several })).addMemories).toEqual(batch);
  expect(batch.changes.map((change: { kind: string }) => change.kind)).toEqual(["ADDED", "ADDED", "ADDED"]);
  expect(await memoriesOf(userId)).toEqual(before);
  // Without the key it is another request: the memory is confirmed.
  const { idempotencyKey: _, ...keyless } = one;
  expect((await server.data("AddMemory", { input: keyless })).addMemory.change.kind).toBe("REINFORCED");
});

test("an edit and a deletion with a key happen once, also when the memory has changed since", async () => {
  const userId = "once-edit";
  const memoryId = await add(userId, "User likes tea");
  const edit = { userId, memoryId, memory: "User likes coffee", expectedVersion: 1, idempotencyKey: "edit" };
  const first = (await server.data("UpdateMemory", { input: edit })).updateMemory;
  await server.data("UpdateMemory", { input: { userId, memoryId, memory: "User likes cocoa" } });
  const again = (await server.data("UpdateMemory", { input: edit })).updateMemory;
  expect(again.change).toMatchObject({ id: first.change.id, before: { memory: "User likes tea" } });
  expect(again.memory).toMatchObject({ memory: "User likes cocoa", version: 3 });
  // One that changed nothing changes nothing later either.
  const nothing = { userId, memoryId, memory: "User likes cocoa", idempotencyKey: "nothing" };
  expect((await server.data("UpdateMemory", { input: nothing })).updateMemory.change).toBeNull();
  await server.data("UpdateMemory", { input: { userId, memoryId, memory: "User likes water" } });
  expect((await server.data("UpdateMemory", { input: nothing })).updateMemory).toMatchObject({
    change: null,
    memory: { memory: "User likes water" },
  });

  const remove = { userId, memoryId, expectedVersion: 4, idempotencyKey: "remove" };
  const removed = (await server.data("DeleteMemory", { input: remove })).deleteMemory;
  expect((await server.data("DeleteMemory", { input: remove })).deleteMemory).toEqual(removed);
  expect(removed.change.kind).toBe("DELETED");
});

test("memories cleared with a key are not cleared again by a repeat, whatever was added since", async () => {
  const userId = "once-clear";
  const input = { userId, idempotencyKey: "clear" };
  // Nobody yet: that nothing was cleared counts as well.
  expect((await server.data("ClearMemories", { input: { ...input, idempotencyKey: "early" } })).clearMemories.clearedCount).toBe(0);
  await add(userId, "User likes tea");
  expect((await server.data("ClearMemories", { input })).clearMemories.clearedCount).toBe(1);
  await add(userId, "User likes coffee");
  expect((await server.data("ClearMemories", { input })).clearMemories.clearedCount).toBe(1);
  expect((await server.data("ClearMemories", { input: { ...input, idempotencyKey: "early" } })).clearMemories.clearedCount).toBe(0);
  expect((await memoriesOf(userId)).texts).toEqual(["User likes coffee"]);
});

test("a session is named, summed up and deleted once for each key, also when it has changed or begun anew since", async () => {
  const userId = "once-session";
  await say(userId, "s", "I love sailing.");
  const name = { userId, sessionId: "s", name: "First", idempotencyKey: "name" };
  await server.data("RenameSession", { input: name });
  await server.data("RenameSession", { input: { userId, sessionId: "s", name: "Second" } });
  expect((await server.data("RenameSession", { input: name })).renameSession.session.name).toBe("Second");

  const sum = { userId, sessionId: "s", idempotencyKey: "sum" };
  const { summary } = (await server.data("SummarizeSession", { input: sum })).summarizeSession.session;
  await say(userId, "s", "I love rowing.");
  const repeated = (await server.data("SummarizeSession", { input: sum })).summarizeSession.session.summary;
  expect(repeated).toMatchObject({ summary: summary.summary, coveredTurns: 1, newerTurns: 1 });

  const remove = { userId, sessionId: "s", idempotencyKey: "remove" };
  const { deletedId } = (await server.data("DeleteSession", { input: remove })).deleteSession;
  const gate = server.model.hold(1);
  const anew = server.data("RunAgent", { input: { userId, sessionId: "s", message: "Hello once more." } });
  await gate.reached;
  expect((await server.data("DeleteSession", { input: remove })).deleteSession.deletedId).toBe(deletedId);
  gate.release();
  expect((await anew).runAgent.run.status).toBe("COMPLETED");
});

test("a run stopped with a key is shown as it is by a repeat", async () => {
  const userId = "once-cancel";
  const runId = await say(userId, "s", "Hello!");
  const input = { userId, runId, idempotencyKey: "stop" };
  expect((await server.data("CancelRun", { input })).cancelRun.run.status).toBe("COMPLETED");
  expect((await server.data("CancelRun", { input })).cancelRun.run.status).toBe("COMPLETED");
  expect(await keysOf(userId)).toEqual(["stop"]);
});

test("a key belongs to one request of one user: other arguments, another operation and a run's key are refused", async () => {
  const userId = "once-conflict";
  const memoryId = await add(userId, "User likes tea");
  await say(userId, "s", "Hello!");
  const input = { userId, memoryId, topics: ["drinks"], idempotencyKey: "key" };
  await server.data("UpdateMemory", { input });
  const others: [string, object][] = [
    ["UpdateMemory", { ...input, topics: ["food"] }],
    ["UpdateMemory", { ...input, expiresAt: null }],
    ["UpdateMemory", { ...input, expectedVersion: 1 }],
    ["DeleteMemory", { userId, memoryId, idempotencyKey: "key" }],
    ["AddMemory", { userId, memory: "User likes tea", idempotencyKey: "key" }],
    ["AddMemories", { userId, memories: [{ memory: "User likes tea" }], idempotencyKey: "key" }],
    ["ClearMemories", { userId, idempotencyKey: "key" }],
    ["RenameSession", { userId, sessionId: "s", name: "New", idempotencyKey: "key" }],
    ["SummarizeSession", { userId, sessionId: "s", idempotencyKey: "key" }],
    ["DeleteSession", { userId, sessionId: "s", idempotencyKey: "key" }],
    ["CancelRun", { userId, runId: "any", idempotencyKey: "key" }],
    ["RetryMemoryUpdate", { userId, runId: "any", idempotencyKey: "key" }],
  ];
  const before = await memoriesOf(userId);
  for (const [operation, other] of others) {
    expect(codeOf(await server.graphql(operation, { input: other })), operation).toBe("IDEMPOTENCY_CONFLICT");
  }
  expect(await memoriesOf(userId)).toEqual(before);
  expect((await server.data("OpenSession", { userId, sessionId: "s" })).session.name).toBeNull();

  await server.data("RunAgent", { input: { userId, sessionId: "s", message: "Thanks!", idempotencyKey: "of a run" } });
  expect(codeOf(await server.graphql("ClearMemories", { input: { userId, idempotencyKey: "of a run" } }))).toBe("IDEMPOTENCY_CONFLICT");

  // Another user has keys of their own.
  const elsewhere = { userId: `${userId}-other`, memory: "User likes tea", idempotencyKey: "key" };
  expect((await server.data("AddMemory", { input: elsewhere })).addMemory.change.kind).toBe("ADDED");
});

test("what is refused or fails leaves its key free", async () => {
  const userId = "once-refused";
  const memoryId = await add(userId, "User likes tea");
  await add(userId, "User likes coffee");
  await say(userId, "s", "I love chess.");
  const refused: [string, object, string][] = [
    ["AddMemory", { memory: " " }, "BAD_USER_INPUT"],
    ["AddMemories", { memories: [] }, "BAD_USER_INPUT"],
    ["UpdateMemory", { memoryId, topics: [" "] }, "BAD_USER_INPUT"],
    ["UpdateMemory", { memoryId, memory: "User likes coffee" }, "CONFLICT"],
    ["UpdateMemory", { memoryId: "unknown", memory: "User likes milk" }, "NOT_FOUND"],
    ["DeleteMemory", { memoryId, expectedVersion: 9 }, "CONFLICT"],
    ["RenameSession", { sessionId: "unknown", name: "New" }, "NOT_FOUND"],
    ["RenameSession", { sessionId: "s", name: " " }, "BAD_USER_INPUT"],
    ["SummarizeSession", { sessionId: "unknown" }, "NOT_FOUND"],
    ["DeleteSession", { sessionId: "unknown" }, "NOT_FOUND"],
    ["CancelRun", { runId: "unknown" }, "NOT_FOUND"],
    ["RetryMemoryUpdate", { runId: "unknown" }, "NOT_FOUND"],
  ];
  for (const [operation, input, code] of refused) {
    expect(codeOf(await server.graphql(operation, { input: { userId, idempotencyKey: "free", ...input } })), operation).toBe(code);
  }
  server.model.script("summary", fails(401, { error: { message: "Invalid key" } }));
  const failed = await server.graphql("SummarizeSession", { input: { userId, sessionId: "s", idempotencyKey: "free" } });
  expect(codeOf(failed)).toBe("MODEL_UNAVAILABLE");
  expect(await keysOf(userId)).toEqual([]);
  expect(await rows("select 1 as one from recollect_users where user_id = 'once-stranger'")).toEqual([]);
  const stranger = { userId: "once-stranger", memoryId, topics: ["drinks"], idempotencyKey: "free" };
  expect(codeOf(await server.graphql("UpdateMemory", { input: stranger }))).toBe("NOT_FOUND");
  expect(await rows("select 1 as one from recollect_users where user_id = 'once-stranger'")).toEqual([]);
  for (const idempotencyKey of ["", "x".repeat(257), "a\u0000b"]) {
    expect(codeOf(await server.graphql("ClearMemories", { input: { userId, idempotencyKey } }))).toBe("BAD_USER_INPUT");
  }
});

test("the same requests at the same time, each under two keys, are carried out once per key, and none waits for ever", async () => {
  const userId = "once-parallel";
  await add(userId, "User exists");
  const send = (index: number) => {
    const key = `key-${index % 2}`;
    return server.data("AddMemory", { input: { userId, memory: `User likes ${key}`, idempotencyKey: key } });
  };
  const answers = await Promise.all(Array.from({ length: 20 }, (_, index) => send(index)));
  expect(new Set(answers.map((data) => data.addMemory.change.id)).size).toBe(2);
  expect(answers.every((data) => data.addMemory.change.kind === "ADDED")).toBe(true);
  expect((await memoriesOf(userId)).sequence).toBe(3);
});

test.skipIf(POSTGRES_URL === null)("a second process waits for the first, and tells what that one did (Postgres only)", async () => {
  const user = "once-two" as UserId;
  await add(user, "User exists");
  const database = await openDatabase(server.database.options);
  try {
    const other = createMemoryStore(database, () => undefined);
    const input = { memory: "User likes tea", topics: [], kind: "OTHER" as const, idempotencyKey: "shared" };
    const here = { ...createMemoryStore(server.context.database, () => undefined) };
    const both = await Promise.all([here, other, here, other].map((store) => addMemory(user, input, store)));
    expect(new Set(both.map((change) => change.changeId)).size).toBe(1);
    expect(both[0]?.kind).toBe("ADDED");

    // One that holds the key and then fails leaves it to the one that waits.
    const request = { key: "failing", operation: "test", fingerprint: "1" };
    const holds = Promise.withResolvers<void>();
    const goOn = Promise.withResolvers<void>();
    const act = (work: () => Promise<string>) => ({ work, keep: () => ({}), recall: async () => "repeated" });
    const failing = server.context.database.asUser(user, (transaction) =>
      once(
        transaction,
        user,
        request,
        act(async () => {
          holds.resolve();
          await goOn.promise;
          throw new Error("on purpose");
        }),
      ),
    );
    await holds.promise;
    const waiting = database.asUser(user, (transaction) =>
      once(
        transaction,
        user,
        request,
        act(async () => "carried out"),
      ),
    );
    await lockWaited();
    goOn.resolve();
    await expect(failing).rejects.toThrow("on purpose");
    expect(await waiting).toBe("carried out");
    expect(
      await database.asUser(user, (transaction) =>
        once(
          transaction,
          user,
          request,
          act(async () => "twice"),
        ),
      ),
    ).toBe("repeated");
  } finally {
    await database.close();
  }

  /** Until somebody waits for another transaction's key. */
  async function lockWaited(): Promise<void> {
    const deadline = AbortSignal.timeout(5_000);
    while ((await rows("select 1 as one from pg_locks where not granted and locktype = 'transactionid'")).length === 0) {
      deadline.throwIfAborted();
    }
  }
});

test.skipIf(POSTGRES_URL === null)(
  "two requests that each hold their own key change memories one after the other (Postgres only)",
  async () => {
    const user = "once-locks" as UserId;
    await add(user, "User exists");
    const holding = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const changes = holding.map((mine, index) =>
      server.context.database.asUser(user, (transaction) => {
        const work = async () => {
          mine.resolve();
          await Promise.all(holding.map(({ promise }) => promise));
          return lockChanges(transaction, user);
        };
        const request = { key: `key ${index}`, operation: "test", fingerprint: "1" };
        return once(transaction, user, request, { work, keep: () => ({}), recall: async () => null });
      }),
    );
    expect(await Promise.all(changes)).toMatchObject([{ sequence: 1 }, { sequence: 1 }]);
  },
);

test("effect and record are stored together or not at all", async () => {
  const user = "once-crash" as UserId;
  const store = createMemoryStore(server.context.database, () => undefined);
  const input = { memories: [{ memory: "User likes tea", topics: [], kind: "OTHER" as const }], idempotencyKey: "crash" };
  // The record is written after the effect: a connection that breaks there takes both with it.
  await rows(`create or replace function break_record() returns trigger language plpgsql as $$ begin raise exception 'broken'; end $$`);
  await rows("create trigger break_record before update on recollect_idempotency for each row execute function break_record()");
  await expect(addMemories(user, input, store)).rejects.toThrow();
  await rows("drop trigger break_record on recollect_idempotency");
  expect(await keysOf(user)).toEqual([]);
  expect(await memoriesOf(user)).toEqual({ texts: [], sequence: 0 });
  expect((await addMemories(user, input, store)).map(({ kind }) => kind)).toEqual(["ADDED"]);
});
