import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { ChatRequest } from "../src/agent/ports.ts";
import { AppError } from "../src/errors.ts";
import type { ModelEvent } from "../src/models/calls.ts";
import { DEFAULT_DEADLINES } from "../src/models/deadlines.ts";
import { createOpenAiModel, type OpenAiOptions } from "../src/models/openai.ts";
import { type Answer, chunk, event, fails, hangs, says, sends, streams } from "./support/model-answers.ts";
import { codeOf, readParts } from "./support/model-reading.ts";
import { type ModelServer, startModelServer } from "./support/model-server.ts";

const HELLO: ChatRequest = { model: "m1", messages: [{ role: "user", content: "Say hello" }], purpose: "reply" };
const never = new AbortController().signal;

let server: ModelServer;
let events: ModelEvent[];

beforeEach(async () => {
  server = await startModelServer();
  events = [];
});

afterEach(async () => {
  await server.close();
});

function model(options: Partial<OpenAiOptions> = {}) {
  const deadlines = { backoff: 2, ...options.deadlines };
  return createOpenAiModel({ baseUrl: server.url, apiKey: null, model: null, log: (each) => events.push(each), ...options, deadlines });
}

/** Asks for a reply that is answered so, and returns how it failed. */
async function failure(answers: Answer[], options: Partial<OpenAiOptions> = {}): Promise<AppError> {
  server.script("reply", ...answers);
  const { error, finish } = await readParts(model(options).stream(HELLO, never));
  expect(finish).toBeNull();
  expect(error).toBeInstanceOf(AppError);
  return error as AppError;
}

describe("trying again", () => {
  it.each([408, 409, 429, 500, 502, 503])("follows status %i until the reply comes", async (status) => {
    server.script("reply", fails(status), fails(status), says("Hello"));
    expect(await readParts(model().stream(HELLO, never))).toMatchObject({ text: "Hello", error: null });
    expect(server.requests).toHaveLength(3);
  });

  it("ends after four tries with MODEL_UNAVAILABLE and the server's words", async () => {
    const error = await failure([1, 2, 3, 4, 5].map((count) => fails(503, { error: { code: 503, message: `Loading model ${count}` } })));
    expect(error.code).toBe("MODEL_UNAVAILABLE");
    expect(error.message).toMatch(/failed \(503\): Loading model 4\. Try again/);
    expect(server.requests).toHaveLength(4);
  });

  it.each([400, 401, 403, 404, 413, 422])("does not follow status %i", async (status) => {
    await failure([fails(status), says("Hello")]);
    expect(server.requests).toHaveLength(1);
  });

  it("waits as long as the server asks, but not for ever", async () => {
    server.script("reply", fails(429, "slow down", { "retry-after-ms": "7" }), fails(429, "slow down", { "retry-after": "0" }));
    expect((await readParts(model().stream(HELLO, never))).error).toBeNull();
    expect(events).toEqual([
      { type: "retrying", try: 2, waitMs: 7, code: "MODEL_UNAVAILABLE" },
      { type: "retrying", try: 3, waitMs: 0, code: "MODEL_UNAVAILABLE" },
    ]);
    const error = await failure([fails(429, "slow down", { "retry-after": "3600" })]);
    expect(error).toMatchObject({ code: "MODEL_UNAVAILABLE", details: { retryAfterSeconds: 3_600 } });
    expect(error.message).toMatch(/is busy: slow down/);
    expect(server.requests).toHaveLength(4);
  });

  it("follows a connection that breaks before the first piece, never one that breaks after it", async () => {
    server.script("reply", says("Hello there", { cutAfter: 0 }), streams("", "cut"), says("Hello there"));
    expect(await readParts(model().stream(HELLO, never))).toMatchObject({ text: "Hello there", error: null });
    expect(server.requests).toHaveLength(3);

    server.script("reply", says("Hello there", { cutAfter: 1 }));
    const { text, error } = await readParts(model().stream(HELLO, never));
    expect([text, codeOf(error)]).toEqual(["Hello", "MODEL_BAD_RESPONSE"]);
    expect(String(error)).toMatch(/stopped before its answer was complete/);
    expect(server.requests).toHaveLength(4);
  });

  it("is soon over when no server listens, with the way to start one", async () => {
    await server.close();
    const { error } = await readParts(model().stream(HELLO, never));
    expect(codeOf(error)).toBe("MODEL_UNAVAILABLE");
    expect(String(error)).toContain(
      `The model server at ${server.url} does not answer. Start LM Studio (or the server OPENAI_BASE_URL names), load a model and start its local server.`,
    );
    expect(events).toHaveLength(3);
    server = await startModelServer();
  });
});

describe("deadlines", () => {
  it("end a reply that does not begin", async () => {
    const opening = event(chunk({ delta: { role: "assistant", content: "" } }));
    for (const answer of [hangs(), streams("", "open"), streams(opening, "open")]) {
      const error = await failure([answer], { deadlines: { firstToken: 50 } });
      expect(error.code).toBe("MODEL_TIMEOUT");
      expect(error.message).toMatch(/did not begin to answer within 0\.1 s.*choose a smaller model/);
    }
    expect(server.requests).toHaveLength(3);
    await Promise.all(server.requests.map((request) => request.closed));
    expect(server.requests.every((request) => request.aborted)).toBe(true);
  });

  it("end a reply that falls silent, after its text", async () => {
    server.script("reply", says("Hello there", { hangAfter: 1 }));
    const { text, error } = await readParts(model({ deadlines: { idle: 50 } }).stream(HELLO, never));
    expect([text, codeOf(error)]).toEqual(["Hello", "MODEL_TIMEOUT"]);
    expect(String(error)).toMatch(/sent nothing more within/);
  });

  it("do not count the time a reader takes between two pieces", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    try {
      server.script("reply", says("one two three"));
      const words = [];
      for await (const part of model().stream(HELLO, never)) {
        words.push(part.type === "text-delta" ? part.delta : part.type);
        vi.advanceTimersByTime(DEFAULT_DEADLINES.idle + 1);
      }
      expect(words).toEqual(["one", " two", " three", "finish"]);
    } finally {
      vi.useRealTimers();
    }
  });

  it("bound the whole reply, waits between tries included", async () => {
    const error = await failure([fails(503, "busy", { "retry-after": "20" })], { deadlines: { total: 50 } });
    expect(error.code).toBe("MODEL_TIMEOUT");
    const endless = says("word ".repeat(1_000), { hangAfter: 3 });
    expect((await failure([endless], { deadlines: { total: 60 } })).message).toMatch(/longer than 0\.1 s in all/);
  });

  it("bound a list of models that does not come", async () => {
    server.script("models", hangs(), hangs());
    await expect(model({ deadlines: { list: 40 } }).list(never)).rejects.toMatchObject({ code: "MODEL_TIMEOUT" });
    const { error } = await readParts(model({ deadlines: { list: 40 } }).stream({ ...HELLO, model: null }, never));
    expect(String(error)).toMatch(/did not list its models/);
  });
});

describe("cancelling", () => {
  it("reaches the server in the middle of a reply", async () => {
    const controller = new AbortController();
    server.script("reply", says("one two", { hangAfter: 1 }));
    let text = "";
    const reading = (async () => {
      for await (const part of model().stream(HELLO, controller.signal)) {
        text += part.type === "text-delta" ? part.delta : "";
        controller.abort();
      }
    })();
    await expect(reading).rejects.toMatchObject({ code: "CANCELLED" });
    expect(text).toBe("one");
    await server.requests[0]?.closed;
    expect(server.requests[0]?.aborted).toBe(true);
  });

  it("reaches the server before it answers", async () => {
    const controller = new AbortController();
    server.script("reply", hangs());
    const reading = readParts(model().stream(HELLO, controller.signal));
    const request = await server.waitFor("reply");
    controller.abort();
    expect(codeOf((await reading).error)).toBe("CANCELLED");
    await request.closed;
    expect(request.aborted).toBe(true);
  });

  it("ends a wait between two tries", async () => {
    const controller = new AbortController();
    server.script("reply", fails(503, "busy", { "retry-after": "20" }));
    const log = () => controller.abort();
    expect(codeOf((await readParts(model({ log }).stream(HELLO, controller.signal))).error)).toBe("CANCELLED");
  });

  it("in advance sends nothing at all", async () => {
    expect(codeOf((await readParts(model().stream(HELLO, AbortSignal.abort()))).error)).toBe("CANCELLED");
    expect(server.requests).toEqual([]);
  });
});

describe("what is no reply", () => {
  const page = "<!doctype html><html><body>It works!</body></html>";
  const endless = event(chunk({ delta: { content: "x".repeat(9_000_000) }, finish_reason: "stop" }));
  it.each<[string, Answer, RegExp]>([
    ["a web page", sends("text/html", page), /OPENAI_BASE_URL/],
    ["a web page in place of a stream", streams(page), /stopped before/],
    ["plain text", sends("text/plain", "ok"), /stopped before/],
    ["an empty body", streams(""), /stopped before/],
    ["JSON of something else", sends("application/json", '{"hello":"world"}'), /OPENAI_BASE_URL/],
    ["broken JSON", streams('data: {"choices": [{"delta": {\n\n'), /OPENAI_BASE_URL/],
    ["JSON that is no object", streams(event("null")), /OPENAI_BASE_URL/],
    ["choices of a wrong type", streams(event({ choices: "none" })), /OPENAI_BASE_URL/],
    ["content of a wrong type", streams(event(chunk({ delta: { content: 42 } }))), /OPENAI_BASE_URL/],
    ["an error event", streams(`event: error\n${event({ error: { message: "out of memory", code: 500 } })}`), /error: out of memory\. Try/],
    ["an error among the chunks", streams(event({ error: "slot unavailable" })), /error: slot unavailable\. Try/],
    ["an error with status 200", sends("application/json", '{"error":"Unexpected endpoint. (POST /x)"}'), /Unexpected.*OPENAI_BASE_URL/],
    ["a line of nine million characters", streams(endless), /more than a reply can hold/],
    ["an empty finish reason only", streams(event(chunk({ delta: { content: "Hello" }, finish_reason: "" }))), /stopped before/],
  ])("gives one typed error for %s", async (_name, answer, message) => {
    const error = await failure([answer]);
    expect(error.code).toBe("MODEL_BAD_RESPONSE");
    expect(error.message).toMatch(message);
    expect(server.requests).toHaveLength(1);
  });

  it("after some text leaves that text and gives the same error", async () => {
    server.script("reply", streams(event(chunk({ delta: { content: "Hello" } })) + event({ error: { message: "out of memory" } })));
    const { text, error } = await readParts(model().stream(HELLO, never));
    expect([text, codeOf(error)]).toEqual(["Hello", "MODEL_BAD_RESPONSE"]);
    expect(String(error)).toMatch(/reported an error: out of memory/);
  });
});

describe("a refusal", () => {
  it.each<[string, unknown]>([
    ["a text", { error: "kaputt" }],
    ["an object", { error: { message: "kaputt", type: "server_error", code: null } }],
    ["a flat object", { object: "error", message: "kaputt", code: 400 }],
    ["an object with a number for a code", { error: { code: 400, message: "kaputt" } }],
    ["no JSON", "kaputt"],
  ])("is quoted from %s", async (_name, body) => {
    expect((await failure([fails(400, body)])).message).toMatch(/refused the request \(400\): kaputt\. Look at its log/);
  });

  it("is quoted in one short line, and not at all when it is a web page", async () => {
    const error = await failure([fails(400, { error: `a\nb ${"long ".repeat(200)}` })]);
    expect(error.message).toMatch(/: a b long/);
    expect(error.message.length).toBeLessThan(350);
    expect((await failure([fails(400, "<html>Bad Request</html>")])).message).toMatch(/refused the request \(400\)\. Look/);
  });

  it.each<[string, Answer, string, RegExp]>([
    ["a wrong key", fails(401, { error: { message: "Incorrect key sk-abc" } }), "MODEL_UNAVAILABLE", /\(401\)\. Set OPENAI_API_KEY/],
    ["a forbidden key", fails(403), "MODEL_UNAVAILABLE", /\(403\)\. Set OPENAI_API_KEY/],
    ["no quota", fails(429, { error: { message: "No quota", code: "insufficient_quota" } }), "MODEL_UNAVAILABLE", /no quota left/],
    ["no loaded model", fails(404, { error: "No models loaded. Please load a model." }), "MODEL_UNAVAILABLE", /Load it in LM Studio/],
    ["an unknown model", fails(404, { error: { message: "The model `qwen2.5` does not exist." } }), "MODEL_UNAVAILABLE", /CHAT_MODEL/],
    ["a wrong address", fails(404, "Not Found"), "MODEL_UNAVAILABLE", /There is no model server at.*OPENAI_BASE_URL/],
    [
      "a prompt too long",
      fails(400, { error: { code: 400, message: "too big", type: "exceed_context_size_error", n_ctx: 4096 } }),
      "MODEL_BAD_RESPONSE",
      /longer than the model's context.*larger context/,
    ],
    [
      "a prompt too long for OpenAI",
      fails(400, { error: { message: "This model's maximum context length is 8192 tokens.", code: "context_length_exceeded" } }),
      "MODEL_BAD_RESPONSE",
      /longer than the model's context/,
    ],
  ])("for %s names the remedy", async (_name, answer, code, message) => {
    const error = await failure([answer]);
    expect(error.code).toBe(code);
    expect(error.message).toMatch(message);
    expect(server.requests).toHaveLength(1);
  });
});

describe("secrets", () => {
  it("are sent to the server and appear in no message", async () => {
    const said = fails(400, { error: "key sk-secret of hunter2 is odd" });
    const error = await failure([said], { apiKey: "sk-secret", baseUrl: server.url.replace("//", "//alice:hunter2@") });
    expect(server.requests[0]?.headers.authorization).toBe("Bearer sk-secret");
    expect(error.message).toContain("key *** of *** is odd");
    const away = { baseUrl: "http://alice:hunter2@127.0.0.1:1/v1?token=t0ken", apiKey: "sk-secret", deadlines: { backoff: 1 }, model: "m" };
    const { error: unreachable } = await readParts(createOpenAiModel(away).stream(HELLO, never));
    expect(String(unreachable)).toContain("http://127.0.0.1:1/v1 does not answer");
    expect(String(unreachable)).not.toMatch(/hunter2|sk-secret|t0ken/);
  });

  it("in the address serve as a Basic login where there is no key", async () => {
    await readParts(model({ baseUrl: server.url.replace("//", "//alice:hunter2@") }).stream(HELLO, never));
    expect(server.requests[0]?.headers.authorization).toBe(`Basic ${Buffer.from("alice:hunter2").toString("base64")}`);
  });

  it("in an address that is none are not repeated", () => {
    expect(() => model({ baseUrl: "alice:hunter2@localhost" })).toThrow(/^OPENAI_BASE_URL is not an http or https address/);
  });
});
