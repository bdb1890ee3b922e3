import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { ChatRequest } from "../src/agent/ports.ts";
import { createOpenAiModel, type OpenAiOptions } from "../src/models/openai.ts";
import { chunk, event, fails, says, speechEvents, streams } from "./support/model-answers.ts";
import { lmStudio } from "./support/model-quirks.ts";
import { codeOf, readParts as read } from "./support/model-reading.ts";
import { type ModelServer, startModelServer } from "./support/model-server.ts";

const HELLO: ChatRequest = { model: "m1", messages: [{ role: "user", content: "Say hello" }], purpose: "reply" };
const never = new AbortController().signal;

let server: ModelServer;

beforeEach(async () => {
  server = await startModelServer();
});

afterEach(async () => {
  await server.close();
});

function model(options: Partial<OpenAiOptions> = {}) {
  return createOpenAiModel({ baseUrl: server.url, apiKey: null, model: null, ...options, deadlines: { backoff: 2, ...options.deadlines } });
}

describe("a streamed reply", () => {
  it("comes in pieces and ends with the server's count and the model it names", async () => {
    server.script("reply", says("Hello there, Alice", { model: "qwen3-1.7b-q4" }));
    const parts = [];
    for await (const part of model().stream(HELLO, never)) {
      parts.push(part);
    }
    expect(parts).toEqual([
      { type: "text-delta", delta: "Hello" },
      { type: "text-delta", delta: " there," },
      { type: "text-delta", delta: " Alice" },
      { type: "finish", usage: { inputTokens: 2, outputTokens: 3, estimated: false }, model: "qwen3-1.7b-q4" },
    ]);
    expect(server.requests[0]?.headers.authorization).toBe("Bearer not-needed");
  });

  it("is counted by us when the server does not count, and carries the asked model when it names none", async () => {
    server.script("reply", says("Hello there", { usage: false, model: null }));
    const { finish } = await read(model().stream(HELLO, never));
    expect(finish).toEqual({ type: "finish", usage: { inputTokens: 7, outputTokens: 3, estimated: true }, model: "m1" });
  });

  it("is given out while the model is still writing", async () => {
    const gate = server.hold(1);
    server.script("reply", says("one two"));
    const parts = model().stream(HELLO, never)[Symbol.asyncIterator]();
    expect((await parts.next()).value).toEqual({ type: "text-delta", delta: "one" });
    gate.release();
    expect((await parts.next()).value).toEqual({ type: "text-delta", delta: " two" });
    expect((await parts.next()).value).toMatchObject({ type: "finish" });
    expect((await parts.next()).done).toBe(true);
  });

  it("tolerates chunks without choices, without delta and with odd extras", async () => {
    const oddities = [
      chunk(null),
      { choices: [{}] },
      { choices: [{ delta: null }], usage: null },
      { choices: [{ delta: { content: null }, finish_reason: "" }], usage: "many" },
      { choices: [{ delta: { content: "fine" }, finish_reason: null }], model: 7 },
      { choices: [{ delta: {}, finish_reason: "stop" }] },
      {},
    ];
    server.script("reply", streams(`: a comment\n\n${oddities.map(event).join("")}${event("[DONE]")}`));
    expect(await read(model().stream(HELLO, never))).toMatchObject({ text: "fine", finish: { model: "m1" }, error: null });
  });

  it("is complete without [DONE] and without a count once the finish reason is there, even when the connection breaks then", async () => {
    const body = event(chunk({ delta: { content: "done" } })) + event(chunk({ delta: {}, finish_reason: "stop" }));
    server.script("reply", streams(body, "clean"), streams(body, "cut"), streams(body, "open"), streams(`${body}data: {"cho`, "clean"));
    for (let count = 0; count < 4; count++) {
      const { text, finish, error } = await read(model({ deadlines: { idle: 50 } }).stream(HELLO, never));
      expect([text, finish?.type, error]).toEqual(["done", "finish", null]);
    }
  });

  it("is asked for without stream_options where the server refuses them, once and for all", async () => {
    await server.close();
    server = await startModelServer({ refuses: ["stream_options"] });
    const chat = model();
    expect((await read(chat.stream(HELLO, never))).finish).toMatchObject({ usage: { estimated: true } });
    expect((await read(chat.stream(HELLO, never))).error).toBeNull();
    expect(server.requests.map(({ body }) => "stream_options" in body)).toEqual([true, false, false]);
  });

  it("keeps what a model thinks out of its text, whichever way the server sends it", async () => {
    const thinkings = [
      says("Hi Alice", { reasoning: "She greets me" }),
      says("Hi Alice", { reasoning: "She greets me", reasoningField: "reasoning" }),
      says("", { pieces: ["<thi", "nk>She greets", " me</th", "ink>\n\nHi ", "Alice"] }),
      says("", { pieces: ["Let me see", "</think>", "\n\nHi Alice"] }),
    ];
    server.script("reply", ...thinkings);
    for (const thinking of ["She greets me", "She greets me", "She greets me", "Let me see"]) {
      expect(await read(model().stream(HELLO, never))).toMatchObject({ text: "Hi Alice", reasoning: thinking, error: null });
    }
  });

  it("is held back where an earlier one has shown that its model begins inside a think block", async () => {
    const thinking = says("", { pieces: ["She greets me", "</think>", "Hi Alice"] });
    server.script("reply", thinking, thinking);
    const chat = model();
    await read(chat.stream(HELLO, never));
    expect(await read(chat.stream(HELLO, never))).toMatchObject({ text: "Hi Alice", reasoning: "She greets me" });
  });

  it("is never taken for complete when it was cut before the finish reason, wherever that was", async () => {
    const { before, pieces, after } = speechEvents(says("Hello Alice", { reasoning: "hm" }), "m1", {
      prompt_tokens: 1,
      completion_tokens: 2,
    });
    const body = [...before, ...pieces, ...after].join("");
    const finished = body.indexOf("\n", body.indexOf('"finish_reason":"stop"'));
    const chat = model();
    for (let length = 0; length <= body.length; length++) {
      server.script("reply", streams(body.slice(0, length)));
      const { finish, error } = await read(chat.stream(HELLO, never));
      const isWhole = length >= finished;
      expect([length, finish?.type, error && codeOf(error)]).toEqual([
        length,
        ...(isWhole ? ["finish", null] : [undefined, "MODEL_BAD_RESPONSE"]),
      ]);
    }
    expect(server.requests).toHaveLength(body.length + 1);
  });

  it.each([
    ["length", /length limit.*larger context/],
    ["content_filter", /content filter/],
    ["error", /gave up/],
  ])("that stopped because of %s keeps its text and fails with a remedy", async (finish, message) => {
    server.script("reply", says("As far as", { finish }));
    const result = await read(model().stream(HELLO, never));
    expect(result).toMatchObject({ text: "As far as", finish: null, error: { code: "MODEL_BAD_RESPONSE" } });
    expect(String(result.error)).toMatch(message);
  });

  it("without any text is a failure that names the context as a likely cause", async () => {
    server.script("reply", says(""), says(" \n"), says("", { reasoning: "Hmm" }));
    for (const message of [/its context may be too small/, /its context may be too small/, /only thought/]) {
      const { finish, error } = await read(model().stream(HELLO, never));
      expect([finish, codeOf(error)]).toEqual([null, "MODEL_BAD_RESPONSE"]);
      expect(String(error)).toMatch(message);
    }
  });

  it("stops at the server when its reader goes away", async () => {
    server.hold(1);
    for await (const part of model().stream(HELLO, never)) {
      expect(part.type).toBe("text-delta");
      break;
    }
    await server.requests[0]?.closed;
    expect(server.requests[0]?.aborted).toBe(true);
  });

  it("prints nothing of what was said, whatever goes wrong", async () => {
    const spies = (["log", "info", "warn", "error", "debug"] as const).map((name) => vi.spyOn(console, name).mockImplementation(() => {}));
    server.script("reply", streams('data: {"secret": \n\n'), fails(400, { error: "secret" }));
    await read(model().stream(HELLO, never));
    await read(model().stream(HELLO, never));
    expect(spies.flatMap((spy) => spy.mock.calls)).toEqual([]);
    vi.restoreAllMocks();
  });
});

describe("the model", () => {
  const ANY: ChatRequest = { ...HELLO, model: null };

  it("is the first listed one that is not for embeddings, looked up once", async () => {
    await server.close();
    server = await startModelServer(lmStudio);
    const chat = model();
    expect((await read(chat.stream(ANY, never))).finish).toMatchObject({ model: "qwen3-1.7b" });
    expect((await read(chat.stream(ANY, never))).finish).toMatchObject({ model: "qwen3-1.7b" });
    expect(server.requests.map((request) => request.purpose)).toEqual(["models", "reply", "reply"]);
    expect(await chat.list(never)).toEqual(["text-embedding-nomic-embed-text-v1.5", "qwen3-1.7b"]);
  });

  it("is the request's before the configured one before any listed", async () => {
    const chat = model({ model: "configured" });
    await read(chat.stream(HELLO, never));
    await read(chat.stream(ANY, never));
    expect(server.requests.map((request) => request.body.model)).toEqual(["m1", "configured"]);
  });

  it("is looked up again when the server has it no more", async () => {
    const chat = model();
    await read(chat.stream(ANY, never));
    server.script("models", fails(200, { data: [{ id: "bge-m3" }, { id: "gemma-3-1b" }] }));
    server.script("reply", fails(404, { error: { message: 'model "scripted-model" not found, try pulling it first' } }));
    expect((await read(chat.stream(ANY, never))).finish).toMatchObject({ model: "gemma-3-1b" });
  });

  it("that is missing gives MODEL_UNAVAILABLE with the way to get one", async () => {
    server.script("models", fails(200, { data: [{ id: "nomic-embed-text" }] }), fails(200, { object: "list" }));
    for (let count = 0; count < 2; count++) {
      const { error } = await read(model().stream(ANY, never));
      expect(String(error)).toMatch(/No model is loaded at http:\/\/127.*Load a chat model in LM Studio.*CHAT_MODEL/);
      expect(codeOf(error)).toBe("MODEL_UNAVAILABLE");
    }
  });
});
