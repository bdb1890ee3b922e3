/** Without any configuration and without a model server rules serve, say so everywhere, and make way for a model server. */

import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import tagger from "compromise/two";
import { afterEach, describe, expect, it } from "vitest";
import { extractFacts } from "../src/agent/extract.ts";
import type { ChatMessage } from "../src/agent/ports.ts";
import { createOfflineModel, RULES_NAME } from "../src/models/offline.ts";
import { composeReply, LABEL, toSecondPerson } from "../src/models/offline-reply.ts";
import { findFacts } from "../src/models/offline-rules.ts";
import { createOpenAiModel } from "../src/models/openai.ts";
import { ServedModel } from "../src/models/served-model.ts";
import { readParts } from "./support/model-reading.ts";
import { type ModelServer, startModelServer } from "./support/model-server.ts";
import { startTestServer, type TestServer } from "./support/server.ts";

const UNCONFIGURED = { OPENAI_BASE_URL: "", OPENAI_API_KEY: "", CHAT_MODEL: "" };
const INTRODUCTION = "Hi! My name is Alice. I love hiking and photography. I work as a data scientist.";
const never = new AbortController().signal;

const opened: { close(): Promise<void> }[] = [];

afterEach(async () => {
  for (const each of opened.splice(0).reverse()) {
    await each.close();
  }
});

async function problemsOf(server: TestServer): Promise<string> {
  const { serverStatus } = await server.data("Doctor");
  return JSON.stringify(serverStatus.problems);
}

/** A port of this machine that nobody listens at. */
async function closedPort(): Promise<number> {
  const http = createServer();
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  const { port } = http.address() as AddressInfo;
  await new Promise((resolve) => http.close(resolve));
  return port;
}

/** A server without configuration whose default address is at `port`. */
async function startUnconfigured(port: number, probeEvery: number): Promise<TestServer> {
  const overrides = { defaultModelUrl: `http://127.0.0.1:${port}/v1`, probeEvery, statusFreshness: 0 };
  const server = await startTestServer({ env: UNCONFIGURED, overrides });
  opened.push(server);
  return server;
}

async function startModelAt(port: number): Promise<ModelServer> {
  const model = await startModelServer({}, port);
  opened.push(model);
  return model;
}

async function say(server: TestServer, sessionId: string, message: string) {
  const data = await server.data("RunAgent", { input: { userId: "alice@example.com", sessionId, message }, waitFor: "MEMORY" });
  return data.runAgent.run;
}

describe("without configuration and without a model server", () => {
  it("an introduction becomes memories of origin RULE, and the next session's reply recalls them", async () => {
    const server = await startUnconfigured(await closedPort(), 60_000);
    const first = await say(server, "first", INTRODUCTION);
    expect(first).toMatchObject({ status: "COMPLETED", model: RULES_NAME, memoryUpdate: { status: "DONE" } });
    expect(first.reply.startsWith(LABEL)).toBe(true);
    expect(
      first.memoryUpdate.changes.map((change: { memory: { memory: string }; quote: string }) => [change.memory.memory, change.quote]),
    ).toEqual([
      ["User's name is Alice", "My name is Alice"],
      ["User loves hiking", "I love hiking and photography"],
      ["User loves photography", "I love hiking and photography"],
      ["User works as a data scientist", "I work as a data scientist"],
    ]);
    const { memories } = await server.data('{ memories(userId: "alice@example.com") { edges { node { origin topics } } } }');
    expect(new Set(memories.edges.map((edge: { node: { origin: string } }) => edge.node.origin))).toEqual(new Set(["RULE"]));
    expect(memories.edges.every((edge: { node: { topics: string[] } }) => edge.node.topics.length > 0)).toBe(true);

    const second = await say(server, "second", "What are my hobbies?");
    expect(second.reply).toBe(`${LABEL} From what you told me: you love hiking; you love photography.`);
    const why = await server.data("Run", { userId: "alice@example.com", runId: second.runId });
    expect(why.run.recall.used).toHaveLength(4);
  });

  it("a session's summary is picked sentences, and says so", async () => {
    const server = await startUnconfigured(await closedPort(), 60_000);
    for (const message of [INTRODUCTION, "I live in Oslo.", "What are my hobbies?", "I like chess.", "I like tea.", "Thanks!"]) {
      await say(server, "trip", message);
      await server.drain();
    }
    const { session } = await server.data("OpenSession", { userId: "alice@example.com", sessionId: "trip" });
    expect(session.summary.summary).toMatch(/^\(Sentences picked by rules, not a language model\.\) The user said: “My name is Alice\.”/);
    expect(session.summary.summary).toContain("“I like chess.”");
    expect(session.summary.topics).toContain("hobbies");
    expect((await say(server, "trip", "Where were we?")).reply).toContain("Before: (Sentences picked by rules");
  });

  it("the reply streams word by word, and ends at once when it is cancelled", async () => {
    const controller = new AbortController();
    const pieces: string[] = [];
    const reading = (async () => {
      for await (const part of createOfflineModel().stream(
        { model: null, messages: [{ role: "user", content: "Hi" }], purpose: "reply" },
        controller.signal,
      )) {
        pieces.push(part.type === "text-delta" ? part.delta : part.type);
        controller.abort();
      }
    })();
    await expect(reading).rejects.toMatchObject({ code: "CANCELLED" });
    expect(pieces).toEqual(["(Rules,"]);
  });

  it("a model server that appears is used from the next probe on, and rules never come back", async () => {
    const port = await closedPort();
    const server = await startUnconfigured(port, 20);
    expect((await say(server, "s", "I love hiking.")).model).toBe(RULES_NAME);
    expect(await problemsOf(server)).toContain("Rules, not a language model");
    const model = await startModelAt(port);
    await model.waitFor("models");
    await expect.poll(async () => (await say(server, "s", "I love tea.")).model).toBe("scripted-model");
    const changes = (await say(server, "s", "I love chess.")).memoryUpdate.changes;
    expect(changes.map((change: { memory: { memory: string } }) => change.memory.memory)).toEqual(["User loves chess"]);
    const { memories } = await server.data(
      '{ memories(userId: "alice@example.com", filter: { text: "chess" }) { edges { node { origin } } } }',
    );
    expect(memories.edges.map((edge: { node: { origin: string } }) => edge.node.origin)).toEqual(["EXTRACTED"]);

    expect(await problemsOf(server)).not.toContain("Rules");
    await model.close();
    const failed = await server.data("RunAgent", {
      input: { userId: "alice@example.com", sessionId: "s", message: "Hi" },
      waitFor: "REPLY",
    });
    expect(failed.runAgent.run).toMatchObject({ status: "FAILED", error: { code: "MODEL_UNAVAILABLE" } });
    expect(failed.runAgent.run.error.message).toMatch(/does not answer\. Start LM Studio/);
    expect(await problemsOf(server)).toMatch(/does not answer\..*Start LM Studio/);
  });
});

describe("who serves", () => {
  function serve(port: number, configured: boolean, log: string[] = []) {
    const note = (_data: object, message: string) => void log.push(message);
    const server = createOpenAiModel({ baseUrl: `http://127.0.0.1:${port}/v1`, apiKey: null, model: null, deadlines: { backoff: 1 } });
    const served = new ServedModel({ server, configured, probeEvery: 10, log: { debug: note, info: note, warn: note, error: note } });
    opened.push(served);
    return served;
  }

  const HI = { model: null, messages: [{ role: "user" as const, content: "Hi" }], purpose: "reply" as const };

  it("is logged at the start with the remedy, and once more when a model server takes over", async () => {
    const port = await closedPort();
    const log: string[] = [];
    const served = serve(port, false, log);
    await served.choose();
    served.start();
    expect(served.missing).toMatchObject({ code: "MODEL_UNAVAILABLE" });
    expect(log).toEqual([expect.stringMatching(/^Rules, not a language model, answer and remember: .*does not answer\. Start LM Studio/)]);
    await startModelAt(port);
    await expect.poll(() => log.length).toBe(2);
    expect(log[1]).toMatch(/^A model server answers/);
    expect(served.missing).toBeNull();
  });

  it("is the model server when it answers at the start, without a line in the log", async () => {
    const model = await startModelServer();
    opened.push(model);
    const log: string[] = [];
    const served = serve(Number(new URL(model.url).port), false, log);
    await served.choose();
    served.start();
    expect((await readParts(served.stream(HI, never))).finish).toMatchObject({ model: "scripted-model" });
    expect(log).toEqual([]);
  });

  it("is the configured server, even when it is down: an error that says what to do", async () => {
    const served = serve(await closedPort(), true);
    await served.choose();
    served.start();
    expect(String((await readParts(served.stream(HI, never))).error)).toMatch(/does not answer\. Start LM Studio/);
  });

  it("are rules where something answers that is no model server", async () => {
    const model = await startModelServer();
    opened.push(model);
    model.respond(() => ({ kind: "raw", status: 200, headers: { "content-type": "text/html" }, body: "<html></html>", ending: "clean" }));
    const served = serve(Number(new URL(model.url).port), false);
    await served.choose();
    expect(served.missing?.message).toContain("no model server sends");
    expect((await readParts(served.stream(HI, never))).finish).toMatchObject({ model: RULES_NAME });
  });
});

describe("rules", () => {
  const gold = JSON.parse(readFileSync(new URL("fixtures/offline-gold.json", import.meta.url), "utf8")) as {
    message: string;
    facts: string[];
  }[];

  it("find what people say of themselves, and hardly anything else", async () => {
    const misses: string[] = [];
    let [found, right, wanted] = [0, 0, 0];
    for (const { message, facts } of gold) {
      const input = { message, saidAt: new Date("2026-11-23T10:00:00Z"), previousReply: null, known: [], model: null };
      const extraction = await extractFacts(
        { ...input, captureInstructions: null, additionalInstructions: null },
        createOfflineModel(),
        never,
      );
      const texts = extraction.facts.map((fact) => fact.memory);
      const hits = texts.filter((text) => facts.includes(text)).length;
      [found, right, wanted] = [found + texts.length, right + hits, wanted + facts.length];
      if (hits < texts.length || hits < facts.length) {
        misses.push(`${message} → ${texts.join("; ") || "nothing"}`);
      }
    }
    const [precision, recall] = [right / found, right / wanted];
    process.stdout.write(
      `rules on ${gold.length} messages: precision ${precision.toFixed(3)}, recall ${recall.toFixed(3)}\n${misses.join("\n")}\n`,
    );
    expect(precision).toBeGreaterThanOrEqual(0.95);
    expect(recall).toBeGreaterThanOrEqual(0.85);
    expect(gold.filter(({ facts }) => facts.length === 0).length * 2).toBeGreaterThanOrEqual(gold.length);
  });

  it.each([
    "I love ".repeat(5_000),
    "I live in ".repeat(5_000),
    `I like ${"a, ".repeat(5_000)}b`,
    `my name is ${"x ".repeat(9_000)}`,
    "'".repeat(20_000),
    `"${"I love tea. ".repeat(2_000)}`,
    "and ".repeat(10_000),
  ])("come to an end on long nonsense (%#)", (message) => {
    expect(findFacts(message, tagger).length).toBeLessThan(10);
  });

  it("quote the message's own words", () => {
    for (const { message } of gold) {
      for (const { quote } of findFacts(message, tagger)) {
        expect(message).toContain(quote);
      }
    }
  });
});

describe("a reply by rules", () => {
  const system = `Be kind.\n<memories-1a2b3c4d>\n- User's name is Ada (2026-11-01)\n- User loves tea (said 3 times, last 2026-11-02)\n- User has a sister named Emma (2026-11-02)\n</memories-1a2b3c4d>`;
  const reply = (message: string, ...before: ChatMessage[]) =>
    composeReply([{ role: "system", content: system }, ...before, { role: "user", content: message }], []);

  it.each([
    ["What is my name?", "From what you told me: your name is Ada."],
    ["What do I like?", "From what you told me: you love tea."],
    ["Who is Emma?", "From what you told me: you have a sister named Emma."],
    ["What do you know about me?", "From what you told me: your name is Ada; you love tea; you have a sister named Emma."],
    ["Where were we?", "This is the first thing you say to me."],
  ])("to %j is %j", (question, answer) => {
    expect(reply(question)).toBe(`${LABEL} ${answer}`);
  });

  it("says when it finds nothing, and quotes what was said earlier in the conversation", () => {
    expect(reply("What is the capital of France?")).toContain("I find nothing about that");
    const before: ChatMessage[] = [
      { role: "user", content: "The deadline of the project is Friday." },
      { role: "assistant", content: "…" },
    ];
    expect(reply("When is the deadline?", ...before)).toContain('Earlier you said: "The deadline of the project is Friday."');
  });

  it.each([
    ["User watches films", "you watch films"],
    ["User is not a fan of horror", "you are not a fan of horror"],
    ["User no longer works at Siemens", "you no longer work at Siemens"],
    ["User loves their garden.", "you love your garden"],
    ["User moved to Oslo", "you moved to Oslo"],
    ["Prefers dark mode", "Prefers dark mode"],
  ])("says %j as %j", (memory, said) => {
    expect(toSecondPerson(memory)).toBe(said);
  });
});
