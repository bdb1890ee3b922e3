/** Users never see each other's rows, even when the application forgets to ask for one user's only: the database holds. */

import { afterAll, beforeAll, expect, test } from "vitest";
import type { UserId } from "../src/agent/types.ts";
import type { Database, Transaction } from "../src/stores/database.ts";
import { startTestServer, type TestServer } from "./support/server.ts";

const ALICE = "alice@example.com' or '1'='1" as UserId;
const BOB = "bob%_" as UserId;

let server: TestServer;
let database: Database;
let tables: string[];

beforeAll(async () => {
  server = await startTestServer();
  database = server.context.database;
  for (const userId of [ALICE, BOB]) {
    const input = { userId, sessionId: "same", message: `I love ${userId === ALICE ? "apples" : "bananas"}.` };
    await server.data("RunAgent", { input, waitFor: "MEMORY" });
    const secret = { userId, sessionId: "same", message: "I like a thing nobody else knows." };
    // Its extraction never ends, so that the table of jobs holds something of each.
    server.model.hold(0, "extraction");
    await server.data("RunAgent", { input: secret });
    const note = { userId, memory: "User prefers tea", idempotencyKey: "same" };
    await server.data("AddMemory", { input: note });
  }
  tables = await asUser(ALICE, async (transaction) => {
    const rows = await transaction.query<{ name: string }>(
      `select distinct c.relname as name from pg_class c join pg_attribute a on a.attrelid = c.oid
      where a.attname = 'user_id' and not a.attisdropped and c.relkind in ('r', 'p') and c.relnamespace = current_schema()::regnamespace`,
    );
    return rows.map((row) => row.name).sort();
  });
});

afterAll(() => server.close());

function asUser<T>(user: UserId, work: (transaction: Transaction) => Promise<T>): Promise<T> {
  return database.asUser(user, work);
}

/** Users whose rows a statement without any condition returns. */
async function visibleUsers(transaction: Transaction, table: string): Promise<string[]> {
  const rows = await transaction.query<{ user_id: string }>(`select distinct user_id from ${table} order by user_id`);
  return rows.map((row) => row.user_id);
}

test("every table with users' rows has row-level security with a policy that checks what is read and what is written", async () => {
  expect(tables).toContain("agno_memories");
  expect(tables).toContain("recollect_idempotency");
  expect(tables.length).toBeGreaterThanOrEqual(10);
  // Says who may be a user; it is looked up before there is one. `roles.test.ts` holds who can read it.
  expect(tables).not.toContain("recollect_api_keys");
  const unprotected = await asUser(ALICE, (transaction) =>
    transaction.query(
      `select c.relname from pg_class c where c.relname in (select jsonb_array_elements_text($1::jsonb)) and (not c.relrowsecurity or not exists (
        select 1 from pg_policies p where p.tablename = c.relname and 'recollect_app' = any (p.roles)
          and p.qual like '%app.user_id%' and p.with_check like '%app.user_id%'))`,
      [JSON.stringify(tables)],
    ),
  );
  expect(unprotected).toEqual([]);
});

test("without any condition of the application's, a user's unit of work reads that user's rows alone", async () => {
  for (const table of tables) {
    expect(await asUser(ALICE, (transaction) => visibleUsers(transaction, table)), table).toEqual([ALICE]);
    expect(await asUser(BOB, (transaction) => visibleUsers(transaction, table)), table).toEqual([BOB]);
  }
});

test("the same look without the role sees both users: the role is what protects", async () => {
  // The operator's own login is not bound by the policies. On Postgres that is the owner of the tables.
  for (const table of tables) {
    expect(await database.asOperator((transaction) => visibleUsers(transaction, table)), table).toEqual([ALICE, BOB]);
  }
});

test("nobody's unit of work, and one of an unknown user, read nothing", async () => {
  for (const table of tables) {
    expect(await asUser("nobody" as UserId, (transaction) => visibleUsers(transaction, table))).toEqual([]);
    expect(await asUser("" as UserId, (transaction) => visibleUsers(transaction, table))).toEqual([]);
  }
});

test("what the operator asks of the running server lasts no longer than the answer: no role, no row stays changed", async () => {
  for (const sql of ["set role none", "select set_config('role', 'none', false)", "reset role"]) {
    await database.inspect(sql);
    expect(await asUser(BOB, (transaction) => visibleUsers(transaction, "agno_memories"))).toEqual([BOB]);
  }
  await expect(database.inspect("delete from agno_memories")).rejects.toMatchObject({ code: "25006" });
  expect(await database.inspect("select count(distinct user_id)::int as users from agno_memories")).toEqual([{ users: 2 }]);
});

test("another user's rows can be neither changed, nor deleted, nor written", async () => {
  const before = await database.asOperator((transaction) =>
    transaction.query("select memory_id, memory, version from agno_memories where user_id = $1", [BOB]),
  );
  await asUser(ALICE, async (transaction) => {
    expect(await transaction.query("update agno_memories set memory = 'mine now' where user_id = $1 returning 1 as one", [BOB])).toEqual(
      [],
    );
    expect(await transaction.query("delete from agno_sessions where user_id = $1 returning 1 as one", [BOB])).toEqual([]);
  });
  const forged = asUser(ALICE, (transaction) =>
    transaction.query("insert into agno_sessions (user_id, session_id, agent_id, sequence) values ($1, 'forged', 'rag-agent', 1)", [BOB]),
  );
  await expect(forged).rejects.toMatchObject({ code: "42501" });
  const moved = asUser(ALICE, (transaction) => transaction.query("update agno_memories set user_id = $1", [BOB]));
  await expect(moved).rejects.toMatchObject({ code: "42501" });
  expect(
    await database.asOperator((transaction) =>
      transaction.query("select memory_id, memory, version from agno_memories where user_id = $1", [BOB]),
    ),
  ).toEqual(before);
});

test("the worker's role reads no content, and the log's role reads no events", async () => {
  const denied = [
    () => database.asWorker((transaction) => transaction.query("select content from recollect_messages")),
    () => database.asWorker((transaction) => transaction.query("select memory from agno_memories")),
    () => database.asWorker((transaction) => transaction.query("select error, usage from recollect_runs")),
    () => database.asWorker((transaction) => transaction.query("select payload from recollect_jobs")),
    () => database.asLog((transaction) => transaction.query("select data from recollect_run_events")),
    () => database.asLog((transaction) => transaction.query("select session_id from recollect_runs")),
    () => asUser(ALICE, (transaction) => transaction.query("update recollect_memory_history set quote = 'rewritten'")),
    () => asUser(ALICE, (transaction) => transaction.query("create table mine (id integer)")),
  ];
  for (const attempt of denied) {
    await expect(attempt()).rejects.toMatchObject({ code: "42501" });
  }
});

test("a role of the server owns nothing, and cannot bypass row-level security", async () => {
  const roles = await asUser(ALICE, (transaction) =>
    transaction.query(
      `select rolname, rolsuper, rolbypassrls, exists (select 1 from pg_class where relowner = r.oid) as owns
      from pg_roles r where rolname like 'recollect\\_%' and rolname in ('recollect_app', 'recollect_log', 'recollect_worker') order by 1`,
    ),
  );
  expect(roles).toEqual(
    ["recollect_app", "recollect_log", "recollect_worker"].map((rolname) => ({
      rolname,
      rolsuper: false,
      rolbypassrls: false,
      owns: false,
    })),
  );
});

test("another user's ids get the answer that unknown ids get, in every operation", async () => {
  const { memories } = await server.data("MemoriesByTopic", { userId: BOB });
  const memory = memories.edges[0].node;
  const { session } = await server.data("OpenSession", { userId: BOB, sessionId: "same" });
  const found = await asUser(BOB, (transaction) => transaction.query<{ run_id: string }>("select run_id from recollect_runs limit 1"));
  const runId = found[0]?.run_id;
  const ask = async (operation: string, theirs: object, unknown: object) => {
    expect(await server.graphql(operation, { userId: ALICE, ...theirs }), operation).toEqual(
      await server.graphql(operation, { userId: ALICE, ...unknown }),
    );
  };
  await ask("Memory", { memoryId: memory.memoryId }, { memoryId: "unknown" });
  await ask("Run", { runId }, { runId: "unknown" });
  await ask("RetryMemoryUpdate", { input: { userId: ALICE, runId } }, { input: { userId: ALICE, runId: "unknown" } });
  await ask("CancelRun", { input: { userId: ALICE, runId } }, { input: { userId: ALICE, runId: "unknown" } });
  const follow = async (run: string | undefined) => {
    const events: unknown[] = [];
    try {
      for await (const event of server.subscribe("FollowRun", { userId: ALICE, runId: run })) {
        events.push(event);
      }
    } catch (error) {
      events.push(String(error));
    }
    return events;
  };
  expect(await follow(runId)).toEqual(await follow("unknown"));
  const mine = await server.data("OpenSession", { userId: ALICE, sessionId: "same" });
  expect(mine.session.id).not.toBe(session.id);
  expect(JSON.stringify(mine)).not.toContain("bananas");
});
