/** Bad input gets a clear error with a code, stores nothing, asks no model, and hurts nobody. */

import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { startTestServer, type TestServer } from "./support/server.ts";

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer();
});

afterAll(() => server.close());

/** Rows of everything a request could have stored. */
async function stored(): Promise<number> {
  const [row] = await server.context.database.asOperator((transaction) =>
    transaction.query<{ count: number }>(
      "select ((select count(*) from recollect_users) + (select count(*) from recollect_runs) + (select count(*) from agno_memories))::int as count",
    ),
  );
  return row?.count ?? -1;
}

afterEach(async () => {
  expect(await stored()).toBe(0);
  expect(server.model.requests).toHaveLength(0);
  expect((await fetch(`${server.url}/ready`)).status).toBe(200);
});

const GOOD = { userId: "alice", sessionId: "s", message: "Hello" };
const NUL = "a\0b";
const HALF = "a\ud800b";
const LONG_ID = "ä".repeat(129);

describe("over GraphQL", () => {
  const cases: [string, object, string, RegExp][] = [
    ["a missing user id", { sessionId: "s", message: "Hello" }, "BAD_USER_INPUT", /userId.*missing/i],
    ["an empty user id", { ...GOOD, userId: "" }, "BAD_USER_INPUT", /userId.*empty/],
    ["an empty session id", { ...GOOD, sessionId: "" }, "BAD_USER_INPUT", /sessionId.*empty/],
    ["an empty message", { ...GOOD, message: "" }, "BAD_USER_INPUT", /message.*empty/],
    ["a message of spaces", { ...GOOD, message: " \n\t" }, "BAD_USER_INPUT", /message.*empty/],
    ["a user id over 256 bytes", { ...GOOD, userId: LONG_ID }, "BAD_USER_INPUT", /userId.*256 bytes/],
    ["a session id over 256 bytes", { ...GOOD, sessionId: LONG_ID }, "BAD_USER_INPUT", /sessionId.*256 bytes/],
    ["a message over 64 KB", { ...GOOD, message: "x".repeat(64 * 1024 + 1) }, "BAD_USER_INPUT", /message.*64 KB/],
    ["a NUL in the message", { ...GOOD, message: NUL }, "BAD_USER_INPUT", /message.*NUL/],
    ["a NUL in the user id", { ...GOOD, userId: NUL }, "BAD_USER_INPUT", /userId.*NUL/],
    ["a lone surrogate in the message", { ...GOOD, message: HALF }, "BAD_USER_INPUT", /message.*surrogate/],
    ["a lone surrogate in the session id", { ...GOOD, sessionId: HALF }, "BAD_USER_INPUT", /sessionId.*surrogate/],
    ["an unknown agent", { ...GOOD, agentId: "nobody" }, "NOT_FOUND", /rag-agent/],
    ["a field of the wrong type", { ...GOOD, message: 7 }, "BAD_USER_INPUT", /String/],
    ["an unknown value of an enum", { ...GOOD, memory: "MAYBE" }, "BAD_USER_INPUT", /MemoryMode/],
  ];
  test.each(cases)("%s is refused", async (_, input, code, message) => {
    const answer = await server.graphql("RunAgent", { input });
    expect(answer.errors?.[0]?.extensions.code).toBe(code);
    expect(answer.errors?.[0]?.message).toMatch(message);
    expect(answer.data ?? null).toBeNull();
  });

  test.each(cases)("%s is refused over WebSocket too", async (_, input, code, message) => {
    const failed = await server
      .subscribe("SendMessage", { input })
      .next()
      .then(
        () => null,
        (error: { errors?: { message: string; extensions: { code: string } }[] } | { message: string; extensions: { code: string } }[]) =>
          Array.isArray(error) ? error : error.errors,
      );
    expect(failed?.[0]?.extensions.code).toBe(code);
    expect(failed?.[0]?.message).toMatch(message);
  });

  const memory = { userId: "alice", memory: "User likes tea" };
  test.each<[string, object, RegExp]>([
    ["an empty memory", { ...memory, memory: " " }, /memory.*empty/],
    ["a memory over 2,000 characters", { ...memory, memory: "x".repeat(2_001) }, /memory/],
    ["a NUL in a memory", { ...memory, memory: NUL }, /NUL/],
    ["a NUL in a topic", { ...memory, topics: ["ok", NUL] }, /topics.*NUL/],
    ["seventeen topics", { ...memory, topics: Array.from({ length: 17 }, (_, index) => `topic ${index}`) }, /topics.*16/],
    ["a topic over 64 characters", { ...memory, topics: ["x".repeat(65)] }, /topics.*64/],
    ["a missing user", { memory: "User likes tea" }, /userId.*missing/i],
  ])("%s is refused", async (_, input, message) => {
    const answer = await server.graphql("AddMemory", { input });
    expect(answer.errors?.[0]?.extensions.code).toBe("BAD_USER_INPUT");
    expect(answer.errors?.[0]?.message).toMatch(message);
  });

  test.each<[string, object, RegExp]>([
    ["a page of 0", { first: 0 }, /1 to 100/],
    ["a page of 101", { first: 101 }, /1 to 100/],
    ["a cursor of nothing", { after: "bm90aGluZw" }, /cursor/],
    ["a cursor of another list", { after: Buffer.from("messages:3").toString("base64url") }, /cursor/],
  ])("%s is refused", async (_, page, message) => {
    const answer = await server.graphql("MemoriesByTopic", { userId: "alice", ...page });
    expect(answer.errors?.[0]?.extensions.code).toBe("BAD_USER_INPUT");
    expect(answer.errors?.[0]?.message).toMatch(message);
  });

  test.each([
    ["malformed JSON", '{"query": ', 400],
    ["no query", "{}", 400],
    ["a body over 256 KB", JSON.stringify({ query: "{ __typename }", variables: { filler: "x".repeat(256 * 1024) } }), 413],
    ["a query too deep for any parser", JSON.stringify({ query: "{a".repeat(20_000) }), 200],
    ["a query that is none", JSON.stringify({ query: "{ nonsense" }), 200],
  ])("%s is answered with a JSON error", async (_, body, status) => {
    const response = await fetch(`${server.url}/graphql`, { method: "POST", headers: { "content-type": "application/json" }, body });
    expect(response.status).toBe(status);
    const answer = (await response.json()) as { errors: { extensions: { code: string } }[] };
    expect(answer.errors[0]?.extensions.code).toBe(status === 413 ? "PAYLOAD_TOO_LARGE" : "BAD_USER_INPUT");
    expect(JSON.stringify(answer)).not.toMatch(/node_modules|\.ts:|\.js:/);
  });
});

describe("over REST", () => {
  const RUN = "/v1/agents/rag-agent/run";
  const good = { message: "Hello", user_id: "alice", session_id: "s" };
  test.each<[string, string, unknown, number, string]>([
    ["a missing user id", RUN, { message: "Hello" }, 400, "BAD_USER_INPUT"],
    ["an empty message", RUN, { ...good, message: "" }, 400, "BAD_USER_INPUT"],
    ["a number as user id", RUN, { ...good, user_id: 7 }, 400, "BAD_USER_INPUT"],
    ["a NUL in the message", RUN, { ...good, message: NUL }, 400, "BAD_USER_INPUT"],
    ["a list instead of an object", RUN, [], 400, "BAD_USER_INPUT"],
    ["an unknown agent", "/v1/agents/nobody/run", good, 404, "NOT_FOUND"],
    ["an unknown address", "/v1/nothing", good, 404, "NOT_FOUND"],
  ])("%s is refused", async (_, address, body, status, code) => {
    const response = await fetch(server.url + address, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    expect(response.status).toBe(status);
    expect(((await response.json()) as { error: { code: string } }).error.code).toBe(code);
  });

  test.each([
    ["malformed JSON", "{", "application/json", 400, "BAD_USER_INPUT"],
    ["plain text", JSON.stringify(good), "text/plain", 415, "BAD_USER_INPUT"],
    ["a form as any web page can send it", "message=Hello&user_id=alice", "application/x-www-form-urlencoded", 403, "FORBIDDEN"],
  ])("%s is refused", async (_, body, type, status, code) => {
    const response = await fetch(server.url + RUN, { method: "POST", headers: { "content-type": type }, body });
    expect(response.status).toBe(status);
    expect(((await response.json()) as { error: { code: string } }).error.code).toBe(code);
  });

  test("a list of memories without a user id is refused", async () => {
    const response = await fetch(`${server.url}/v1/agents/rag-agent/memories`);
    expect(response.status).toBe(400);
    expect(((await response.json()) as { error: { message: string } }).error.message).toMatch(/user_id/);
  });
});
