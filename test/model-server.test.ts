import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { estimateTokens } from "../src/agent/tokens.ts";
import { createOpenAiModel } from "../src/models/openai.ts";
import { lmStudio } from "./support/model-quirks.ts";
import { readParts } from "./support/model-reading.ts";
import { type ModelServer, startModelServer } from "./support/model-server.ts";

const ALICE = "Hi! My name is Alice. I love hiking and photography. I work as a data scientist.";
const never = new AbortController().signal;

let server: ModelServer;

beforeEach(async () => {
  server = await startModelServer();
});

afterEach(async () => {
  await server.close();
});

function answer(name: string, text: string) {
  const model = createOpenAiModel({ baseUrl: server.url, apiKey: null, model: "m1" });
  return model.answer({ model: null, messages: [{ role: "user", content: text }], purpose: "memory" }, { name, schema: {} }, never);
}

describe("the scripted model", () => {
  it.each([[], ["json_schema" as const]])("finds the facts in a message, with or without a schema", async (...refuses) => {
    await server.close();
    server = await startModelServer({ refuses });
    const { value } = await answer("facts", `Find facts.\n<user>${ALICE}</user>`);
    expect(server.requests.at(-1)?.purpose).toBe("extraction");
    expect(value).toMatchObject({
      facts: [
        { text: "User's name is Alice", quote: "My name is Alice", topics: ["personal", "identity"], kind: "identity", slot: "name" },
        { text: "User loves hiking", quote: "I love hiking and photography", topics: ["hobbies", "activities"], slot: "" },
        { text: "User loves photography", quote: "I love hiking and photography", topics: ["hobbies", "interests"], slot: "" },
        { text: "User works as a data scientist", quote: "I work as a data scientist", topics: ["career", "professional"] },
      ],
    });
  });

  it("finds nothing where nothing is said", async () => {
    expect((await answer("facts", "<user>What are my hobbies?</user>")).value).toEqual({ facts: [] });
  });

  it("replies from what its prompt holds", async () => {
    const system = "Use what <memories> say.\n<memories>\n- User loves hiking (said once)\n</memories>";
    const messages = [
      { role: "system" as const, content: system },
      { role: "user" as const, content: "What are my hobbies?" },
    ];
    const model = createOpenAiModel({ baseUrl: server.url, apiKey: null, model: "m1" });
    const { text } = await readParts(model.stream({ model: null, messages, purpose: "reply" }, never));
    expect(text).toBe("I know: User loves hiking (said once). You said: What are my hobbies?");
  });

  it("sums up the turns it is given", async () => {
    const { value } = await answer("session_summary", `<user>${ALICE}</user>\n<assistant>Hello</assistant>\n<user>Bye</user>`);
    expect(server.requests[0]?.purpose).toBe("summary");
    expect(value).toEqual({
      summary: `The user said: ${ALICE} | Bye`,
      topics: ["personal", "identity", "hobbies", "activities", "interests", "career", "professional"],
    });
  });

  it("refuses json_object as LM Studio does", async () => {
    await server.close();
    server = await startModelServer(lmStudio);
    const body = JSON.stringify({ model: "m1", messages: [], response_format: { type: "json_object" } });
    const response = await fetch(`${server.url}/chat/completions`, { method: "POST", body });
    expect(response.status).toBe(400);
    expect(await response.json()).toEqual({ error: "'response_format.type' must be 'json_schema' or 'text'" });
  });

  it("holds an answer until it is released, also when that is not streamed", async () => {
    const gate = server.hold(0, "extraction");
    const asking = answer("facts", ALICE);
    await gate.reached;
    expect(server.asked("extraction")).toHaveLength(1);
    gate.release();
    expect((await asking).value).toMatchObject({ facts: [{}, {}, {}, {}] });
  });

  it("gives texts that share words vectors that point the same way", async () => {
    const input = ["I love hiking", "hiking is what I love", "stock market crash"];
    const response = await fetch(`${server.url}/embeddings`, { method: "POST", body: JSON.stringify({ input }) });
    const { data } = (await response.json()) as { data: { embedding: number[] }[] };
    const [first = [], second = [], third = []] = data.map((each) => each.embedding);
    const cosine = (a: number[], b: number[]) => a.reduce((sum, value, index) => sum + value * (b[index] ?? 0), 0);
    expect(cosine(first, first)).toBeCloseTo(1);
    expect(cosine(first, second)).toBeGreaterThan(cosine(first, third));
  });
});

describe("tokens", () => {
  it.each([
    ["", 0],
    ["The quick brown fox jumps over the lazy dog.", 11],
    ["私は山が好きです", 8],
    ["Ich wandere gern über Hügel", 8],
    ["🙂", 1],
  ])("of %j are estimated at %i", (text, tokens) => {
    expect(estimateTokens(text)).toBe(tokens);
  });
});
