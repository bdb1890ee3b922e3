/** A model server that fails again and again is left alone for a moment: nobody waits for it, and nothing is lost. */

import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { ChatRequest } from "../src/agent/ports.ts";
import { ModelResting } from "../src/agent/ports.ts";
import { createOpenAiModel } from "../src/models/openai.ts";
import { type Answer, fails, hangs, says } from "./support/model-answers.ts";
import { codeOf, readParts } from "./support/model-reading.ts";
import { type ModelServer, startModelServer } from "./support/model-server.ts";
import { startTestServer, type TestServer } from "./support/server.ts";

const HELLO: ChatRequest = { model: "m1", messages: [{ role: "user", content: "Say hello" }], purpose: "reply" };
const never = new AbortController().signal;
/** As many failures in a row as it takes. */
const FAILURES = 5;

let server: ModelServer;

beforeEach(async () => {
  server = await startModelServer();
});

afterEach(async () => {
  await server.close();
});

/** A model server that is given no second chance, and left alone for `rest` ms. */
function connect(rest = 60_000) {
  const model = createOpenAiModel({ baseUrl: server.url, apiKey: null, model: null, rest, deadlines: { backoff: 1, firstToken: 2_000 } });
  return {
    model,
    ask: (signal = never) => readParts(model.stream(HELLO, signal)),
    state: () => model.breaker.status.state,
  };
}

/** Lets so many replies fail that the server is left alone. */
async function open({ ask, state }: ReturnType<typeof connect>): Promise<void> {
  server.respond(() => fails(503, { error: "Loading model" }));
  for (let count = 0; count < FAILURES; count++) {
    expect(state()).toBe("CLOSED");
    expect(codeOf((await ask()).error)).toBe("MODEL_UNAVAILABLE");
  }
  expect(state()).toBe("OPEN");
}

describe("the breaker", () => {
  it("opens after five failures in a row; then nothing is sent, and the error says why, what to do and when it is tried again", async () => {
    const connection = connect();
    const before = new Date();
    await open(connection);
    const sent = server.requests.length;
    const { error } = await connection.ask();
    expect(error).toBeInstanceOf(ModelResting);
    expect(error).toMatchObject({ code: "MODEL_UNAVAILABLE", details: { retryAfterSeconds: 60 } });
    expect(String(error)).toMatch(/failed \(503\): Loading model\. Try again .* again and again: it is asked again in 60 s\.$/);
    await expect(connection.model.answer({ ...HELLO, purpose: "memory" }, { name: "facts", schema: {} }, never)).rejects.toThrow(
      ModelResting,
    );
    expect(server.requests).toHaveLength(sent);
    const { since, nextTryAt } = connection.model.breaker.status;
    expect(since.getTime()).toBeGreaterThanOrEqual(before.getTime());
    expect((nextTryAt?.getTime() ?? 0) - since.getTime()).toBeGreaterThan(59_000);
  });

  it.each<[string, Answer]>([
    ["a bad key", fails(401)],
    ["a refused request", fails(400, { error: "kaputt" })],
    ["a prompt that is too long", fails(400, { error: { message: "maximum context length is 8192 tokens" } })],
    ["a missing model", fails(404, { error: { message: 'model "m1" not found' } })],
    ["a busy server", fails(429, "slow down", { "retry-after": "0" })],
    ["a reply that is none", says("", { pieces: [] })],
  ])("stays closed for %s: the server is at work", async (_name, answer) => {
    const { ask, state } = connect();
    server.respond(() => answer);
    for (let count = 0; count <= FAILURES; count++) {
      expect((await ask()).error).not.toBeNull();
    }
    expect(state()).toBe("CLOSED");
  });

  it.each<[string, Answer | undefined]>([
    ["a reply", undefined],
    ["a refusal", fails(400)],
  ])("counts only failures in a row: %s between them begins anew", async (_name, between) => {
    const { ask, state } = connect();
    for (let round = 0; round < 2; round++) {
      server.respond(() => fails(500));
      for (let count = 1; count < FAILURES; count++) {
        await ask();
      }
      server.respond(() => between);
      await ask();
    }
    expect(state()).toBe("CLOSED");
  });

  it("lets one request try the server after its rest; the others wait for what becomes of it, then are all sent", async () => {
    const connection = connect(0);
    await open(connection);
    server.respond(() => undefined);
    const gate = server.hold();
    const sent = server.requests.length;
    const trial = connection.ask();
    await gate.reached;
    expect(connection.state()).toBe("HALF_OPEN");
    const others = [connection.ask(), connection.ask()];
    expect(server.requests).toHaveLength(sent + 1);
    gate.release();
    expect((await Promise.all([trial, ...others])).map(({ error }) => error)).toEqual([null, null, null]);
    expect(connection.state()).toBe("CLOSED");
    expect(connection.model.breaker.status).toMatchObject({ nextTryAt: null, failure: null });
  });

  it("opens again at once when the trial fails, and refuses who waited for it", async () => {
    const connection = connect(20);
    await open(connection);
    await expect.poll(() => connection.model.breaker.room).toBe(1);
    const since = connection.model.breaker.status.since;
    let tell = (): void => undefined;
    const told = new Promise<void>((resolve) => {
      tell = resolve;
    });
    server.respond(() => {
      tell();
      return fails(500, { error: "still down" }, { "retry-after": "31" });
    });
    const trial = connection.ask();
    await told;
    const other = connection.ask();
    expect(String((await trial).error)).toMatch(/still down/);
    expect((await other).error).toBeInstanceOf(ModelResting);
    expect(connection.model.breaker.status.since).toEqual(since);
  });

  it("is not closed by a trial that was cancelled", async () => {
    const connection = connect(0);
    await open(connection);
    server.respond(() => hangs());
    const controller = new AbortController();
    const trial = connection.ask(controller.signal);
    await expect.poll(() => connection.state()).toBe("HALF_OPEN");
    controller.abort();
    expect(codeOf((await trial).error)).toBe("CANCELLED");
    expect(connection.state()).toBe("OPEN");
    expect(connection.model.breaker.status.failure?.message).toContain("Loading model");
  });
});

describe("with the model server down under load", () => {
  const statusOf = async (app: TestServer) => (await app.data("Doctor")).serverStatus;

  it("runs fail at once, everything else works, background work waits without being tried, and the status says so", async () => {
    const app = await startTestServer({
      model: server,
      overrides: { modelRest: 60_000, statusFreshness: 0 },
      env: { EMBEDDING_MODEL: "e" },
    });
    const say = (userId: string, message: string, waitFor = "REPLY") => app.data("RunAgent", { input: { userId, message }, waitFor });
    await say("down-0", "I love hiking.", "MEMORY");
    await server.close();
    const users = Array.from({ length: 6 }, (_, index) => `down-${index}`);
    const failed = await Promise.all(users.map((userId) => say(userId, "I like tea.")));
    expect(failed.map(({ runAgent }) => [runAgent.run.status, runAgent.run.error.code])).toEqual(
      users.map(() => ["FAILED", "MODEL_UNAVAILABLE"]),
    );
    const { problems, modelBreaker } = await statusOf(app);
    expect(modelBreaker.state).toBe("OPEN");
    expect(new Date(modelBreaker.nextTryAt).getTime()).toBeGreaterThan(new Date(modelBreaker.since).getTime());
    expect(problems[0]).toEqual({
      severity: "ERROR",
      message: expect.stringMatching(/does not answer\. It has failed again and again since \d{4}-.*: requests are refused at once/),
      fix: expect.stringMatching(/^Start LM Studio .*It is asked again by itself at \d{4}-/),
    });
    const refused = (await say("down-1", "I enjoy chess.")).runAgent.run;
    expect(refused.error.message).toMatch(/Start LM Studio .* it is asked again in \d+ s\.$/);
    const { memories } = await app.data("MemoriesByTopic", { userId: "down-0" });
    expect(memories.edges.map((edge: { node: { memory: string } }) => edge.node.memory)).toEqual(["User loves hiking"]);
    const jobs = await app.context.database.asOperator((transaction) =>
      transaction.query<{ tried: number }>(
        "select attempt as tried from recollect_jobs where kind = 'extract-memories' and state = 'READY'",
      ),
    );
    expect(jobs).toHaveLength(users.length + 1);
    expect(jobs.reduce((sum, { tried }) => sum + tried, 0)).toBeLessThanOrEqual(FAILURES);
    await app.close();
    server = await startModelServer();
  }, 60_000);

  it("a job that had waited for its turn is given back untried", async () => {
    const app = await startTestServer({ model: server, overrides: { modelRest: 60_000 } });
    const say = (userId: string, message: string) => app.data("RunAgent", { input: { userId, message }, waitFor: "REPLY" });
    const jobs = () =>
      app.context.database.asOperator((transaction) =>
        transaction.query("select state, attempt from recollect_jobs where kind = 'extract-memories' and user_id = 'untried'"),
      );
    const gate = server.hold();
    const held = say("talking", "Tell me a story.");
    await gate.reached;
    await say("untried", "I love hiking.");
    await expect.poll(jobs, { timeout: 20_000 }).toEqual([{ state: "RUNNING", attempt: 1 }]);
    server.respond(() => fails(503));
    await Promise.all(Array.from({ length: FAILURES }, (_, index) => say(`failing-${index}`, "Tell me a joke.")));
    gate.release();
    await held;
    await expect.poll(async () => (await jobs())[0], { timeout: 20_000 }).toEqual({ state: "READY", attempt: 0 });
    expect(server.asked("extraction")).toEqual([]);
    await app.close();
  }, 60_000);

  it("what was said meanwhile is learned by itself once the model server is back", async () => {
    const port = Number(new URL(server.url).port);
    const app = await startTestServer({ model: server, overrides: { modelRest: 300 } });
    const say = (userId: string, message: string) => app.data("RunAgent", { input: { userId, message }, waitFor: "REPLY" });
    await server.close();
    const users = Array.from({ length: 6 }, (_, index) => `back-${index}`);
    await Promise.all(users.map((userId) => say(userId, "I love hiking.")));
    await expect.poll(async () => (await statusOf(app)).modelBreaker.state, { timeout: 20_000 }).not.toBe("CLOSED");
    server = await startModelServer({}, port);
    const learned = async (): Promise<number> => {
      const pages = await Promise.all(users.map((userId) => app.data("MemoriesByTopic", { userId })));
      return pages.filter(({ memories }) => memories.edges.length === 1).length;
    };
    await expect.poll(learned, { timeout: 30_000, interval: 100 }).toBe(users.length);
    const { modelBreaker, queue } = await statusOf(app);
    expect(modelBreaker.state).toBe("CLOSED");
    expect(queue).toMatchObject({ waiting: 0, failed: 0 });
    await app.close();
  }, 60_000);
});
