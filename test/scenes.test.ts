/** The guide "Dynamic Memory & Session Management", scene by scene, through the real server. */

import { afterAll, beforeAll, expect, test } from "vitest";
import { startTestServer, type TestServer } from "./support/server.ts";

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer();
});

afterAll(() => server.close());

const INTRODUCTION = "Hi! My name is Alice. I love hiking and photography. I work as a data scientist.";

function say(userId: string, sessionId: string, message: string, waitFor = "MEMORY") {
  return server.data("RunAgent", { input: { userId, sessionId, message }, waitFor }).then((data) => data.runAgent.run);
}

async function memoriesOf(userId: string, topics?: string[]) {
  const data = await server.data("MemoriesByTopic", { userId, topics, orderBy: "OLDEST" });
  return data.memories.edges.map((edge: { node: { memory: string; topics: string[] } }) => edge.node);
}

test("scene 1: an introduction becomes four memories with topics", async () => {
  const run = await say("scene1@example.com", "session-123", INTRODUCTION);
  expect(run).toMatchObject({ status: "COMPLETED", sessionId: "session-123", memoryUpdate: { status: "DONE" } });
  expect(run.memoryUpdate.changes.map((change: { kind: string }) => change.kind)).toEqual(["ADDED", "ADDED", "ADDED", "ADDED"]);
  const memories = await memoriesOf("scene1@example.com");
  expect(memories.map((memory: { memory: string }) => memory.memory)).toEqual([
    "User's name is Alice",
    "User loves hiking",
    "User loves photography",
    "User works as a data scientist",
  ]);
  expect(memories.map((memory: { topics: string[] }) => memory.topics)).toEqual([
    ["personal", "identity"],
    ["hobbies", "activities"],
    ["hobbies", "interests"],
    ["career", "professional"],
  ]);
});

test("scene 2: what was said in one session is recalled in the next", async () => {
  await say("scene2@example.com", "first", INTRODUCTION);
  const run = await say("scene2@example.com", "second", "What are my hobbies?");
  expect(run.reply).toContain("User loves hiking");
  expect(run.reply).toContain("User loves photography");
  const why = await server.data("Run", { userId: "scene2@example.com", runId: run.runId });
  expect(why.run.recall).toMatchObject({ complete: true });
  expect(why.run.recall.used.map((item: { memory: { memory: string } }) => item.memory.memory)).toContain("User loves hiking");
});

test("scene 3: two users' memories share no row, even in a session of the same name", async () => {
  await say("alice@example.com", "shared-name", "I love Python and machine learning!");
  const bobs = await say("bob@example.com", "shared-name", "I enjoy hiking and photography!");
  expect(bobs.reply).not.toContain("Python");
  const alice = await memoriesOf("alice@example.com");
  const bob = await memoriesOf("bob@example.com");
  expect(alice.map((memory: { memory: string }) => memory.memory)).toEqual(["User loves Python", "User loves machine learning"]);
  expect(bob.map((memory: { memory: string }) => memory.memory)).toEqual(["User enjoys hiking", "User enjoys photography"]);
  const session = await server.data("OpenSession", { userId: "bob@example.com", sessionId: "shared-name" });
  expect(JSON.stringify(session)).not.toContain("Python");
});

test("scene 4: memories are written by hand and found by topic", async () => {
  const userId = "scene4@example.com";
  const add = (memory: string, topics: string[]) => server.data("AddMemory", { input: { userId, memory, topics } });
  const { addMemory } = await add("User prefers dark mode", ["preferences", "ui"]);
  expect(addMemory).toMatchObject({
    memory: { memory: "User prefers dark mode", topics: ["preferences", "ui"], status: "ACTIVE" },
    change: { kind: "ADDED" },
  });
  await add("User lives in San Francisco", ["location", "personal"]);
  await add("User speaks English and Spanish", ["languages", "skills"]);
  await add("User writes Rust", ["Programming "]);
  expect((await memoriesOf(userId, ["programming"])).map((memory: { memory: string }) => memory.memory)).toEqual(["User writes Rust"]);
  expect((await memoriesOf(userId)).length).toBe(4);
  const again = await add("User prefers dark mode.", ["preferences"]);
  expect(again.addMemory.change.kind).toBe("REINFORCED");
  expect((await memoriesOf(userId)).length).toBe(4);
});

test("scene 5: after some turns a session has a summary, which the next session's prompt is given", async () => {
  const userId = "scene5@example.com";
  for (const message of ["I plan a trip to Norway.", "It starts in June.", "I want to see fjords."]) {
    await say(userId, "trip", message);
  }
  await server.drain();
  const { session } = await server.data("OpenSession", { userId, sessionId: "trip" });
  expect(session.summary.summary).toContain("Norway");
  expect(session.summary).toMatchObject({ coveredTurns: 3, newerTurns: 0 });
  expect(new Date(session.summary.updatedAt).toISOString()).toBe(session.summary.updatedAt);
  expect(session.messages.totalCount).toBe(6);
  const next = await say(userId, "another day", "Where were we?");
  expect(next.reply).toContain("Norway");
});

test("scene 7: memory and summary models and their instructions are set apart from the chat model", async () => {
  const other = await startTestServer({
    env: {
      CHAT_MODEL: "chat-model",
      MEMORY_MODEL: "memory-model",
      SUMMARY_MODEL: "summary-model",
      MEMORY_ADDITIONAL_INSTRUCTIONS: "Pay attention to allergies.",
      SUMMARY_INSTRUCTIONS: "Write one sentence.",
    },
  });
  try {
    for (const message of ["I love hiking.", "I like tea.", "I enjoy chess."]) {
      await other.data("RunAgent", { input: { userId: "scene7", sessionId: "s", message }, waitFor: "MEMORY" });
    }
    await other.drain();
    expect(new Set(other.model.asked("reply").map((request) => request.body.model))).toEqual(new Set(["chat-model"]));
    expect(new Set(other.model.asked("extraction").map((request) => request.body.model))).toEqual(new Set(["memory-model"]));
    expect(other.model.asked("summary").map((request) => request.body.model)).toEqual(["summary-model"]);
    expect(other.model.asked("extraction")[0]?.prompt).toContain("Pay attention to allergies.");
    expect(other.model.asked("summary")[0]?.prompt).toContain("Write one sentence.");
  } finally {
    await other.close();
  }
});
