/**
 * Shows a running server at work, over the same GraphQL that every client uses:
 *
 *   npm run demo:memory   what is said is remembered, summed up, and recalled in the next session
 *   npm run demo:manual   memories written by hand, one and many, found by topic and used in a reply
 *   npm run demo:debug    one run, step by step: every event, what was recalled and why, what became of each fact
 *
 * The server is looked for at http://localhost:7777, or where RECOLLECT_URL says.
 */

import { randomUUID } from "node:crypto";
import process from "node:process";
import { createClient } from "graphql-ws";

const address = (process.env.RECOLLECT_URL || "http://localhost:7777").replace(/\/+$/, "").replace(/\/graphql$/, "");
/** How long one request, and one message with its memories, may take (ms). A local model may have to be loaded first. */
const REQUEST_DEADLINE = 90_000;
const RUN_DEADLINE = 300_000;

const CHANGE = "kind quote memory { memory topics origin }";

const SEND = `subscription ($input: RunAgentInput!) { runAgent(input: $input, until: MEMORY) {
  __typename runId sequence at ... on MemoriesRecalled { recall { used { text } } } ... on TextMessageContent { delta }
  ... on RunError { error { message } } ... on MemoryUpdate { changes { ${CHANGE} } } ... on MemoryUpdateFailed { error { message } } } }`;

const scenes = { memory: showMemory, manual: showManual, debug: showDebug };

/** A failure whose message is all there is to say. */
class Problem extends Error {}

try {
  const scene = scenes[process.argv[2]];
  if (!scene) {
    throw new Problem(`Usage: npm run demo:${Object.keys(scenes).join(" | npm run demo:")}`);
  }
  const userId = `demo-${randomUUID().slice(0, 8)}@example.com`;
  await introduce(userId);
  await scene(userId);
} catch (error) {
  console.error(error instanceof Problem ? error.message : error);
  process.exitCode = 1;
}

async function showMemory(userId) {
  heading("A conversation");
  for (const message of [
    "Hi! My name is Alice. I love hiking and photography. I work as a data scientist.",
    "I live in Berlin, and I am allergic to peanuts.",
    "Actually, I moved to Hamburg.",
  ]) {
    await say(userId, "first session", message);
  }
  heading("What is stored");
  await listMemories(userId);
  heading("The session's summary");
  const { summarizeSession } = await ask(
    `mutation ($input: SummarizeSessionInput!) { summarizeSession(input: $input) { session { summary { summary topics } } } }`,
    { input: { userId, sessionId: "first session" } },
  );
  const { summary } = summarizeSession.session;
  console.log(`${summary?.summary ?? "none"}\n${tags(summary?.topics ?? [])}`);
  heading("Another session");
  await say(userId, "second session", "What are my hobbies?");
}

async function showManual(userId) {
  heading("Remembered from a message");
  await say(userId, "session", "I love Python programming.");
  heading("One memory written by hand");
  const { addMemory } = await ask(`mutation ($input: AddMemoryInput!) { addMemory(input: $input) { change { ${CHANGE} } } }`, {
    input: { userId, memory: "User prefers dark mode", topics: ["preferences", "ui"] },
  });
  showChanges([addMemory.change]);
  heading("Several at once: all of them, or none");
  const { addMemories } = await ask(`mutation ($input: AddMemoriesInput!) { addMemories(input: $input) { changes { ${CHANGE} } } }`, {
    input: {
      userId,
      memories: [
        { memory: "User lives in San Francisco", topics: ["location", "personal"] },
        { memory: "User speaks English and Spanish", topics: ["languages", "skills"] },
        { memory: "User is allergic to peanuts", topics: ["health", "allergies"] },
      ],
    },
  });
  showChanges(addMemories.changes);
  heading("Found by topic: allergies");
  await listMemories(userId, ["allergies"]);
  heading("Used in a conversation");
  await say(userId, "session", "Which food am I allergic to?");
}

async function showDebug(userId) {
  heading("Before: what is known");
  await ask(`mutation ($input: AddMemoryInput!) { addMemory(input: $input) { memory { memory } } }`, {
    input: { userId, memory: "User lives in Berlin", topics: ["location"] },
  });
  await listMemories(userId);
  heading("Every event of a run, as it is stored");
  const runId = await say(userId, "session", "I love hiking, and I am allergic to peanuts.", (event) => {
    const { __typename, sequence, at, ...rest } = event;
    console.log(`${String(sequence).padStart(3)}  ${at.slice(11, 23)}  ${__typename.padEnd(20)} ${JSON.stringify(rest)}`);
  });
  heading("Why it said that");
  const { run } = await ask(
    `query ($userId: ID, $runId: ID!) { run(userId: $userId, runId: $runId) {
      status model usage { inputTokens outputTokens estimated } recall { complete arms used { text score } nearMisses { text missedBecause } }
      memoryUpdate { status changes { ${CHANGE} memory { memory topics origin kind } } error { message } } } }`,
    { userId, runId },
  );
  console.log(
    `model     ${run.model}\ntokens    ${run.usage.inputTokens} in, ${run.usage.outputTokens} out${run.usage.estimated ? " (estimated)" : ""}`,
  );
  console.log(`recalled  ${run.recall.complete ? "everything there is" : `the best, found by ${run.recall.arms.join(", ")}`}`);
  for (const { text, score } of run.recall.used) {
    console.log(`          ${text}${score === null ? "" : ` (${score.toFixed(2)})`}`);
  }
  for (const { text, missedBecause } of run.recall.nearMisses) {
    console.log(`          left out, ${missedBecause}: ${text}`);
  }
  heading(`What became of its facts: ${run.memoryUpdate.status}`);
  showChanges(run.memoryUpdate.changes);
  console.log(
    "\nWhat a model proposed and was dropped, with the reason, is in the server's own log: start it with LOG_LEVEL=debug npm start",
  );
}

/** Says who is at the other end, and what is wrong there. */
async function introduce(userId) {
  const { serverStatus } = await ask("{ serverStatus { problems { severity message fix } models { role model } } }");
  const chat = serverStatus.models.find(({ role }) => role === "CHAT");
  console.log(`Recollect at ${address}, model ${chat?.model ?? "none"}, user ${userId}`);
  for (const { severity, message, fix } of serverStatus.problems) {
    console.log(`${severity.toLowerCase()}: ${message} ${fix}`);
  }
}

/** Sends a message, shows the reply as it is written and what was remembered, and gives the run's id. */
async function say(userId, sessionId, message, show = showEvent) {
  console.log(`\n> ${message}`);
  const socket = createClient({ url: `${address.replace(/^http/, "ws")}/graphql`, retryAttempts: 0 });
  const deadline = setTimeout(() => socket.terminate(), RUN_DEADLINE);
  let runId = null;
  try {
    for await (const { data, errors } of socket.iterate({ query: SEND, variables: { input: { userId, sessionId, message } } })) {
      if (errors || !data) {
        throw new Problem(errors?.[0]?.message ?? "The server sent no data.");
      }
      runId = data.runAgent.runId;
      show(data.runAgent);
      if (data.runAgent.__typename === "RunError") {
        throw new Problem(data.runAgent.error.message);
      }
    }
  } catch (error) {
    throw error instanceof Error ? error : new Problem("The connection broke before the run was over. Look at the server's log.");
  } finally {
    clearTimeout(deadline);
    await socket.dispose();
  }
  return runId;
}

function showEvent(event) {
  switch (event.__typename) {
    case "TextMessageContent":
      process.stdout.write(event.delta);
      break;
    case "RunFinished":
      process.stdout.write("\n");
      break;
    case "MemoryUpdate":
      showChanges(event.changes);
      break;
    case "MemoryUpdateFailed":
      console.log(`not remembered: ${event.error.message}`);
      break;
  }
}

function showChanges(changes) {
  for (const { kind, quote, memory } of changes) {
    console.log(
      `  ${kind.toLowerCase()}: ${memory?.memory} ${tags(memory?.topics ?? [])} ${memory?.origin}${quote ? `, because you said “${quote}”` : ""}`,
    );
  }
}

async function listMemories(userId, topics = null) {
  const { memories } = await ask(
    `query ($userId: ID, $topics: [String!]) { memories(userId: $userId, filter: { topics: $topics }, orderBy: OLDEST) {
      totalCount edges { node { memory topics origin } } } }`,
    { userId, topics },
  );
  for (const { node } of memories.edges) {
    console.log(`  ${node.memory} ${tags(node.topics)} ${node.origin}`);
  }
  console.log(`  ${memories.totalCount} in all`);
}

/** A query or a mutation; its data. */
async function ask(query, variables = {}) {
  const response = await fetch(`${address}/graphql`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ query, variables }),
    signal: AbortSignal.timeout(REQUEST_DEADLINE),
  }).catch((error) => {
    throw new Problem(
      error.name === "TimeoutError"
        ? `${address} did not answer within ${REQUEST_DEADLINE / 1_000} s. Look at the server's log.`
        : `No Recollect server answers at ${address}. Start one with: npm start (one at another address is named by RECOLLECT_URL)`,
    );
  });
  const { data, errors } = await response.json().catch(() => ({}));
  if (errors || !data) {
    throw new Problem(errors?.[0]?.message ?? `${address} is no Recollect server. Set RECOLLECT_URL to the address that npm start prints.`);
  }
  return data;
}

function heading(text) {
  console.log(`\n== ${text}`);
}

function tags(topics) {
  return `[${topics.join(", ")}]`;
}
