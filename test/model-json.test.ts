import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { AnswerSchema, ChatRequest } from "../src/agent/ports.ts";
import { createOpenAiModel, type OpenAiOptions } from "../src/models/openai.ts";
import { type Answer, fails, hangs, says, saysJson, sends } from "./support/model-answers.ts";
import { lmStudio, type Quirks } from "./support/model-quirks.ts";
import { type ModelServer, startModelServer } from "./support/model-server.ts";

const ASK: ChatRequest = { model: "m1", messages: [{ role: "user", content: "Colours?" }], purpose: "memory" };
const SCHEMA: AnswerSchema = {
  name: "colours",
  schema: { type: "object", properties: { colours: { type: "array", items: { type: "object" } } }, required: ["colours"] },
};
const RED = { colours: [{ name: "red" }] };
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

function answer(...answers: Answer[]) {
  server.script("answer", ...answers);
  return model().answer(ASK, SCHEMA, never);
}

describe("an answer in JSON", () => {
  it("is asked for by schema, cold and short, and comes with its count", async () => {
    expect(await answer(saysJson(RED, { model: "qwen" }))).toMatchObject({
      value: RED,
      usage: { inputTokens: 1, outputTokens: 1, estimated: false },
      model: "qwen",
    });
    expect(server.requests[0]?.body).toEqual({
      model: "m1",
      messages: ASK.messages,
      response_format: { type: "json_schema", json_schema: { ...SCHEMA, strict: true } },
      max_tokens: 1_024,
      temperature: 0,
    });
  });

  it("is asked for in words where the server refuses schemas, once and for all", async () => {
    await restart({ ...lmStudio, refuses: ["json_schema"] });
    server.respond(() => saysJson(RED));
    const chat = model();
    expect((await chat.answer(ASK, SCHEMA, never)).value).toEqual(RED);
    expect((await chat.answer(ASK, SCHEMA, never)).value).toEqual(RED);
    expect(server.requests.map(({ body }) => body.response_format?.type)).toEqual(["json_schema", undefined, undefined]);
    expect(server.requests[1]?.prompt).toContain(`schema "colours":\n${JSON.stringify(SCHEMA.schema)}`);
  });

  it("is asked for without whatever else the server refuses", async () => {
    await restart({ refuses: ["temperature", "max_tokens"] });
    server.respond(() => saysJson(RED));
    expect((await model().answer(ASK, SCHEMA, never)).value).toEqual(RED);
    expect(Object.keys(server.requests.at(-1)?.body ?? {})).toEqual(["model", "messages", "response_format"]);
  });

  it.each<[string, Answer]>([
    ["where the reasoning goes", says("", { reasoning: JSON.stringify(RED) })],
    ["where the reasoning goes elsewhere", says(" ", { reasoning: JSON.stringify(RED), reasoningField: "reasoning" })],
    ["behind a think block", says(`<think>{"colours": []}</think>${JSON.stringify(RED)}`)],
    ["behind the end of a think block", says(`Maybe {"colours": []}?</think>\n${JSON.stringify(RED)}`)],
    ["in a code fence", says(`Here you are:\n\`\`\`json\n${JSON.stringify(RED, null, 2)}\n\`\`\`\nAnything else?`)],
    ["with a broken end", says(`${JSON.stringify(RED).slice(0, -2)}, {"name": "gre`, { finish: "length" })],
  ])("is found %s", async (_name, said) => {
    expect((await answer(said)).value).toEqual(RED);
    expect(server.requests).toHaveLength(1);
  });

  it.each<[string, Answer, string, number]>([
    ["not JSON", says("Red, I think."), "it was not JSON", 4],
    ["empty", says(""), "it was empty", 1],
    ["cut off before anything was complete", says('{"colours": [{"na', { finish: "length" }), "it was too long and was cut off", 3],
  ])("that is %s is asked for once more, with the reason, and both are counted", async (_name, said, reason, outputTokens) => {
    expect(await answer(said, saysJson(RED))).toMatchObject({ value: RED, usage: { outputTokens } });
    expect(server.requests[1]?.prompt).toContain(reason);
  });

  it("that cannot be read twice is MODEL_BAD_RESPONSE with a remedy", async () => {
    await expect(answer(says("Red"), says("Green"))).rejects.toMatchObject({
      code: "MODEL_BAD_RESPONSE",
      message: expect.stringMatching(/not JSON\. Choose a larger model/),
    });
    expect(server.requests).toHaveLength(2);
  });

  it.each<[string, Answer]>([
    ["a web page", sends("text/html", "<html></html>")],
    ["no choices", fails(200, { choices: [] })],
    ["a choice of a wrong type", fails(200, { choices: [{ message: "red" }] })],
    ["broken JSON", sends("application/json", '{"choices": [')],
    ["an error with status 200", fails(200, { error: "Unexpected endpoint" })],
    ["a withheld answer", says("", { finish: "content_filter" })],
  ])("that is %s is MODEL_BAD_RESPONSE at once", async (_name, said) => {
    await expect(answer(said)).rejects.toMatchObject({ code: "MODEL_BAD_RESPONSE" });
    expect(server.requests).toHaveLength(1);
  });

  it("is tried again after a failure that may pass", async () => {
    expect((await answer(fails(503), { ...sends("application/json", "{"), ending: "cut" }, saysJson(RED))).value).toEqual(RED);
    expect(server.requests).toHaveLength(3);
  });

  it("that does not come is MODEL_TIMEOUT, and CANCELLED when the caller gave up", async () => {
    server.script("answer", hangs(), hangs());
    await expect(model({ deadlines: { answer: 50 } }).answer(ASK, SCHEMA, never)).rejects.toMatchObject({ code: "MODEL_TIMEOUT" });
    const controller = new AbortController();
    const asking = model().answer({ ...ASK, model: "m2" }, SCHEMA, controller.signal);
    const request = await server.waitFor(({ body }) => body.model === "m2");
    controller.abort();
    await expect(asking).rejects.toMatchObject({ code: "CANCELLED" });
    await request.closed;
    expect(request.aborted).toBe(true);
  });
});
