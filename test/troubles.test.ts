/** Wrong things, said well: each in one line that says what to do. */

import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { AppError } from "../src/errors.ts";
import { reportFailure } from "../src/report-failure.ts";
import { databaseError } from "../src/stores/database-error.ts";
import { createTestDatabase, POSTGRES_URL } from "./support/database.ts";
import { type Answer, fails, says } from "./support/model-answers.ts";
import { runProgram } from "./support/processes.ts";
import { serverEnvironment, startTestServer, type TestServer } from "./support/server.ts";

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer({ env: { CHAT_MODEL: "" } });
});

afterEach(() => server.model.respond(() => undefined));

afterAll(() => server.close());

/** The error of a run whose model server gives this answer. */
async function errorOf(answer: Answer): Promise<{ code: string; message: string; retryable: boolean }> {
  server.model.respond(() => answer);
  const { run } = (await server.data("RunAgent", { input: { userId: "troubles", message: "Hello!" } })).runAgent;
  expect(run).toMatchObject({ status: "FAILED", reply: null });
  expect(run.error.message).not.toContain("\n");
  return run.error;
}

test("no model loaded: load one", async () => {
  const error = await errorOf(fails(200, { object: "list", data: [] }));
  expect(error).toMatchObject({
    code: "MODEL_UNAVAILABLE",
    message: expect.stringMatching(/No model is loaded at http.*Load a chat model in LM Studio/),
  });
});

test("wrong port, where something else answers: check the address", async () => {
  const error = await errorOf(fails(200, "<html><title>A shop</title></html>", { "content-type": "text/html" }));
  expect(error).toMatchObject({
    code: "MODEL_BAD_RESPONSE",
    message: expect.stringMatching(/no model server sends\. Check that OPENAI_BASE_URL/),
  });
});

test("bad key: set another", async () => {
  const error = await errorOf(fails(401, { error: { message: "Incorrect API key provided: sk-123" } }));
  expect(error).toMatchObject({
    code: "MODEL_UNAVAILABLE",
    message: expect.stringMatching(/refused our key \(401\)\. Set OPENAI_API_KEY/),
  });
});

test("a prompt longer than the model's context: load the model with a larger one", async () => {
  const error = await errorOf(
    fails(400, { error: "Trying to keep the first 4096 tokens when context the overflows. context length is 4096" }),
  );
  expect(error).toMatchObject({
    code: "MODEL_BAD_RESPONSE",
    message: expect.stringMatching(/longer than the model's context\. Load the model with a larger context/),
  });
});

test("a model too small for memory work: choose a larger one", async () => {
  server.model.respond((request) => (request.purpose === "extraction" ? says("I am glad to help!") : undefined));
  const { runId } = (await server.data("RunAgent", { input: { userId: "troubles-small", message: "I love hiking." } })).runAgent.run;
  await server.drain();
  const { run } = await server.data("Run", { userId: "troubles-small", runId });
  expect(run.memoryUpdate).toMatchObject({
    status: "FAILED",
    error: { code: "MODEL_BAD_RESPONSE", message: expect.stringContaining("Choose a larger model") },
  });
});

test("a full disk is a failure of its own, which clients may try again", () => {
  // As Postgres reports it, wrapped as its driver and MikroORM do.
  const cause = Object.assign(new Error("could not extend file: No space left on device"), { code: "53100" });
  const error = databaseError(new Error("insert failed", { cause }));
  expect(error).toBeInstanceOf(AppError);
  expect(error).toMatchObject({
    code: "STORAGE_FULL",
    retryable: true,
    message: "The database's disk is full. Make room, then try again.",
  });
  const log = { debug: () => undefined, error: () => expect.unreachable("an expected failure is not logged as an error") };
  expect(reportFailure(error, log).failure).toMatchObject({ code: "STORAGE_FULL", errorId: null });
});

test("a port that is taken ends the start with one line", async () => {
  const other = createServer().listen(0, "127.0.0.1");
  await once(other, "listening");
  const { port } = other.address() as AddressInfo;
  const database = await createTestDatabase();
  try {
    const { code, errors } = await runProgram("main", [], serverEnvironment(database, server.model, { PORT: String(port) }));
    expect(code).toBe(1);
    expect(errors).toEqual([`Port ${port} is taken by another program. Stop that one, or choose another port with PORT.`]);
  } finally {
    other.close();
    await database.remove();
  }
});

test.runIf(POSTGRES_URL === null)("a folder that another server has ends the start with one line that names its process", async () => {
  const { code, errors } = await runProgram("main", [], serverEnvironment(server.database, server.model));
  expect(code).toBe(1);
  expect(errors).toEqual([expect.stringContaining(`process ${process.pid}`)]);
});
