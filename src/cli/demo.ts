/**
 * `recollect demo`: a running server at work, over the same GraphQL that every client uses.
 *
 *   memory   what is said is remembered, summed up, and recalled in the next session
 *   manual   memories written by hand, one and many, found by topic and used in a reply
 *   debug    one run, step by step: every event, what was recalled and why, what became of each fact
 */

import { randomUUID } from "node:crypto";
import type { Connection } from "./connection.ts";
import { heading, print, tags } from "./output.ts";
import { CHANGE, type ShownChange, type ShownEvent, say, showChanges } from "./talk.ts";

export const SCENES = { memory: showMemory, manual: showManual, debug: showDebug };
export type Scene = keyof typeof SCENES;

/** Plays scenes for a user of their own. */
export async function demo(connection: Connection, scenes: readonly Scene[]): Promise<void> {
  for (const scene of scenes) {
    const userId = `demo-${randomUUID().slice(0, 8)}@example.com`;
    await introduce(connection, userId);
    await SCENES[scene](connection, userId);
  }
}

async function showMemory(connection: Connection, userId: string): Promise<void> {
  heading("A conversation");
  for (const message of [
    "Hi! My name is Alice. I love hiking and photography. I work as a data scientist.",
    "I live in Berlin, and I am allergic to peanuts.",
    "Actually, I moved to Hamburg.",
  ]) {
    await tell(connection, userId, "first session", message);
  }
  heading("What is stored");
  await listMemories(connection, userId);
  heading("The session's summary");
  const { summarizeSession } = await connection.request<{
    summarizeSession: { session: { summary: { summary: string; topics: string[] } | null } };
  }>(`mutation ($input: SummarizeSessionInput!) { summarizeSession(input: $input) { session { summary { summary topics } } } }`, {
    input: { userId, sessionId: "first session" },
  });
  const { summary } = summarizeSession.session;
  print(`${summary?.summary ?? "none"}\n${tags(summary?.topics ?? [])}`);
  heading("Another session");
  await tell(connection, userId, "second session", "What are my hobbies?");
}

async function showManual(connection: Connection, userId: string): Promise<void> {
  heading("Remembered from a message");
  await tell(connection, userId, "session", "I love Python programming.");
  heading("One memory written by hand");
  const { addMemory } = await connection.request<{ addMemory: { change: ShownChange } }>(
    `mutation ($input: AddMemoryInput!) { addMemory(input: $input) { change { ${CHANGE} } } }`,
    { input: { userId, memory: "User prefers dark mode", topics: ["preferences", "ui"] } },
  );
  showChanges([addMemory.change]);
  heading("Several at once: all of them, or none");
  const { addMemories } = await connection.request<{ addMemories: { changes: ShownChange[] } }>(
    `mutation ($input: AddMemoriesInput!) { addMemories(input: $input) { changes { ${CHANGE} } } }`,
    {
      input: {
        userId,
        memories: [
          { memory: "User lives in San Francisco", topics: ["location", "personal"] },
          { memory: "User speaks English and Spanish", topics: ["languages", "skills"] },
          { memory: "User is allergic to peanuts", topics: ["health", "allergies"] },
        ],
      },
    },
  );
  showChanges(addMemories.changes);
  heading("Found by topic: allergies");
  await listMemories(connection, userId, ["allergies"]);
  heading("Used in a conversation");
  await tell(connection, userId, "session", "Which food am I allergic to?");
}

interface DebuggedRun {
  model: string | null;
  usage: { inputTokens: number; outputTokens: number; estimated: boolean } | null;
  recall: {
    complete: boolean;
    arms: string[];
    used: { text: string; score: number | null }[];
    nearMisses: { text: string; missedBecause: string }[];
  } | null;
  memoryUpdate: { status: string; changes: ShownChange[] };
}

async function showDebug(connection: Connection, userId: string): Promise<void> {
  heading("Before: what is known");
  await connection.request(`mutation ($input: AddMemoryInput!) { addMemory(input: $input) { memory { memory } } }`, {
    input: { userId, memory: "User lives in Berlin", topics: ["location"] },
  });
  await listMemories(connection, userId);
  heading("Every event of a run, as it is stored");
  const runId = await tell(connection, userId, "session", "I love hiking, and I am allergic to peanuts.", (event) => {
    const { __typename, sequence, at, ...rest } = event;
    print(`${String(sequence).padStart(3)}  ${at.slice(11, 23)}  ${__typename.padEnd(20)} ${JSON.stringify(rest)}`);
  });
  heading("Why it said that");
  const { run } = await connection.request<{ run: DebuggedRun }>(
    `query ($userId: ID, $runId: ID!) { run(userId: $userId, runId: $runId) {
      model usage { inputTokens outputTokens estimated } recall { complete arms used { text score } nearMisses { text missedBecause } }
      memoryUpdate { status changes { ${CHANGE} } } } }`,
    { userId, runId },
  );
  print(`model     ${run.model}`);
  print(`tokens    ${run.usage?.inputTokens} in, ${run.usage?.outputTokens} out${run.usage?.estimated ? " (estimated)" : ""}`);
  print(`recalled  ${run.recall?.complete ? "everything there is" : `the best, found by ${run.recall?.arms.join(", ")}`}`);
  for (const { text, score } of run.recall?.used ?? []) {
    print(`          ${text}${score === null ? "" : ` (${score.toFixed(2)})`}`);
  }
  for (const { text, missedBecause } of run.recall?.nearMisses ?? []) {
    print(`          left out, ${missedBecause}: ${text}`);
  }
  heading(`What became of its facts: ${run.memoryUpdate.status}`);
  showChanges(run.memoryUpdate.changes);
  print("\nWhat a model proposed and was dropped, with the reason, is in the server's own log: start it with LOG_LEVEL=debug npm start");
}

/** Says who is at the other end, and what is wrong there. */
async function introduce(connection: Connection, userId: string): Promise<void> {
  const { serverStatus } = await connection.request<{
    serverStatus: {
      problems: { severity: string; message: string; fix: string }[];
      models: { role: string; model: string | null }[];
    };
  }>("{ serverStatus { problems { severity message fix } models { role model } } }");
  const chat = serverStatus.models.find(({ role }) => role === "CHAT");
  print(`Recollect at ${connection.address}, model ${chat?.model ?? "none"}, user ${userId}`);
  for (const { severity, message, fix } of serverStatus.problems) {
    print(`${severity.toLowerCase()}: ${message} ${fix}`);
  }
}

async function tell(
  connection: Connection,
  userId: string,
  sessionId: string,
  message: string,
  show?: (event: ShownEvent) => void,
): Promise<string | null> {
  print(`\n> ${message}`);
  return (await say(connection, { userId, sessionId, message }, show)).runId;
}

async function listMemories(connection: Connection, userId: string, topics: string[] | null = null): Promise<void> {
  const { memories } = await connection.request<{
    memories: { totalCount: number; edges: { node: { memory: string; topics: string[]; origin: string } }[] };
  }>(
    `query ($userId: ID, $topics: [String!]) { memories(userId: $userId, filter: { topics: $topics }, orderBy: OLDEST) {
      totalCount edges { node { memory topics origin } } } }`,
    { userId, topics },
  );
  for (const { node } of memories.edges) {
    print(`  ${node.memory} ${tags(node.topics)} ${node.origin}`);
  }
  print(`  ${memories.totalCount} in all`);
}
