/** serverStatus: what is wrong, worst first, with what to do about it. */

import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { createStatusReader } from "../src/agent/status.ts";
import { createOpenAiModel } from "../src/models/openai.ts";
import { createModelProbe } from "../src/models/probe.ts";
import { createJobStore } from "../src/stores/jobs.ts";
import { openDatabase } from "../src/stores/open-database.ts";
import { createDatabaseProbe } from "../src/stores/probe.ts";
import { createTestDatabase } from "./support/database.ts";
import { fails, hangs, says, saysJson } from "./support/model-answers.ts";
import { type ModelServer, startModelServer } from "./support/model-server.ts";
import { startTestServer, type TestServer, type TestServerOptions } from "./support/server.ts";

interface Problem {
  severity: string;
  message: string;
  fix: string;
}

/** All is well with an embedding model set; every status is asked for anew. */
const WELL = { EMBEDDING_MODEL: "text-embedding" };
const MODELS = ["scripted-model", "text-embedding"];

async function withServer(
  options: TestServerOptions & { quirks?: Parameters<typeof startModelServer>[0] },
  work: (server: TestServer) => Promise<void>,
): Promise<void> {
  const model = options.model ?? (await startModelServer({ models: MODELS, ...options.quirks }));
  const env = { ...WELL, ...options.env };
  const server = await startTestServer({ ...options, model, env, overrides: { statusFreshness: 0, ...options.overrides } });
  try {
    await work(server);
  } finally {
    await server.close();
    if (!options.model) {
      await model.close();
    }
  }
}

/** For tests that leave nothing behind. */
let model: ModelServer;
let shared: TestServer;

beforeAll(async () => {
  model = await startModelServer({ models: MODELS });
  shared = await startTestServer({ model, env: WELL, overrides: { statusFreshness: 0 } });
});

afterEach(() => model.respond(() => undefined));

afterAll(async () => {
  await shared.close();
  await model.close();
});

async function status(server: TestServer) {
  const { serverStatus } = await server.data("Doctor");
  return serverStatus as { problems: Problem[]; models: Record<string, unknown>[]; [part: string]: unknown };
}

test("when all is well there is no problem, and every part says how it is", async () => {
  const { problems, ...parts } = await status(shared);
  expect(problems).toEqual([]);
  const shown = { model: "scripted-model", available: true, structuredOutput: "STRICT_SCHEMA", checkedAt: expect.any(String) };
  expect(parts).toEqual({
    version: expect.stringMatching(/^\d+\.\d+\.\d+/),
    authentication: false,
    models: [
      { role: "CHAT", ...shown },
      { role: "MEMORY", ...shown },
      { role: "SUMMARY", ...shown },
      { role: "EMBEDDING", ...shown, model: "text-embedding", structuredOutput: null },
    ],
    modelBreaker: { state: "CLOSED", since: expect.any(String), nextTryAt: null },
    database: {
      embedded: shared.context.database.embedded,
      available: true,
      version: expect.stringMatching(/^\d\d/),
      vectorSearch: false,
    },
    queue: { waiting: 0, running: 0, failed: 0, oldestWaitingSeconds: null },
    limits: { messageBytes: 65_536, memoryLength: 2_000, idBytes: 256, batchSize: 100 },
  });
  // The memory model is tried once, however often the status is asked for; nothing is stored.
  await status(shared);
  expect(shared.model.asked("extraction")).toHaveLength(1);
});

test("without an embedding model a warning says that recall goes by words", async () => {
  await withServer({ env: { EMBEDDING_MODEL: "" } }, async (server) => {
    const { problems, models } = await status(server);
    expect(problems).toEqual([
      { severity: "WARNING", message: expect.stringContaining("by words"), fix: expect.stringContaining("EMBEDDING_MODEL") },
    ]);
    expect(models.map(({ role }) => role)).toEqual(["CHAT", "MEMORY", "SUMMARY"]);
  });
});

test("a model server that is not running: start LM Studio, and all is well once it runs", async () => {
  const gone = await startModelServer();
  await gone.close();
  await withServer({ env: { OPENAI_BASE_URL: gone.url } }, async (server) => {
    const { problems, models } = await status(server);
    expect(problems).toEqual([
      {
        severity: "ERROR",
        message: `The model server at ${gone.url} does not answer.`,
        fix: expect.stringMatching(/^Start LM Studio .*load a model and start its local server\.$/),
      },
    ]);
    expect(models[0]).toMatchObject({ role: "CHAT", model: "scripted-model", available: false });
  });
});

const WRONG: [string, (model: ModelServer) => void, RegExp, RegExp][] = [
  [
    "a bad key",
    (model) => model.respond(() => fails(401, { error: { message: "Incorrect API key provided" } })),
    /refused our key/,
    /OPENAI_API_KEY/,
  ],
  [
    "something else at the address",
    (model) => model.respond(() => fails(200, "<html>Welcome to nginx</html>", { "content-type": "text/html" })),
    /no model server sends/,
    /OPENAI_BASE_URL/,
  ],
  ["a wrong path", (model) => model.respond(() => fails(404, "Not Found")), /no model server at/, /OPENAI_BASE_URL/],
  ["a server that fails", (model) => model.respond(() => fails(500, { error: "out of memory" })), /failed \(500\)/, /log/],
  [
    "no model loaded",
    (model) => model.respond((request) => (request.purpose === "models" ? fails(200, { data: [] }) : undefined)),
    /No model is loaded/,
    /Load a chat model in LM Studio/,
  ],
];

test.each(WRONG)("%s is one error with its remedy", async (_, spoil, message, fix) => {
  spoil(shared.model);
  const { problems } = await status(shared);
  expect(problems).toHaveLength(1);
  expect(problems[0]?.severity).toBe("ERROR");
  expect(problems[0]?.message).toMatch(message);
  expect(problems[0]?.fix).toMatch(fix);
});

test("a model server that hangs delays the answer by seconds at most, and nothing else", async () => {
  shared.model.respond((request) => (request.purpose === "models" ? hangs() : undefined));
  const slow = status(shared);
  await shared.model.waitFor("models");
  const run = await shared.data("RunAgent", { input: { userId: "status-hang", message: "Hello!" } });
  expect(run.runAgent.run.status).toBe("COMPLETED");
  expect((await slow).problems).toMatchObject([{ severity: "ERROR", message: expect.stringContaining("did not list its models") }]);
});

test("a configured model that is not listed is an error until it has answered all the same", async () => {
  await withServer({ env: { MEMORY_MODEL: "qwen3-4b" } }, async (server) => {
    server.model.respond((request) =>
      request.body.model === "qwen3-4b" ? fails(404, { error: { message: "model not found" } }) : undefined,
    );
    const { problems, models } = await status(server);
    expect(problems).toEqual([
      {
        severity: "ERROR",
        message: expect.stringContaining("does not list qwen3-4b"),
        fix: expect.stringMatching(/MEMORY_MODEL.*scripted-model/),
      },
    ]);
    expect(models.map(({ role, available }) => [role, available])).toEqual([
      ["CHAT", true],
      ["MEMORY", false],
      ["SUMMARY", true],
      ["EMBEDDING", true],
    ]);
    server.model.respond(() => undefined);
    expect((await status(server)).problems).toEqual([]);
  });
  await withServer({ env: { CHAT_MODEL: "qwen3" }, quirks: { models: ["qwen3:latest", "text-embedding"] } }, async (server) => {
    expect((await status(server)).problems).toEqual([]);
  });
});

test("without a configured model the first one listed that chats is named", async () => {
  await withServer({ env: { CHAT_MODEL: "" }, quirks: { models: ["text-embedding", "qwen3-1.7b"] } }, async (server) => {
    const { problems, models } = await status(server);
    expect(problems).toEqual([]);
    expect(models[0]).toMatchObject({ role: "CHAT", model: "qwen3-1.7b", available: true });
    expect((await server.data("Agents")).agents[0].model).toBeNull();
  });
});

test("a server without JSON schemas is seen to answer in text", async () => {
  await withServer({ quirks: { refuses: ["json_schema"] } }, async (server) => {
    const { problems, models } = await status(server);
    expect(problems).toEqual([]);
    expect(models[1]).toMatchObject({ role: "MEMORY", structuredOutput: "TEXT" });
  });
});

const WEAK: [string, (model: ModelServer) => void][] = [
  ["finds nothing", (model) => model.script("extraction", saysJson({ facts: [] }))],
  [
    "makes things up",
    (model) => model.script("extraction", saysJson({ facts: [{ text: "User has a dog named Rex", quote: "I have a dog named Rex" }] })),
  ],
  ["cannot keep to a form", (model) => model.script("extraction", says("Hello Alice!"), says("How nice!"))],
];

test.each(WEAK)("a memory model that %s in a plain sentence is too small, and a larger one is the remedy", async (_, weaken) => {
  await withServer({}, async (server) => {
    weaken(server.model);
    expect((await status(server)).problems).toEqual([
      { severity: "WARNING", message: expect.stringContaining("too small"), fix: expect.stringContaining("MEMORY_MODEL") },
    ]);
  });
});

test("work given up is an error; its remedy brings the facts back", async () => {
  await withServer({}, async (server) => {
    server.model.respond((request) => (request.purpose === "extraction" && request.prompt.includes("hiking.\n") ? says("No.") : undefined));
    const input = { userId: "status-dead", sessionId: "s", message: "I love hiking." };
    const { run } = (await server.data("RunAgent", { input })).runAgent;
    await server.drain();
    const { problems, queue } = await status(server);
    expect(queue).toMatchObject({ failed: 1, waiting: 0 });
    const problem = problems.find(({ message }) => message.includes("given up"));
    expect(problem).toMatchObject({ severity: "ERROR" });
    server.model.respond(() => undefined);
    const look = /SELECT .*'DEAD'/.exec(problem?.fix ?? "")?.[0] ?? "";
    const found = await server.context.database.inspect(look);
    expect(found).toEqual([{ user_id: "status-dead", kind: "extract-memories", run_id: run.runId, lane: "memory" }]);
    expect(problem?.fix).toContain("retryMemoryUpdate");
    await server.data("RetryMemoryUpdate", { input: { userId: "status-dead", runId: run.runId } });
    await server.drain();
    expect((await server.data("Run", { userId: "status-dead", runId: run.runId })).run.memoryUpdate).toMatchObject({
      status: "DONE",
      changes: [{ memory: { memory: "User loves hiking" } }],
    });
    expect((await status(server)).queue).toMatchObject({ failed: 0 });
  });
});

test("requests that name no user show up, over GraphQL and over REST", async () => {
  await withServer({}, async (server) => {
    const answer = await server.graphql("RunAgent", { input: { message: "Hello!" } });
    expect(answer.errors?.[0]).toMatchObject({
      message: expect.stringContaining("Send the userId argument"),
      extensions: { code: "BAD_USER_INPUT" },
    });
    const rest = await fetch(`${server.url}/v1/agents/rag-agent/run`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ message: "Hello!" }),
    });
    expect(rest.status).toBe(400);
    expect((await status(server)).problems).toEqual([
      { severity: "WARNING", message: expect.stringContaining("2 since the start"), fix: expect.stringContaining("alice@example.com") },
    ]);
  });
});

test("a database that is gone is said, and the rest of the status still stands", async () => {
  const files = await createTestDatabase();
  const database = await openDatabase(files.options);
  await database.close();
  const server = createOpenAiModel({ baseUrl: model.url, apiKey: null, model: "scripted-model" });
  const reader = createStatusReader({
    version: "1",
    authentication: false,
    models: { CHAT: "scripted-model", MEMORY: null, SUMMARY: null, EMBEDDING: "text-embedding" },
    modelServer: createModelProbe({ server, rules: () => null }),
    database: createDatabaseProbe(database),
    jobs: createJobStore(database, { owner: "test", leaseSeconds: 15 }),
    pieces: null,
    tryMemoryModel: async () => true,
  });
  const status = await reader.read();
  await files.remove();
  expect(status.problems).toMatchObject([
    { severity: "ERROR", message: expect.stringMatching(/database/i), fix: expect.stringMatching(/\w/) },
  ]);
  expect(status.database).toMatchObject({ available: false, version: null });
  expect(status.queue).toEqual({ waiting: 0, running: 0, failed: 0, oldestWaitingSeconds: null });
  expect(status.models[0]).toMatchObject({ available: true });
});
