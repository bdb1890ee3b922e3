/** Who asks the model server next: replies first, background work in what is left, and nobody waits for ever. */

import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { ChatModel, ChatRequest } from "../src/agent/ports.ts";
import type { UserId } from "../src/agent/types.ts";
import { createOpenAiModel, type OpenAiOptions } from "../src/models/openai.ts";
import { CallSchedule, isLocal, type ScheduleOptions } from "../src/models/schedule.ts";
import { POSTGRES_URL } from "./support/database.ts";
import type { Gate } from "./support/model-answers.ts";
import { codeOf, readParts } from "./support/model-reading.ts";
import { lastUserText, type RecordedRequest } from "./support/model-request.ts";
import { type ModelServer, startModelServer } from "./support/model-server.ts";
import { startTestServer } from "./support/server.ts";

const FACTS = { name: "facts", schema: {} };
const never = new AbortController().signal;

let server: ModelServer;

beforeEach(async () => {
  server = await startModelServer();
});

afterEach(async () => {
  await server.close();
});

/** A schedule in front of the model server, and calls whose messages tell them apart. */
function scheduled(options: Partial<ScheduleOptions> = {}, deadlines: OpenAiOptions["deadlines"] = {}) {
  const schedule = new CallSchedule({ concurrency: 1, local: true, resting: () => null, ...options });
  const model: ChatModel = schedule.around(createOpenAiModel({ baseUrl: server.url, apiKey: null, model: null, deadlines }));
  const request = (content: string, purpose: ChatRequest["purpose"], job?: ChatRequest["job"]): ChatRequest => ({
    model: "m1",
    messages: [{ role: "user", content }],
    purpose,
    ...(job && { job }),
  });
  return {
    schedule,
    model,
    request,
    reply: (name: string, signal = never) => readParts(model.stream(request(name, "reply"), signal)),
    /** `age`: for how many seconds it could have been done. */
    learn: (name: string, { age = 0, user = "somebody", signal = never }: { age?: number; user?: string; signal?: AbortSignal } = {}) =>
      model.answer(request(name, "memory", { since: new Date(Date.now() - age * 1_000), userId: user as UserId }), FACTS, signal),
  };
}

/** The messages asked so far, in order. */
function asked(): string[] {
  return server.requests.map(({ body }) => lastUserText(body.messages ?? []));
}

function named(name: string): (request: RecordedRequest) => boolean {
  return ({ body }) => lastUserText(body.messages ?? []) === name;
}

/** Begins a reply and holds it at the model server after its first word. */
async function hold(reply: (name: string) => Promise<unknown>, name: string): Promise<{ gate: Gate; ended: Promise<unknown> }> {
  const gate = server.hold(1);
  const ended = reply(name);
  await server.waitFor(named(name));
  return { gate, ended };
}

describe("model calls", () => {
  it("wait for a place, replies before background work, first come first", async () => {
    const { reply, learn } = scheduled();
    const { gate, ended } = await hold(reply, "reply 1");
    const rest = [learn("facts 1"), reply("reply 2"), learn("facts 2"), reply("reply 3")];
    gate.release();
    await Promise.all([ended, ...rest]);
    expect(asked()).toEqual(["reply 1", "reply 2", "reply 3", "facts 1", "facts 2"]);
  });

  it("of the background leave a local server to replies while one is under way, though there is a place", async () => {
    const { reply, learn } = scheduled({ concurrency: 3 });
    const { gate, ended } = await hold(reply, "reply 1");
    const background = learn("facts");
    await reply("reply 2");
    await reply("reply 3");
    expect(asked()).toEqual(["reply 1", "reply 2", "reply 3"]);
    gate.release();
    await Promise.all([ended, background]);
    expect(asked()).toEqual(["reply 1", "reply 2", "reply 3", "facts"]);
  });

  it("of the background take the free places of a server elsewhere", async () => {
    const { reply, learn } = scheduled({ concurrency: 2, local: false });
    const { gate, ended } = await hold(reply, "reply 1");
    await learn("facts");
    gate.release();
    await ended;
    expect(asked()).toEqual(["reply 1", "facts"]);
  });

  it("that are overdue take turns with the replies that wait", async () => {
    const { reply, learn } = scheduled();
    const { gate, ended } = await hold(reply, "reply 1");
    const rest = [reply("reply 2"), reply("reply 3"), learn("old 1", { age: 31 }), learn("old 2", { age: 31 }), learn("new", { age: 29 })];
    gate.release();
    await Promise.all([ended, ...rest]);
    expect(asked()).toEqual(["reply 1", "old 1", "reply 2", "old 2", "reply 3", "new"]);
  });

  it("become overdue while they wait, and then take a free place although a reply is under way", async () => {
    const { reply, learn } = scheduled({ concurrency: 2, overdueAfter: 30 });
    const { gate, ended } = await hold(reply, "reply 1");
    await learn("facts");
    gate.release();
    await ended;
    expect(asked()).toEqual(["reply 1", "facts"]);
  });

  it("of a user whose memories somebody waits for go before all others, as long as they wait", async () => {
    const { reply, learn, schedule } = scheduled({ concurrency: 2 });
    const { gate, ended } = await hold(reply, "reply 1");
    const [first, second] = [learn("facts 1", { user: "ada" }), learn("facts 2", { user: "bob" })];
    const releases = [schedule.awaits("bob" as UserId), schedule.awaits("bob" as UserId)];
    await second;
    expect(asked()).toEqual(["reply 1", "facts 2"]);
    releases[0]?.();
    await learn("facts 3", { user: "bob" });
    releases[1]?.();
    const late = learn("facts 4", { user: "bob" });
    await reply("reply 2");
    expect(asked()).toEqual(["reply 1", "facts 2", "facts 3", "reply 2"]);
    gate.release();
    await Promise.all([ended, first, late]);
  });

  it("leave the queue when they are cancelled, and are never sent", async () => {
    const { reply, learn } = scheduled();
    const { gate, ended } = await hold(reply, "reply 1");
    const controller = new AbortController();
    const cancelled = [
      reply("reply 2", controller.signal),
      learn("facts", { signal: controller.signal }).catch((error: unknown) => ({ error })),
    ];
    const last = reply("reply 3");
    controller.abort();
    expect((await Promise.all(cancelled)).map((result) => codeOf((result as { error: unknown }).error))).toEqual([
      "CANCELLED",
      "CANCELLED",
    ]);
    gate.release();
    await Promise.all([ended, last]);
    expect(asked()).toEqual(["reply 1", "reply 3"]);
  });

  it("hold their place until the stream ends or its reader leaves", async () => {
    const { model, request, reply } = scheduled();
    const gate = server.hold(1);
    let next: Promise<unknown> = Promise.resolve();
    for await (const part of model.stream(request("reply 1", "reply"), never)) {
      expect(part.type).toBe("text-delta");
      next = reply("reply 2");
      expect(asked()).toEqual(["reply 1"]);
      break;
    }
    await next;
    expect(asked()).toEqual(["reply 1", "reply 2"]);
    gate.release();
  });

  it("that are replies wait for their turn only so long, and are told of MODEL_CONCURRENCY; other deadlines begin with the request", async () => {
    const { reply, learn } = scheduled({ patience: 60 }, { answer: 40 });
    const { gate, ended } = await hold(reply, "reply 1");
    const background = learn("facts");
    const { error } = await reply("reply 2");
    expect(codeOf(error)).toBe("MODEL_TIMEOUT");
    expect(String(error)).toMatch(/waited 0\.1 s for its turn: 1 requests .* raise MODEL_CONCURRENCY/);
    gate.release();
    await Promise.all([ended, background]);
    expect(asked()).toEqual(["reply 1", "facts"]);
  });

  it.each([
    ["http://localhost:1234/v1", true],
    ["http://127.0.0.1:11434/v1", true],
    ["http://[::1]:8080/v1", true],
    ["http://192.168.1.5:1234/v1", false],
    ["https://api.openai.com/v1", false],
    ["http://localhost.example.com/v1", false],
  ])("to %s: local is %s", (address, local) => {
    expect(isLocal(address)).toBe(local);
  });
});

describe("a server", () => {
  it("sends its model server no more than MODEL_CONCURRENCY requests at a time", async () => {
    let [open, most] = [0, 0];
    server.respond((request) => {
      most = Math.max(most, ++open);
      void request.closed.then(() => open--);
      return undefined;
    });
    const app = await startTestServer({ model: server, env: { MODEL_CONCURRENCY: "2" } });
    const gates = Array.from({ length: 6 }, () => server.hold());
    const ask = (userId: string, waitFor: string) =>
      app.data("RunAgent", { input: { userId, message: "I love hiking.", idempotencyKey: userId }, waitFor });
    const users = gates.map((_, index) => `limit-${index}`);
    await Promise.all(users.map((userId) => ask(userId, "ACCEPTED")));
    for (const gate of gates) {
      await gate.reached;
      await app.data("Agents");
      gate.release();
    }
    await Promise.all(users.map((userId) => ask(userId, "MEMORY")));
    await app.close();
    expect(server.requests.length).toBeGreaterThanOrEqual(12);
    expect(most).toBe(2);
  }, 60_000);

  it("extracts first what is waited for, over HTTP, WebSocket and REST, while another reply is under way", async () => {
    const app = await startTestServer({ model: server, env: { MODEL_CONCURRENCY: "3" } });
    const gate = server.hold();
    const held = app.data("RunAgent", { input: { userId: "awaited-0", message: "Tell me a story." } });
    await server.waitFor("reply");
    await app.data("RunAgent", { input: { userId: "awaited-1", message: "I like tea." }, waitFor: "REPLY" });
    const { runAgent } = await app.data("RunAgent", { input: { userId: "awaited-2", message: "I love hiking." }, waitFor: "MEMORY" });
    expect(runAgent.run.memoryUpdate.status).toBe("DONE");
    const names: string[] = [];
    for await (const event of app.subscribe("SendMessage", { input: { userId: "awaited-3", message: "I love chess." }, until: "MEMORY" })) {
      names.push(event.__typename);
    }
    expect(names.at(-1)).toBe("MemoryUpdate");
    const response = await fetch(`${app.url}/v1/agents/rag-agent/run`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ message: "I love rowing.", user_id: "awaited-4", stream: true }),
    });
    expect(await response.text()).toContain("MemoryUpdateCompleted");
    expect(server.asked("extraction").map(({ prompt }) => /I l\w+ \w+/.exec(prompt.split("<user>").at(-1) ?? "")?.[0])).toEqual([
      "I love hiking",
      "I love chess",
      "I love rowing",
    ]);
    gate.release();
    await held;
    await server.waitFor(({ purpose, prompt }) => purpose === "extraction" && prompt.includes("I like tea"));
    await app.close();
  }, 60_000);

  it("carries out as many jobs at a time, on Postgres; two at most on the embedded database", async () => {
    const wanted = POSTGRES_URL === null ? 2 : 5;
    const app = await startTestServer({ model: server, env: { MODEL_CONCURRENCY: "5" } });
    const gates = Array.from({ length: wanted }, () => server.hold(0, "extraction"));
    for (let index = 0; index < wanted; index++) {
      await app.data("RunAgent", { input: { userId: `jobs-${index}`, message: "I love hiking." }, waitFor: "REPLY" });
    }
    await Promise.all(gates.map((gate) => gate.reached));
    expect(server.asked("extraction")).toHaveLength(wanted);
    for (const gate of gates) {
      gate.release();
    }
    await app.drain();
    await app.close();
  }, 60_000);
});
