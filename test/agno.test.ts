/** What Agno stored comes over: users with their memories, conversations and summaries, from both layouts of its tables. */

import { randomUUID } from "node:crypto";
import { Client } from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readDocument } from "../src/agent/export-format.ts";
import { mapUser } from "../src/cli/agno/map.ts";
import { asOwner, databaseUrl, POSTGRES_URL } from "./support/database.ts";
import { type Outcome, runProgram } from "./support/processes.ts";
import { startTestServer, type TestServer } from "./support/server.ts";
import { importUser } from "./support/user-data.ts";

const AT = 1_754_812_800;

/** A run as Agno writes it. */
function run(runId: string, message: string, reply: string, more: object = {}): object {
  return {
    run_id: runId,
    agent_id: "memory-agent",
    user_id: "ada@example.com",
    content: reply,
    content_type: "str",
    model: "qwen3-4b",
    status: "COMPLETED",
    created_at: AT,
    metrics: { input_tokens: 12, output_tokens: 5, total_tokens: 17 },
    input: { input_content: message },
    messages: [
      { role: "system", content: "You remember." },
      { role: "user", content: message },
      { role: "assistant", content: reply },
    ],
    ...more,
  };
}

const RUNS = [
  run("run-1", "Hi! I love hiking.", "Nice to hear."),
  run("run-2", "What do I love?", "Hik", { status: "CANCELLED" }),
  run("run-3", "And now?", "", { status: "ERROR", metrics: null, input: null }),
  { run_id: "member", parent_run_id: "run-1", content: "a team's member", status: "COMPLETED" },
];

const memory = {
  memory_id: "m-1",
  user_id: "ada@example.com",
  memory: "User loves hiking",
  topics: ["Hobbies", "hobbies", ""],
  agent_id: "memory-agent",
  input: "Hi! I love hiking.",
  feedback: "good",
  created_at: AT,
  updated_at: AT + 60,
};

const session = {
  session_id: "session-123",
  user_id: "ada@example.com",
  session_type: "agent",
  agent_id: "memory-agent",
  session_data: { session_name: "First talk", session_state: {} },
  summary: { summary: "They talked about hiking.", topics: ["hiking"], updated_at: "2025-08-10T08:01:00.123456" },
  runs: RUNS,
  created_at: AT,
  updated_at: AT + 100,
};

describe("mapped", () => {
  let server: TestServer;

  beforeAll(async () => {
    server = await startTestServer();
  });

  afterAll(() => server.close());

  test("a user's rows become a document that the server takes in and shows", async () => {
    const { document, leftOut, ...counts } = mapUser({ userId: "agno-1", memories: [memory], sessions: [session] }, "rag-agent");
    expect(counts).toEqual({ memories: 1, sessions: 1, messages: 5 });
    expect(leftOut).toEqual(["run 4 of session session-123: it has no message of a user"]);
    expect(await importUser(server, "agno-1", document)).toMatchObject({ status: 200 });
    const { memories } = await server.data("Memories", { userId: "agno-1" });
    expect(memories.edges.map((edge: { node: object }) => edge.node)).toMatchObject([
      { memoryId: "m-1", memory: "User loves hiking", topics: ["hobbies"], origin: "IMPORTED", createdAt: "2025-08-10T08:00:00.000Z" },
    ]);
    const { data } = await server.graphql(
      `{ session(userId: "agno-1", sessionId: "session-123") { name summary { summary topics updatedAt }
        messages { edges { node { role content complete } } } runs { edges { node { runId status usage { inputTokens } error { code } } } } } }`,
    );
    expect(data?.session).toMatchObject({
      name: "First talk",
      summary: { summary: "They talked about hiking.", topics: ["hiking"], updatedAt: "2025-08-10T08:01:00.123Z" },
    });
    expect(data?.session.messages.edges.map(({ node }: { node: object }) => Object.values(node).join(" "))).toEqual([
      "USER Hi! I love hiking. true",
      "ASSISTANT Nice to hear. true",
      "USER What do I love? true",
      "ASSISTANT Hik false",
      "USER And now? true",
    ]);
    expect(data?.session.runs.edges.map(({ node }: { node: object }) => node).sort(byRunId)).toMatchObject([
      { runId: "run-1", status: "COMPLETED", usage: { inputTokens: 12 }, error: null },
      { runId: "run-2", status: "CANCELLED" },
      { runId: "run-3", status: "FAILED", error: { code: "RUN_INTERRUPTED" } },
    ]);
  });

  test("the conversation goes on here, and the next reply knows what was said there", async () => {
    const { document } = mapUser({ userId: "agno-2", memories: [memory], sessions: [session] }, "rag-agent");
    await importUser(server, "agno-2", document);
    await server.data("RunAgent", { input: { userId: "agno-2", sessionId: "session-123", message: "Where were we?" } });
    const [asked] = server.model.requests.filter(({ body }) => JSON.stringify(body).includes("Where were we?"));
    expect(JSON.stringify(asked?.body)).toContain("Nice to hear.");
    expect(JSON.stringify(asked?.body)).toContain("User loves hiking");
  });

  test("whatever shape texts, topics, times and ids have, the document is one that is taken in", () => {
    const odd = {
      userId: "agno-3",
      memories: [
        { ...memory, memory_id: "x".repeat(400), memory: { memory: "User has a\0 cat" }, topics: "pets", feedback: "meh" },
        { ...memory, memory_id: "same", memory: "user has a cat!" },
        { ...memory, memory_id: "empty", memory: null },
        { ...memory, memory_id: "long", memory: "é".repeat(5_000) },
        { ...memory, memory_id: "old", memory: ["User", "sings"], created_at: null, updated_at: null, topics: [1, { text: "Music" }] },
        { ...memory, memory_id: "far", memory: "User flies", created_at: 1e300, updated_at: Number.NaN },
      ],
      sessions: [
        { ...session, session_id: "odd", runs: "none", summary: "none", session_data: null, created_at: null, updated_at: null },
        {
          ...session,
          session_id: "parts",
          summary: { summary: "x", topics: null, updated_at: "yesterday" },
          runs: [
            null,
            7,
            run("r", "", "x", {
              input: { input_content: [{ type: "text", text: "One \ud800part" }, "two"] },
              content: { a: 1 },
              status: "PAUSED",
            }),
          ],
        },
      ],
    };
    const { document, leftOut } = mapUser(odd, "rag-agent");
    const records = readDocument(JSON.parse(document));
    expect(records.memory.map((row) => row.memory)).toEqual(["User has a cat", "User\nsings", "User flies"]);
    expect(leftOut.map((line) => line.slice(0, 16))).toHaveLength(5);
    expect(records.message.map((row) => row.content)).toEqual(["One �part\ntwo", '{"a":1}']);
    expect(records.run).toMatchObject([{ status: "INTERRUPTED" }]);
    expect(mapUser(odd, "rag-agent").document).toBe(document);
  });
});

/** Needs a Postgres beside the server's database: Agno's own. */
describe.skipIf(POSTGRES_URL === null)("from a database of Agno's", () => {
  const name = `recollect_agno_${randomUUID().replaceAll("-", "")}`;
  let server: TestServer;

  beforeAll(async () => {
    server = await startTestServer();
    await asOwner(`create database ${name}`);
  });

  afterAll(async () => {
    await server.close();
    await asOwner(`drop database if exists ${name} with (force)`);
  });

  test("the tables of version 2 and of version 3 give the same users, a dry run sends nothing, and a second run changes nothing", async () => {
    await make("two", memoryTable, sessionTable("runs jsonb,"));
    await make("three", memoryTable, sessionTable(""), runTable);
    await fill("two", RUNS);
    await fill("three", null);
    for (const [schema, user] of [
      ["two", "ada@example.com"],
      ["three", "ada@example.com"],
    ] as const) {
      const dry = await migrate(schema, "--dry-run");
      expect(dry.output).toContain(`${user}: 1 memories, 1 sessions, 5 messages would be taken in`);
      expect(dry.output).toContain("left out: run 4 of session session-123");
      expect(dry.errors.join("\n")).toContain("1 rows name no user");
    }
    expect((await server.data("Memories", { userId: "ada@example.com" })).memories.totalCount).toBe(0);
    expect((await migrate("two")).output).toContain("1 taken in");
    expect((await server.data("Memories", { userId: "ada@example.com" })).memories.totalCount).toBe(1);
    const again = await migrate("three");
    expect(again).toMatchObject({ code: 0, output: expect.stringContaining("1 was there already") });
    const named = JSON.parse((await migrate("two", "--anonymous", "nobody@example.com", "--json")).output);
    expect(named.users.map((report: { userId: string; outcome: string }) => [report.userId, report.outcome])).toEqual([
      ["ada@example.com", "was there already"],
      ["nobody@example.com", "taken in"],
    ]);
    // Who has begun here already is not mixed with who came from there.
    await server.data("AddMemory", { input: { userId: "busy@example.com", memory: "User was here first" } });
    const busy = await migrate("two", "--anonymous", "busy@example.com");
    expect(busy).toMatchObject({ code: 1, output: expect.stringMatching(/busy@example\.com: .* failed\n {2}.+/) });
    expect((await server.data("Memories", { userId: "busy@example.com" })).memories.totalCount).toBe(1);
  });

  test("a database without Agno's tables, one that is away, and a server that is away each say so", async () => {
    expect((await migrate("public")).errors.join()).toContain("neither agno_memories nor agno_sessions");
    const away = await recollect("migrate-from-agno", "--from", "postgres://nobody@127.0.0.1:1/none");
    expect(away).toMatchObject({ code: 1, errors: [expect.stringContaining("Agno's database cannot be read")] });
    const down = await recollect("--url", "http://127.0.0.1:1", "migrate-from-agno", "--from", databaseUrl(name), "--schema", "two");
    expect(down).toMatchObject({ code: 1, errors: [expect.stringContaining("No Recollect server answers")] });
  });

  const memoryTable = `create table agno_memories (memory_id varchar primary key, memory jsonb not null, feedback text, input text, agent_id varchar,
    team_id varchar, user_id varchar, topics jsonb, created_at bigint not null, updated_at bigint)`;
  const sessionTable = (
    runs: string,
  ) => `create table agno_sessions (session_id varchar primary key, session_type varchar not null, agent_id varchar,
    team_id varchar, workflow_id varchar, user_id varchar, session_data jsonb, agent_data jsonb, metadata jsonb, ${runs} summary jsonb,
    created_at bigint not null, updated_at bigint)`;
  const runTable = `create table agno_runs (run_id varchar primary key, session_id varchar references agno_sessions on delete cascade,
    run_type varchar, user_id varchar, parent_run_id varchar, status varchar, run_index bigint, run_data jsonb not null, created_at bigint)`;

  async function make(schema: string, ...tables: string[]): Promise<void> {
    await inAgno(schema, async (client) => {
      await client.query(`create schema ${schema}`);
      await client.query(`set search_path = ${schema}`);
      for (const table of tables) {
        await client.query(table);
      }
    });
  }

  async function fill(schema: string, runs: object[] | null): Promise<void> {
    await inAgno(schema, async (client) => {
      const { memory_id, topics, agent_id, input, feedback } = memory;
      for (const [id, user] of [
        [memory_id, memory.user_id],
        ["m-2", null],
      ]) {
        await client.query(
          "insert into agno_memories (memory_id, user_id, memory, topics, agent_id, input, feedback, created_at, updated_at) values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
          [id, user, JSON.stringify(memory.memory), JSON.stringify(topics), agent_id, input, feedback, AT, AT + 60],
        );
      }
      await client.query(
        `insert into agno_sessions (session_id, session_type, agent_id, user_id, session_data, summary, created_at, updated_at)
        values ('session-123', 'agent', 'memory-agent', 'ada@example.com', $1, $2, $3, $4)`,
        [JSON.stringify(session.session_data), JSON.stringify(session.summary), AT, AT + 100],
      );
      if (runs) {
        await client.query("update agno_sessions set runs = $1", [JSON.stringify(runs)]);
      } else {
        for (const [index, item] of RUNS.entries()) {
          await client.query("insert into agno_runs (run_id, session_id, run_index, run_data) values ($1, 'session-123', $2, $3)", [
            `r${index}`,
            index,
            JSON.stringify(item),
          ]);
        }
      }
    });
  }

  async function inAgno(schema: string, work: (client: Client) => Promise<void>): Promise<void> {
    const client = new Client({ connectionString: databaseUrl(name), options: `-c search_path=${schema}` });
    await client.connect();
    await work(client).finally(() => client.end());
  }

  const migrate = (schema: string, ...words: string[]) =>
    recollect("migrate-from-agno", "--from", databaseUrl(name), "--schema", schema, ...words);
  const recollect = (...words: string[]): Promise<Outcome> => runProgram("cli", words, { RECOLLECT_URL: server.url });
});

function byRunId(one: { runId: string }, other: { runId: string }): number {
  return one.runId < other.runId ? -1 : 1;
}
