/** What comes from outside may be broken: words of a model server, connections to the database. */

import { Client } from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { UserId } from "../src/agent/types.ts";
import { POSTGRES_URL } from "./support/database.ts";
import { fails, says } from "./support/model-answers.ts";
import { startTestServer, type TestServer } from "./support/server.ts";

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer();
});

afterAll(() => server.close());

async function run(userId: string, message = "Tell me something.") {
  const data = await server.data("RunAgent", { input: { userId, sessionId: "s", message } });
  return data.runAgent.run;
}

test.each([
  ["a NUL", "context\0overflow"],
  ["half of a surrogate pair", "over\ud800flow"],
])("an error of the model server with %s in it fails the run, and is stored", async (_, message) => {
  server.model.script("reply", fails(400, { error: { message } }));
  const failed = await run("faults-1");
  expect(failed).toMatchObject({ status: "FAILED", error: { code: "MODEL_BAD_RESPONSE" } });
});

test("a model's name with a NUL in it does not spoil a good reply", async () => {
  server.model.script("reply", says("All is well.", { model: "odd\0name" }));
  expect(await run("faults-2")).toMatchObject({ status: "COMPLETED", reply: "All is well.", model: "oddname" });
});

test("a reply of nothing but characters that cannot be stored is no reply", async () => {
  server.model.script("reply", says("\0\0"));
  expect(await run("faults-3")).toMatchObject({ status: "FAILED", reply: null, error: { code: "MODEL_BAD_RESPONSE" } });
});

test("an emoji that the model splits into halves arrives whole", async () => {
  server.model.script("reply", says("", { pieces: ["Tea \ud83c", "\udf75 for you \ud83d", "\ude00"] }));
  expect((await run("faults-4")).reply).toBe("Tea 🍵 for you 😀");
});

test("an unexpected fault is answered with an id, and its words stay inside", async () => {
  const { database } = server.context;
  await database.asOperator((transaction) => transaction.query("alter table agno_sessions rename to agno_sessions_away"));
  try {
    const answer = await server.graphql("OpenSession", { userId: "faults-5", sessionId: "s" });
    expect(answer.errors?.[0]?.extensions).toMatchObject({ code: "INTERNAL", errorId: expect.stringMatching(/^[0-9a-f-]{36}$/) });
    expect(JSON.stringify(answer)).not.toMatch(/agno_sessions|relation|select/i);
  } finally {
    await database.asOperator((transaction) => transaction.query("alter table agno_sessions_away rename to agno_sessions"));
  }
});

test("when the events of a reply could not be written, its end brings what is missing", async () => {
  const events = await countWhile(
    "faults-7",
    "faults_written",
    `if new.user_id = 'faults-7' and new.type = 'TextMessageContent' and nextval('faults_written') = 2 then
      -- Long enough for the reply to be complete when the refusal comes.
      perform pg_sleep(2);
      raise exception 'not this one';
    end if;`,
  );
  expect(events.at(-1)).toMatchObject({ __typename: "RunFinished", reply: "One two three four five six seven eight nine ten." });
  expect(events.map((event) => event.delta ?? "").join("")).toBe(events.at(-1)?.reply);
  expect(events.map((event) => event.sequence)).toEqual(events.map((_, index) => index + 1));
});

// The embedded database has no connections that could break.
test.runIf(POSTGRES_URL !== null)("connections that break under way are replaced: no slot is lost, however often", async () => {
  const { database } = server.context;
  const admin = new Client({ connectionString: server.database.options.databaseUrl ?? "" });
  await admin.connect();
  try {
    for (let round = 0; round < 4; round++) {
      const work = Array.from({ length: 15 }, () =>
        database.asUser("faults-6" as UserId, (transaction) => transaction.query("select pg_sleep(0.3)")),
      );
      const settled = Promise.allSettled(work);
      await expect.poll(() => sleeping(admin)).toBeGreaterThan(0);
      await admin.query(
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'recollect' and datname = current_database()",
      );
      const broken = (await settled).filter((one) => one.status === "rejected");
      expect(broken.length).toBeGreaterThan(0);
      for (const { reason } of broken) {
        expect(reason).toMatchObject({ code: "SERVICE_UNAVAILABLE" });
      }
    }
  } finally {
    await admin.end();
  }
  expect(await database.answers()).toBe(true);
  expect((await run("faults-6")).status).toBe("COMPLETED");
});

async function sleeping(admin: Client): Promise<number> {
  const { rows } = await admin.query<{ count: number }>(
    "select count(*)::int as count from pg_stat_activity where datname = current_database() and query like 'select pg_sleep%' and state = 'active'",
  );
  return rows[0]?.count ?? 0;
}

test("a database that is away for a moment while a reply is written costs the reply nothing", async () => {
  const events = await countWhile(
    "faults-8",
    "faults_away",
    `if new.user_id = 'faults-8' and nextval('faults_away') in (2, 3, 5) then
      raise exception 'starting up' using errcode = '57P03';
    end if;`,
  );
  const [used] = await server.context.database.inspect("select last_value::int as value from faults_away");
  expect(used?.value).toBeGreaterThan(5);
  expect(events.at(-1)).toMatchObject({ __typename: "RunFinished", reply: "One two three four five six seven eight nine ten." });
  expect(events.map((event) => event.delta ?? "").join("")).toBe(events.at(-1)?.reply);
  expect(events.map((event) => event.sequence)).toEqual(events.map((_, index) => index + 1));
});

/** Counts to ten while a trigger on the events of replies does `body`, in which `count` is a sequence; every event that a reader was shown. */
async function countWhile(userId: string, count: string, body: string) {
  const { database } = server.context;
  const statements = [
    `create sequence ${count}`,
    `grant usage on sequence ${count} to public`,
    `create function ${count}_step() returns trigger language plpgsql as $$ begin ${body} return new; end $$`,
    `create trigger ${count}_step before insert on recollect_run_events for each row execute function ${count}_step()`,
  ];
  for (const sql of statements) {
    await database.asOperator((transaction) => transaction.query(sql));
  }
  server.model.script("reply", says("One two three four five six seven eight nine ten.", { pause: 60 }));
  const events: { __typename: string; sequence: number; delta?: string; reply?: string }[] = [];
  for await (const event of server.subscribe("SendMessage", { input: { userId, message: "Count." }, until: "REPLY" })) {
    events.push(event);
  }
  await database.asOperator((transaction) => transaction.query(`drop function ${count}_step cascade`));
  return events;
}
