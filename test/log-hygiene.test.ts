/** What users say, keep and prove themselves with is in no log at info or above, in no error of another kind and not in the status. */

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { bearer, makeKey } from "./support/keys.ts";
import { fails, says, sends } from "./support/model-answers.ts";
import { startModelServer } from "./support/model-server.ts";
import { TRANSPORTS } from "./support/send.ts";
import { documentOf, postGraphQL, startTestServer, type TestServer } from "./support/server.ts";

/** A word that appears where it was put and nowhere else. */
const canary = (place: string): string => `zqcanary${place}xv`;
const CANARY = /zqcanary\w*xv/g;

const RUN =
  "mutation ($input: RunAgentInput!) { runAgent(input: $input, waitFor: MEMORY) { run { status reply error { message } memoryUpdate { status error { message } } } } }";

/** What is in a text that must not be. */
const foundIn = (text: string): string[] => [...new Set(text.match(CANARY))];

describe("with keys and every sort of trouble", () => {
  const lines: string[] = [];
  let server: TestServer;
  let token: string;
  let admin: string;

  beforeAll(async () => {
    server = await startTestServer({
      env: { LOG_LEVEL: "info", AUTH: "keys", OPENAI_API_KEY: canary("modelkey") },
      logTo: { write: (line) => lines.push(line) },
    });
    token = (await makeKey(server.context.database, { user: "u" })).token;
    admin = (await makeKey(server.context.database, { scope: "admin" })).token;
  });

  afterAll(() => server.close());

  const ask = (query: string, variables: object = {}, headers: object = bearer(token)) =>
    postGraphQL(server.url, query, variables, headers);

  test("nothing of it is in the log, whatever goes well or wrong", async () => {
    const say = (message: string, sessionId = "s") => ask(RUN, { input: { sessionId, message } });
    await say(`I like ${canary("message")} a lot.`);
    server.model.script("reply", says(canary("reply")));
    await say("Hello!");
    server.model.script("reply", fails(400, canary("fault")));
    await say(`Please help me with ${canary("lost")}!`, "t");
    server.model.script("reply", ...Array.from({ length: 4 }, () => sends("text/html", `<p>${canary("page")}</p>`)));
    await say("Hello!", "t");
    server.model.script("extraction", ...Array.from({ length: 20 }, () => says(`{ "facts": ${canary("garbage")}`)));
    await say(`I live in ${canary("place")}.`, "t");
    await server.drain();

    await ask("AddMemory", { input: { memory: canary("memory"), topics: [canary("topic")] } });
    await ask("AddMemory", { input: { memory: `${canary("longmemory")}${"x".repeat(3_000)}` } });
    await ask("RenameSession", { input: { sessionId: "s", name: canary("name") } });
    await ask("SearchMemories", { query: canary("query") });
    await ask("MemoriesByTopic", { topics: [canary("filter")], after: canary("cursor") });
    await ask("SummarizeSession", { input: { sessionId: "s" } });

    await ask(`{ ${canary("field")} }`);
    await ask(`{ agents( ${canary("syntax")}`);
    await ask("AddMemory", { input: { memory: [canary("variable")] } });
    const json = { "content-type": "application/json", authorization: `Bearer ${token}` };
    await fetch(`${server.url}/graphql`, { method: "POST", headers: json, body: `{"query": ${canary("body")}` });
    await fetch(`${server.url}/v1/agents/${canary("agent")}/run`, { method: "POST", headers: json, body: "{}" });
    await fetch(`${server.url}/${canary("path")}?token=${canary("parameter")}`, {
      headers: { ...json, cookie: canary("cookie"), "x-any": canary("header") },
    });
    await ask("{ __typename }", {}, { authorization: `Bearer ${canary("badtoken")}` });
    await ask("{ __typename }", {}, { authorization: `Bearer eyJhbGciOiJub25lIn0.${canary("claims")}.` });
    await ask("{ __typename }", {}, { authorization: canary("scheme") });

    const log = lines.join("");
    expect(lines.length).toBeGreaterThan(5);
    expect(log).toContain("run ended");
    expect(foundIn(log)).toEqual([]);
    expect(log).not.toContain(token.slice(-20));
  });

  test("the status names no word of users, models or keys", async () => {
    const status = await ask("Doctor", {}, bearer(admin));
    expect(status.data.serverStatus.problems.length).toBeGreaterThan(0);
    expect(foundIn(JSON.stringify(status))).toEqual([]);
  });
});

test("at debug the log has the words: the test above can fail", async () => {
  const lines: string[] = [];
  const server = await startTestServer({ env: { LOG_LEVEL: "debug" }, logTo: { write: (line) => lines.push(line) } });
  await server.data(RUN, { input: { userId: "u", message: `I like ${canary("message")} a lot.` } });
  await server.close();
  expect(foundIn(lines.join(""))).toEqual([canary("message")]);
});

describe("what nobody expected", () => {
  const lines: string[] = [];
  let server: TestServer;

  beforeAll(async () => {
    server = await startTestServer({ env: { LOG_LEVEL: "info" }, logTo: { write: (line) => lines.push(line) } });
    // The database quotes then what it was given.
    await server.context.database.asOperator((transaction) =>
      transaction.query(
        "alter table agno_memories add constraint forbidden check (case when memory like '%zqcanary%' then memory::integer > 0 end)",
      ),
    );
  });

  afterAll(() => server.close());

  test.each(TRANSPORTS)("is answered with an id over %s; the log has it under that id, without the words", async (_, send) => {
    const { errors } = await send(server.url, {
      query: documentOf("AddMemory"),
      variables: { input: { userId: "u", memory: canary("memory") } },
    });
    expect(errors?.[0]?.extensions).toMatchObject({ code: "INTERNAL", retryable: false, errorId: expect.any(String) });
    expect(foundIn(JSON.stringify(errors))).toEqual([]);
    expect(JSON.stringify(errors)).not.toMatch(/agno_memories|integer|node_modules|\.ts:/);
    expect(lines.filter((line) => line.includes(String(errors?.[0]?.extensions.errorId)))).toHaveLength(1);
    expect(lines.join("")).toContain("invalid input syntax");
    expect(foundIn(lines.join(""))).toEqual([]);
  });

  test.each(TRANSPORTS)("what a complaint over %s repeats of a request is short, and in no log", async (_, send) => {
    const word = canary("echo");
    const long = `${word}${"y".repeat(5_000)}`;
    for (const operation of [
      { query: `{ memories(userId: "${long}", orderBy: ${long}) { totalCount } }` },
      { query: `{ ${long} }` },
      { query: documentOf("AddMemory"), variables: { input: { userId: "u", memory: { [long]: long } } } },
      { query: documentOf("AddMemory"), variables: { input: { userId: "u", memory: "m", [long]: long } } },
    ]) {
      const { errors } = await send(server.url, operation);
      expect(errors?.[0]?.extensions.code).toBe("BAD_USER_INPUT");
      expect(Math.max(...(errors ?? []).map(({ message }) => message.length))).toBeLessThan(500);
    }
    expect(lines.join("")).not.toContain(word);
  });
});

test("a key of the model server that is refused is named nowhere", async () => {
  const lines: string[] = [];
  const model = await startModelServer();
  model.respond(() => fails(401, `Incorrect API key provided: ${canary("modelkey")}`));
  const server = await startTestServer({
    model,
    env: { LOG_LEVEL: "info", OPENAI_API_KEY: canary("modelkey") },
    logTo: { write: (line) => lines.push(line) },
  });
  const { data } = await server.graphql(RUN, { input: { userId: "u", message: "Hello!" } });
  expect(data.runAgent.run.status).toBe("FAILED");
  const status = await server.graphql("Doctor");
  await server.close();
  await model.close();
  expect(foundIn(JSON.stringify([data, status]) + lines.join(""))).toEqual([]);
});
