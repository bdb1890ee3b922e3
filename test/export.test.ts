/** A user's data leaves in one file and comes back from it, byte for byte; nothing else gets in that way. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { RECORD_KINDS } from "../src/agent/export-format.ts";
import { POSTGRES_URL } from "./support/database.ts";
import { startTestServer, type TestServer } from "./support/server.ts";
import { eraseUser, exportUser, importUser, liveThrough } from "./support/user-data.ts";

const ALICE = 'alice\' or "1"=1 %_/é ';

let server: TestServer;
let exported: string;

beforeAll(async () => {
  server = await startTestServer();
  await liveThrough(server, ALICE);
  await server.drain();
  exported = await exportUser(server, ALICE);
});

afterAll(() => server.close());

/** Every row of every table, whoever it belongs to, but for the receipts of erasures. */
async function everything(): Promise<string> {
  const tables = await server.context.database.inspect(
    "select c.relname as name from pg_class c where c.relkind = 'r' and c.relnamespace = current_schema()::regnamespace and c.relname <> 'recollect_erasures' order by 1",
  );
  const rows = await Promise.all(
    tables.map(({ name }) => server.context.database.inspect(`select to_jsonb(t)::text as row from ${name} t order by 1`)),
  );
  return JSON.stringify(rows);
}

interface Document {
  records: Record<string, unknown>[];
  [field: string]: unknown;
}

function changed(change: (document: Document) => void): string {
  const document = JSON.parse(exported) as Document;
  change(document);
  return JSON.stringify(document);
}

function first(document: Document, kind: string): Record<string, unknown> {
  const record = document.records.find((other) => other.record === kind);
  if (!record) {
    throw new Error(`The export holds no ${kind}.`);
  }
  return record;
}

test("the file holds records of every kind, of memories of every status, and names nobody else", async () => {
  const { records, user_id } = JSON.parse(exported) as Document;
  expect(user_id).toBe(ALICE);
  expect(new Set(records.map(({ record }) => record))).toEqual(new Set(RECORD_KINDS));
  const statuses = records.filter(({ record }) => record === "memory").map(({ status }) => status);
  expect(statuses).toEqual(expect.arrayContaining(["ACTIVE", "SUPERSEDED", "RETIRED"]));
  await server.data("AddMemory", { input: { userId: "someone else", memory: "User keeps bees" } });
  expect(await exportUser(server, ALICE)).toBe(exported);
});

test("export, erase, import, export gives the same file; importing it again changes nothing", async () => {
  const userId = "round-trip";
  await liveThrough(server, userId);
  const before = await exportUser(server, userId);
  const erased = await eraseUser(server, userId);
  expect(erased.remainingCount).toBe(0);
  expect((JSON.parse(await exportUser(server, userId)) as Document).records).toEqual([]);
  const total = (JSON.parse(before) as Document).records.length;
  expect(await importUser(server, userId, before)).toEqual({ status: 200, body: { imported: total, skipped: 0 } });
  expect(await exportUser(server, userId)).toBe(before);
  const stored = await everything();
  expect(await importUser(server, userId, before)).toEqual({ status: 200, body: { imported: 0, skipped: total } });
  const { importUser: again } = await server.data("ImportUser", { input: { userId, document: JSON.parse(before) } });
  expect(again).toEqual({ importedCount: 0, skippedCount: total });
  expect(await everything()).toBe(stored);
});

test.skipIf(POSTGRES_URL === null)("embedded and Postgres give and take the same file (with DATABASE_URL only)", async () => {
  const dataDir = await mkdtemp(path.join(tmpdir(), "recollect-test-"));
  const remove = () => rm(dataDir, { recursive: true, force: true });
  const other = await startTestServer({ database: { options: { databaseUrl: null, dataDir }, remove } });
  try {
    const userId = "moves";
    await liveThrough(other, userId);
    const document = await exportUser(other, userId);
    expect((await importUser(server, userId, document)).status).toBe(200);
    expect(await exportUser(server, userId)).toBe(document);
    expect((await importUser(other, ALICE, exported)).status).toBe(200);
    expect(await exportUser(other, ALICE)).toBe(exported);
  } finally {
    await other.close();
    await remove();
  }
});

test("nothing is learned from what is imported, its runs can be followed to their ends, and the user goes on from there", async () => {
  const userId = "goes on";
  const asked = server.model.requests.length;
  expect((await importUser(server, userId, exported)).status).toBe(200);
  await server.drain();
  expect(server.model.requests.length).toBe(asked);
  expect(await server.context.database.inspect("select 1 from recollect_jobs where user_id = 'goes on'")).toEqual([]);
  const document = JSON.parse(exported) as Document;
  const run = document.records.find(({ record, status }) => record === "run" && status === "COMPLETED");
  const types: string[] = [];
  for await (const event of server.subscribe("FollowRun", { userId, runId: run?.run_id, until: "MEMORY" })) {
    types.push(event.__typename);
  }
  expect(types).toEqual(["RunSnapshot", "RunFinished", "MemoryUpdate"]);
  const { memories } = await server.data("Memories", { userId });
  const { runAgent } = await server.data("RunAgent", {
    input: { userId, sessionId: "one", message: "I love sailing. What do you know?" },
    waitFor: "MEMORY",
  });
  expect(runAgent.run.status).toBe("COMPLETED");
  expect(runAgent.run.reply).toContain("User likes dark blue");
  expect((await server.data("Memories", { userId })).memories.sequence).toBe(memories.sequence + 1);
  const repeated = { userId, sessionId: "one", message: "I live in Bern.", idempotencyKey: "one I live in Bern." };
  const calls = server.model.asked("reply").length;
  await server.data("RunAgent", { input: repeated });
  expect(server.model.asked("reply").length).toBe(calls);
  expect(await exportUser(server, ALICE)).toBe(exported);
});

test("of a run under way the file holds what would be left of it", async () => {
  const userId = "under way";
  const gate = server.model.hold();
  const { runAgent } = await server.data("RunAgent", { input: { userId, sessionId: "s", message: "I love kites." }, waitFor: "ACCEPTED" });
  await gate.reached;
  const document = await exportUser(server, userId);
  gate.release();
  expect(document).toContain("I love kites.");
  const { records } = JSON.parse(document) as Document;
  expect(records.find(({ record }) => record === "run")).toMatchObject({ status: "INTERRUPTED", memory_status: "SKIPPED" });
  await eraseUser(server, userId);
  expect((await importUser(server, userId, document)).status).toBe(200);
  expect(await exportUser(server, userId)).toBe(document);
  const { run } = await server.data("Run", { userId, runId: runAgent.run.runId });
  expect(run.status).toBe("INTERRUPTED");
});

describe("a document that is not an export changes nothing", () => {
  const faults: [name: string, document: () => string, status: number, code: string][] = [
    ["no JSON", () => "{", 400, "BAD_USER_INPUT"],
    ["no object", () => "[]", 400, "BAD_USER_INPUT"],
    ["a lone list", () => JSON.stringify({ records: [] }), 400, "BAD_USER_INPUT"],
    ["another version", () => changed((it) => Object.assign(it, { version: 2 })), 400, "BAD_USER_INPUT"],
    ["another format", () => changed((it) => Object.assign(it, { format: "mem0" })), 400, "BAD_USER_INPUT"],
    ["an unknown kind", () => changed((it) => Object.assign(first(it, "run"), { record: "job" })), 400, "BAD_USER_INPUT"],
    ["an unknown column", () => changed((it) => Object.assign(first(it, "run"), { lease_owner: "me" })), 400, "BAD_USER_INPUT"],
    ["another's user_id", () => changed((it) => Object.assign(first(it, "memory"), { user_id: "bob" })), 400, "BAD_USER_INPUT"],
    ["a missing column", () => changed((it) => delete first(it, "memory").fingerprint), 400, "BAD_USER_INPUT"],
    ["a run that is queued", () => changed((it) => Object.assign(first(it, "run"), { status: "QUEUED" })), 400, "BAD_USER_INPUT"],
    ["memory work that waits", () => changed((it) => Object.assign(first(it, "run"), { memory_status: "PENDING" })), 400, "BAD_USER_INPUT"],
    ["a NUL", () => changed((it) => Object.assign(first(it, "message"), { content: "a\0b" })), 400, "BAD_USER_INPUT"],
    ["half a surrogate pair", () => changed((it) => Object.assign(first(it, "memory"), { memory: "a\ud83d" })), 400, "BAD_USER_INPUT"],
    [
      "a NUL in a key of a summary",
      () => changed((it) => Object.assign(first(it, "session"), { state: { "a\0": 1 } })),
      400,
      "BAD_USER_INPUT",
    ],
    [
      "a bottomless state",
      () => changed((it) => Object.assign(first(it, "session"), { state: JSON.parse("[".repeat(200) + "]".repeat(200)) })),
      400,
      "BAD_USER_INPUT",
    ],
    [
      "a date that is none",
      () => changed((it) => Object.assign(first(it, "memory"), { created_at: "2026-02-31T00:00:00+00:00" })),
      400,
      "BAD_USER_INPUT",
    ],
    ["an infinite date", () => changed((it) => Object.assign(first(it, "memory"), { created_at: "infinity" })), 400, "BAD_USER_INPUT"],
    ["a number out of range", () => changed((it) => Object.assign(first(it, "user"), { memory_sequence: 2 ** 31 })), 400, "BAD_USER_INPUT"],
    ["a negative number", () => changed((it) => Object.assign(first(it, "usage"), { input_tokens: -5 })), 400, "BAD_USER_INPUT"],
    ["changes beyond the counter", () => changed((it) => Object.assign(first(it, "user"), { memory_sequence: 0 })), 400, "BAD_USER_INPUT"],
    ["a message without its run", () => changed((it) => Object.assign(first(it, "message"), { run_id: "none" })), 400, "BAD_USER_INPUT"],
    ["a memory twice", () => changed((it) => it.records.push({ ...first(it, "memory") })), 400, "BAD_USER_INPUT"],
    ["a change of no memory", () => changed((it) => Object.assign(first(it, "change"), { memory_id: "none" })), 400, "BAD_USER_INPUT"],
    [
      "an id of 257 bytes",
      () => changed((it) => Object.assign(first(it, "memory"), { memory_id: "é".repeat(129) })),
      400,
      "BAD_USER_INPUT",
    ],
    ["17 MB", () => changed((it) => Object.assign(it, { filler: "x".repeat(17 * 1024 * 1024) })), 413, "PAYLOAD_TOO_LARGE"],
  ];

  test.each(faults)("%s", async (_, document, status, code) => {
    const stored = await everything();
    const answer = await importUser(server, "victim", document());
    expect(answer).toMatchObject({ status, body: { error: { code } } });
    expect(answer.body.error?.message.length).toBeLessThan(600);
    expect(await everything()).toBe(stored);
  });

  test("or is for a user with data of their own", async () => {
    const userId = "has data";
    await server.data("AddMemory", { input: { userId, memory: "User keeps bees" } });
    const stored = await everything();
    expect(await importUser(server, userId, exported)).toMatchObject({ status: 409, body: { error: { code: "CONFLICT" } } });
    expect(await everything()).toBe(stored);
  });
});

test("an export is fetched, an import posted, and neither can be had by a form", async () => {
  const address = `${server.url}/v1/users/x/`;
  expect((await fetch(`${address}export`, { method: "POST" })).status).toBe(405);
  expect((await fetch(`${address}import`)).status).toBe(405);
  expect((await fetch(`${address}import`, { method: "POST", body: new URLSearchParams({ a: "b" }) })).status).toBe(415);
  const response = await fetch(`${address}export`);
  expect(response.headers.get("cache-control")).toBe("no-store");
  expect(response.headers.get("content-disposition")).toContain("attachment");
  await response.text();
});

test("documents made to fill the memory or the stack are refused at their first fault", async () => {
  const head = '{"format":"recollect-user","version":1,"user_id":"a","records":[';
  const deep = `{"record":"session","session_id":"s","state":${"[".repeat(20_000)}${"]".repeat(20_000)}}`;
  for (const records of [Array.from({ length: 500_000 }, () => "0").join(","), "0,".repeat(300_000).slice(0, -1), deep]) {
    const { status, body } = await importUser(server, "bombs", `${head}${records}]}`);
    expect([status, body.error?.code]).toEqual([400, "BAD_USER_INPUT"]);
    expect(body.error?.message.length).toBeLessThan(1_000);
  }
});

test("a user gets two documents at a time", async () => {
  const endless = new AbortController();
  const uploads = [0, 1].map(() => {
    const body = new ReadableStream({ start: (controller) => controller.enqueue(new TextEncoder().encode("{")) });
    const options = { method: "POST", headers: { "content-type": "application/json" }, body, duplex: "half", signal: endless.signal };
    return fetch(`${server.url}/v1/users/greedy/import`, options as RequestInit).catch(() => null);
  });
  const third = () => fetch(`${server.url}/v1/users/greedy/export`).then((response) => response.status);
  await expect.poll(third, { timeout: 10_000 }).toBe(429);
  endless.abort();
  await Promise.all(uploads);
  await expect.poll(third, { timeout: 10_000 }).toBe(200);
});
