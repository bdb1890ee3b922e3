/** What is erased is gone from everywhere, and nothing that still works on it brings it back. */

import { createHash } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { receiptHash, USER_TABLES } from "../src/stores/user-data.ts";
import { POSTGRES_URL } from "./support/database.ts";
import { startTestServer, type TestServer } from "./support/server.ts";
import { eraseUser, exportUser, importUser, liveThrough } from "./support/user-data.ts";

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer();
});

afterAll(() => server.close());

/** Rows of a user in every table that has a column for users, by what the catalogue says. */
async function rowsOf(userId: string): Promise<Record<string, number>> {
  const { database } = server.context;
  const tables = await tablesOfUsers();
  const counts = tables.map(async (table) => {
    const [row] = await database.asOperator((transaction) =>
      transaction.query<{ count: number }>(`select count(*)::int as count from ${table} where user_id = $1`, [userId]),
    );
    return [table, row?.count ?? 0] as const;
  });
  return Object.fromEntries((await Promise.all(counts)).filter(([, count]) => count > 0));
}

async function tablesOfUsers(): Promise<string[]> {
  const rows = await server.context.database.inspect(
    `select c.relname as name from pg_class c join pg_attribute a on a.attrelid = c.oid
    where a.attname = 'user_id' and not a.attisdropped and c.relkind in ('r', 'p') and c.relnamespace = current_schema()::regnamespace order by 1`,
  );
  return rows.map(({ name }) => String(name));
}

/** Whether a text is anywhere in the database. */
async function occursIn(text: string): Promise<string[]> {
  const { database } = server.context;
  const tables = await database.inspect(
    "select relname as name from pg_class where relkind in ('r', 'p') and relnamespace = current_schema()::regnamespace order by 1",
  );
  const found: string[] = [];
  for (const { name } of tables) {
    const rows = await database.inspect(`select 1 from ${name} t where position('${text}' in to_jsonb(t)::text) > 0 limit 1`);
    found.push(...rows.map(() => String(name)));
  }
  return found;
}

test("every table with a column for users is erased: a new one that is not listed fails here", async () => {
  expect(await tablesOfUsers()).toEqual([...USER_TABLES].sort());
});

test("erasing removes every row of the user and of nobody else, and leaves a receipt that names nobody", async () => {
  for (const userId of ["erased-canary", "stays"]) {
    await liveThrough(server, userId);
  }
  await server.drain();
  const extraction = server.model.hold(0, "extraction");
  await server.data("RunAgent", { input: { userId: "erased-canary", sessionId: "one", message: "I love erased-canary birds." } });
  await extraction.reached;
  for (const [key, subject] of Object.entries({ gone: "erased-canary", kept: "stays" })) {
    await server.context.database.asOperator((transaction) =>
      transaction.query("insert into recollect_api_keys (key_id, secret_hash, scope, subject) values ($1, $1, 'user', $2)", [key, subject]),
    );
  }
  const stays = await exportUser(server, "stays");
  const rows = await rowsOf("erased-canary");
  expect(Object.keys(rows).length).toBe(USER_TABLES.length);
  const counts = { ...rows, recollect_api_keys: 1 };
  const erased = await eraseUser(server, "erased-canary");
  expect(erased.remainingCount).toBe(0);
  expect(
    Object.fromEntries(erased.counts.map(({ table, erasedCount }: { table: string; erasedCount: number }) => [table, erasedCount])),
  ).toEqual(counts);
  expect(await server.context.database.inspect("select key_id from recollect_api_keys")).toEqual([{ key_id: "kept" }]);
  extraction.release();
  await server.drain();
  expect(await rowsOf("erased-canary")).toEqual({});
  expect(await occursIn("erased-canary")).toEqual([]);
  expect(await exportUser(server, "stays")).toBe(stays);
  const [receipt] = await server.context.database.inspect(
    `select user_hash, counts from recollect_erasures where receipt_id = '${erased.receiptId}'`,
  );
  expect(receipt).toEqual({ user_hash: receiptHash(erased.receiptId, "erased-canary"), counts });
  expect(receipt?.user_hash).not.toBe(createHash("sha256").update("erased-canary").digest("base64url"));
  expect((await eraseUser(server, "never seen")).counts.every(({ erasedCount }: { erasedCount: number }) => erasedCount === 0)).toBe(true);
});

test("the user's id has to be sent twice, the same", async () => {
  const answer = await server.graphql("EraseUser", { input: { userId: "stays", confirmUserId: "stay" } });
  expect(answer.errors?.[0]?.extensions.code).toBe("BAD_USER_INPUT");
  expect(Object.keys(await rowsOf("stays")).length).toBeGreaterThan(0);
});

test("in the middle of a reply: the model's call is ended, followers are let go, nothing comes back", async () => {
  const userId = "mid-reply";
  const gate = server.model.hold(2);
  const input = { userId, sessionId: "s", message: "I love midreply kites." };
  const events: string[] = [];
  const following = (async () => {
    for await (const event of server.subscribe("SendMessage", { input })) {
      events.push(event.__typename);
    }
  })();
  await gate.reached;
  const erased = await eraseUser(server, userId);
  gate.release();
  await following;
  expect(erased.remainingCount).toBe(0);
  expect(events).not.toContain("RunFinished");
  await server.drain();
  expect(await rowsOf(userId)).toEqual({});
  expect(await occursIn("midreply")).toEqual([]);
});

test("a run whose cancellation nobody sees is erased under its executor, which then writes nothing", async () => {
  const userId = "under-executor";
  const gate = server.model.hold(1);
  await server.data("RunAgent", { input: { userId, sessionId: "s", message: "I love underexec kites." }, waitFor: "ACCEPTED" });
  await gate.reached;
  // As a second process does it, once it has waited in vain for the first.
  const { createUserDataStore } = await import("../src/stores/user-data.ts");
  await createUserDataStore(server.context.database, null, null).erase(userId as never);
  await server.data("RunAgent", { input: { userId, sessionId: "s", message: "I live in Rome." }, waitFor: "MEMORY" });
  gate.release();
  await server.drain();
  expect(await occursIn("underexec")).toEqual([]);
  const { memories } = await server.data("Memories", { userId });
  expect(memories.edges.map(({ node }: { node: { memory: string } }) => node.memory)).toEqual(["User lives in Rome"]);
});

test("in the middle of an extraction and of a summary: neither is stored, nor charged to who uses the id anew", async () => {
  for (const purpose of ["extraction", "summary"] as const) {
    const userId = `mid-${purpose}`;
    const gate = purpose === "extraction" ? server.model.hold(0, purpose) : null;
    await server.data("RunAgent", {
      input: { userId, sessionId: "s", message: `I love mid${purpose} kites.` },
      waitFor: purpose === "extraction" ? "REPLY" : "MEMORY",
    });
    const summaryGate = purpose === "summary" ? server.model.hold(0, purpose) : null;
    const summing = summaryGate ? server.graphql("SummarizeSession", { input: { userId, sessionId: "s" } }) : null;
    await (gate ?? summaryGate)?.reached;
    await eraseUser(server, userId);
    await server.data("AddMemory", { input: { userId, memory: "User began anew" } });
    (gate ?? summaryGate)?.release();
    await summing;
    await server.drain();
    expect(await rowsOf(userId)).toEqual({ agno_memories: 1, recollect_memory_history: 1, recollect_users: 1 });
    expect(await occursIn(`mid${purpose}`)).toEqual([]);
  }
});

test("what waits in the queue of the user is never answered", async () => {
  const userId = "queued";
  const gate = server.model.hold();
  await server.data("RunAgent", { input: { userId, sessionId: "s", message: "First queuedcanary." }, waitFor: "ACCEPTED" });
  await gate.reached;
  await server.data("RunAgent", { input: { userId, sessionId: "s", message: "Second queuedcanary." }, waitFor: "ACCEPTED" });
  await eraseUser(server, userId);
  gate.release();
  await server.drain();
  expect(await rowsOf(userId)).toEqual({});
  expect(server.model.asked("reply").some(({ body }) => JSON.stringify(body).includes("Second queuedcanary"))).toBe(false);
});

test("an id used anew begins from nothing, whoever watched its memories sees the new ones, and its old file comes back whole", async () => {
  const userId = "anew";
  await liveThrough(server, userId);
  const before = await exportUser(server, userId);
  const { memories } = await server.data("Memories", { userId });
  const seen: string[] = [];
  const watching = (async () => {
    for await (const change of server.subscribe("WatchMemories", { userId, after: memories.sequence })) {
      seen.push(change.memory.memory);
      return;
    }
  })();
  await eraseUser(server, userId);
  const { runAgent } = await server.data("RunAgent", { input: { userId, sessionId: "one", message: "What do you know of me?" } });
  expect(runAgent.run.reply).not.toMatch(/hiking|dark blue/);
  await server.data("AddMemory", { input: { userId, memory: "User began anew" } });
  await watching;
  expect(seen).toEqual(["User began anew"]);
  await eraseUser(server, userId);
  expect((await importUser(server, userId, before)).status).toBe(200);
  expect(await exportUser(server, userId)).toBe(before);
});

test("what somebody else writes for the user at the same time is there whole or not at all, and erasing never fails over it", async () => {
  const userId = "raced";
  for (let round = 0; round < 5; round++) {
    const writes = [
      ...["a", "b", "c"].map((sessionId) =>
        server.graphql("RunAgent", { input: { userId, sessionId, message: "I love racing." }, waitFor: "MEMORY" }),
      ),
      server.graphql("AddMemory", { input: { userId, memory: `User has note ${round}` } }),
    ];
    const erasures = await Promise.all([eraseUser(server, userId), eraseUser(server, userId)]);
    expect(erasures.map(({ remainingCount }) => remainingCount)).toEqual([0, 0]);
    await Promise.all(writes);
  }
  await server.drain();
  await eraseUser(server, userId);
  expect(await rowsOf(userId)).toEqual({});
});

test.skipIf(POSTGRES_URL === null)(
  "erased in one process, gone in the other that works on it (with DATABASE_URL only: the embedded database has one)",
  async () => {
    const other = await startTestServer({ database: server.database, model: server.model });
    try {
      const userId = "elsewhere";
      const gate = server.model.hold(1);
      const extraction = server.model.hold(0, "extraction");
      await other.data("RunAgent", { input: { userId, sessionId: "s", message: "I love elsewhere kites." }, waitFor: "ACCEPTED" });
      await gate.reached;
      const erased = await eraseUser(server, userId);
      gate.release();
      extraction.release();
      expect(erased.remainingCount).toBe(0);
      await other.drain();
      expect(await rowsOf(userId)).toEqual({});
      expect(await occursIn("elsewhere")).toEqual([]);
    } finally {
      await other.close();
    }
  },
);
