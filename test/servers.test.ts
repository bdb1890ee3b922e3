/** What sets LM Studio, Ollama, llama.cpp's server and vLLM apart, met by the same code. None of them runs here: the scripted server plays their parts. */

import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { AnswerSchema, ChatRequest } from "../src/agent/ports.ts";
import { estimateTokens } from "../src/agent/tokens.ts";
import { createOpenAiModel, type OpenAiOptions } from "../src/models/openai.ts";
import { type Answer, chunk, event, fails, says, saysJson, sends, streams } from "./support/model-answers.ts";
import { llamaCpp, lmStudio, ollama, type Quirks, vllm } from "./support/model-quirks.ts";
import { codeOf, readParts } from "./support/model-reading.ts";
import { type ModelServer, startModelServer } from "./support/model-server.ts";
import { startTestServer } from "./support/server.ts";

const ANY: ChatRequest = { model: null, messages: [{ role: "user", content: "Say hello" }], purpose: "reply" };
const SCHEMA: AnswerSchema = {
  name: "colours",
  schema: { type: "object", properties: { colours: { type: "array" } }, required: ["colours"] },
};
const RED = { colours: ["red"] };
const never = new AbortController().signal;

let server: ModelServer;

beforeEach(async () => {
  server = await startModelServer();
});

afterEach(async () => {
  await server.close();
});

async function restart(quirks: Quirks): Promise<void> {
  await server.close();
  server = await startModelServer(quirks);
}

function model(options: Partial<OpenAiOptions> = {}) {
  return createOpenAiModel({ baseUrl: server.url, apiKey: null, model: null, ...options, deadlines: { backoff: 2, ...options.deadlines } });
}

interface Kind {
  name: string;
  quirks: Quirks;
  /** The model it answers with when none is named. */
  chosen: string;
  /** The field that carries what a model thinks. */
  reasoningField: "reasoning" | "reasoning_content";
  /** How it refuses a schema. */
  refusesSchema: Answer;
  /** How an error looks, and the words of it that are passed on. */
  error: Answer;
}

const KINDS: Kind[] = [
  {
    name: "LM Studio",
    quirks: lmStudio,
    chosen: "qwen3-1.7b",
    reasoningField: "reasoning_content",
    refusesSchema: fails(400, { error: "'response_format.type' must be 'text'" }),
    error: fails(400, { error: "Trying to keep the first 99 tokens failed" }),
  },
  {
    name: "Ollama",
    quirks: ollama,
    chosen: "qwen3:1.7b",
    reasoningField: "reasoning",
    refusesSchema: fails(400, {
      error: { message: "invalid format in response_format", type: "invalid_request_error", param: null, code: null },
    }),
    error: fails(400, { error: { message: "Trying to keep the first 99 tokens failed", type: "api_error", param: null, code: null } }),
  },
  {
    name: "llama.cpp's server",
    quirks: llamaCpp,
    chosen: "qwen3-1.7b-q4_k_m.gguf",
    reasoningField: "reasoning_content",
    refusesSchema: fails(400, {
      error: { code: 400, message: 'Either "json_schema" or "grammar" can be specified, but not both', type: "invalid_request_error" },
    }),
    error: fails(400, { error: { code: 400, message: "Trying to keep the first 99 tokens failed", type: "server_error" } }),
  },
  {
    name: "vLLM",
    quirks: vllm,
    chosen: "Qwen/Qwen3-1.7B",
    reasoningField: "reasoning",
    refusesSchema: fails(400, {
      object: "error",
      message: "guided decoding backend does not support this schema",
      type: "BadRequestError",
      param: null,
      code: 400,
    }),
    error: fails(400, {
      object: "error",
      message: "Trying to keep the first 99 tokens failed",
      type: "BadRequestError",
      param: null,
      code: 400,
    }),
  },
];

describe.each(KINDS)("$name", ({ quirks, chosen, reasoningField, refusesSchema, error }) => {
  it("answers and remembers without anything being configured but its address", async () => {
    await restart(quirks);
    const recollect = await startTestServer({ model: server, env: { CHAT_MODEL: "" } });
    try {
      const input = { userId: "alice", sessionId: "s", message: "Hi! My name is Alice. I love hiking." };
      const { runAgent } = await recollect.data("RunAgent", { input, waitFor: "MEMORY" });
      expect(runAgent.run).toMatchObject({ status: "COMPLETED", model: chosen, memoryUpdate: { status: "DONE" } });
      expect(runAgent.run.memoryUpdate.changes).toHaveLength(2);
      const { run } = await recollect.data("Run", { userId: "alice", runId: runAgent.run.runId });
      expect(run.usage).toMatchObject({ estimated: false });
      expect(server.asked("extraction").map(({ body }) => body.response_format?.type)).toEqual(["json_schema"]);
      const used = server.requests.flatMap(({ body }) => Object.keys(body));
      expect(used.filter((field) => ["tools", "tool_choice", "parallel_tool_calls", "n"].includes(field))).toEqual([]);
      expect(new Set(server.requests.flatMap(({ body }) => (body.messages ?? []).map(({ role }) => role)))).toEqual(
        new Set(["system", "user"]),
      );
    } finally {
      await recollect.close();
    }
  });

  it("lists its models, and the first one that is not for embeddings answers under the name it gives itself", async () => {
    await restart(quirks);
    const chat = model();
    expect(await chat.list(never)).toEqual(quirks.models);
    expect((await readParts(chat.stream(ANY, never))).finish).toMatchObject({ model: chosen });
    server.script("reply", says("Hello", { model: `${chosen}-instruct` }));
    expect((await readParts(chat.stream(ANY, never))).finish).toMatchObject({ model: `${chosen}-instruct` });
  });

  it("counts tokens in a last chunk without choices, or not at all", async () => {
    await restart(quirks);
    server.script("reply", says("Hello there"), says("Hello there", { usage: false }));
    const counted = await readParts(model().stream(ANY, never));
    expect(counted).toMatchObject({ text: "Hello there", finish: { usage: { inputTokens: 2, outputTokens: 2, estimated: false } } });
    expect((await readParts(model().stream(ANY, never))).finish).toMatchObject({ usage: { estimated: true } });
    expect(server.asked("reply")[0]?.body.stream_options).toEqual({ include_usage: true });
  });

  it("keeps what its model thinks apart from the reply, in a field of its own or in the text", async () => {
    await restart(quirks);
    server.script("reply", says("Hi", { reasoning: "She greets me", reasoningField }), says("<think>She greets me</think>Hi"));
    for (let count = 0; count < 2; count++) {
      expect(await readParts(model().stream(ANY, never))).toMatchObject({ text: "Hi", reasoning: "She greets me", error: null });
    }
  });

  it("gives the answer in JSON of a thinking model in the wrong field", async () => {
    await restart(quirks);
    server.script(
      "answer",
      says("", { reasoning: JSON.stringify(RED), reasoningField }),
      says("", { reasoning: `Hmm.</think>${JSON.stringify(RED)}`, reasoningField }),
    );
    expect((await model().answer(ANY, SCHEMA, never)).value).toEqual(RED);
    expect((await model().answer(ANY, SCHEMA, never)).value).toEqual(RED);
  });

  it("that refuses a schema is asked in words, once and for all", async () => {
    await restart(quirks);
    server.script("answer", refusesSchema, saysJson(RED), saysJson(RED));
    const chat = model();
    expect((await chat.answer(ANY, SCHEMA, never)).value).toEqual(RED);
    expect((await chat.answer(ANY, SCHEMA, never)).value).toEqual(RED);
    expect(server.asked("answer").map(({ body }) => "response_format" in body)).toEqual([true, false, false]);
  });

  it("that answers a schema with nothing is asked once more and then gives an error", async () => {
    await restart(quirks);
    server.script("answer", says(""), says(""));
    const failure = await model()
      .answer(ANY, SCHEMA, never)
      .catch((thrown: unknown) => thrown);
    expect(codeOf(failure)).toBe("MODEL_BAD_RESPONSE");
    expect(String(failure)).toMatch(/it was empty\. Choose a larger model, or switch its thinking off/);
  });

  it("reports errors in a form of its own, which comes through with its words and a remedy", async () => {
    await restart(quirks);
    server.script("reply", error);
    expect(String((await readParts(model().stream(ANY, never))).error)).toMatch(
      /refused the request \(400\): Trying to keep the first 99 tokens failed\. Look at its log/,
    );
  });

  it("that breaks off a reply with an error leaves its text and an error", async () => {
    await restart(quirks);
    const begun = event(chunk({ delta: { content: "Hello" } }));
    server.script(
      "reply",
      streams(begun + event({ error: { message: "out of memory", code: 500 } })),
      streams(`${begun}event: error\n${event({ error: "out of memory" })}`),
    );
    for (let count = 0; count < 2; count++) {
      const { text, error: failure } = await readParts(model().stream(ANY, never));
      expect([text, codeOf(failure)]).toEqual(["Hello", "MODEL_BAD_RESPONSE"]);
      expect(String(failure)).toContain("out of memory");
    }
  });

  it("that lists its models without saying that it sends JSON is understood", async () => {
    await restart(quirks);
    server.script("models", sends("text/plain", JSON.stringify({ object: "list", data: [{ id: "plain" }] })), {
      ...sends("", JSON.stringify({ data: [{ id: "bare" }] })),
      headers: {},
    });
    expect(await model().list(never)).toEqual(["plain"]);
    expect(await model().list(never)).toEqual(["bare"]);
    server.script("answer", { ...fails(200, { choices: [{ message: { content: JSON.stringify(RED) } }] }), headers: {} });
    expect((await model().answer({ ...ANY, model: "plain" }, SCHEMA, never)).value).toEqual(RED);
  });
});

describe("a model that is not there", () => {
  it.each([
    ["Ollama", ollama, /The model is not loaded: model "absent" not found, try pulling it first\. Load it.*CHAT_MODEL/],
    ["vLLM", vllm, /The model is not loaded: The model `absent` does not exist\. Load it.*CHAT_MODEL/],
  ])("is an error of %s with the way to get it", async (_name, quirks, message) => {
    await restart(quirks);
    const { error } = await readParts(model({ model: "absent" }).stream(ANY, never));
    expect(codeOf(error)).toBe("MODEL_UNAVAILABLE");
    expect(String(error)).toMatch(message);
  });

  it.each([
    ["LM Studio", lmStudio, "qwen3-1.7b"],
    ["llama.cpp's server", llamaCpp, "qwen3-1.7b-q4_k_m.gguf"],
  ])("is answered by whatever %s has loaded, and that one's name is reported", async (_name, quirks, loaded) => {
    await restart(quirks);
    expect((await readParts(model({ model: "absent" }).stream(ANY, never))).finish).toMatchObject({ model: loaded });
  });

  it("is an error of LM Studio when nothing is loaded and none may be", async () => {
    await restart({ ...lmStudio, models: [] });
    expect(String((await readParts(model().stream(ANY, never))).error)).toMatch(/No model is loaded at .* Load a chat model in LM Studio/);
    server.script(
      "reply",
      fails(404, { error: "No models loaded. Please load a model in the developer page or use the 'lms load' command." }),
    );
    expect(String((await readParts(model({ model: "absent" }).stream(ANY, never))).error)).toMatch(/not loaded.*CHAT_MODEL/);
  });

  it("that is still being loaded is waited for", async () => {
    await restart(llamaCpp);
    server.script("reply", fails(503, { error: { code: 503, message: "Loading model", type: "unavailable_error" } }), says("Hello"));
    expect(await readParts(model().stream(ANY, never))).toMatchObject({ text: "Hello", error: null });
  });
});

describe("a prompt longer than the model's context", () => {
  const LONG: ChatRequest = { model: null, messages: [{ role: "user", content: "word ".repeat(3_000) }], purpose: "reply" };

  it.each<[string, Quirks, RegExp]>([
    ["LM Studio, which says nothing at all", lmStudio, /answered with nothing; its context may be too small.*larger context length/],
    ["llama.cpp's server", llamaCpp, /longer than the model's context.*larger context length/],
    [
      "llama.cpp's server, with status 200",
      { ...llamaCpp, context: { words: 2_500, overflow: "reported" } },
      /longer than the model's context/,
    ],
    ["vLLM", vllm, /longer than the model's context.*larger context length/],
  ])("is an error of %s that names the remedy", async (_name, quirks, message) => {
    await restart(quirks);
    const { error, text } = await readParts(model().stream(LONG, never));
    expect([text, codeOf(error)]).toEqual(["", "MODEL_BAD_RESPONSE"]);
    expect(String(error)).toMatch(message);
  });

  it("is not sent to Ollama, which would cut it without a word: long conversations fit into 4,096 tokens", async () => {
    await restart(ollama);
    const recollect = await startTestServer({ model: server, env: { CHAT_MODEL: "" } });
    try {
      for (let turn = 1; turn <= 6; turn++) {
        const input = { userId: "alice", sessionId: "long", message: `Turn ${turn}. ${"The weather was fine that day. ".repeat(120)}` };
        await recollect.data("RunAgent", { input, waitFor: "REPLY" });
      }
      await recollect.drain();
      const sizes = server.requests.map(({ prompt }) => estimateTokens(prompt));
      expect(Math.max(...sizes)).toBeGreaterThan(2_000);
      expect(Math.max(...sizes)).toBeLessThan(4_096 - 800);
    } finally {
      await recollect.close();
    }
  });
});
