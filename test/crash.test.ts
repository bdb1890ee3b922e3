/** What a user was told is stored survives kill -9, and happens once. */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createTestDatabase, type TestDatabase } from "./support/database.ts";
import { type ModelServer, startModelServer } from "./support/model-server.ts";
import { createSocketClient, documentOf, postGraphQL, serverEnvironment } from "./support/server.ts";

const MAIN = fileURLToPath(new URL("../dist/main.js", import.meta.url));

interface ServerProcess {
  url: string;
  child: ChildProcess;
  kill(signal: NodeJS.Signals): Promise<number | null>;
}

let database: TestDatabase;
let model: ModelServer;
const started: ServerProcess[] = [];

beforeEach(async () => {
  database = await createTestDatabase();
  model = await startModelServer();
});

afterEach(async () => {
  for (const server of started.splice(0)) {
    await server.kill("SIGKILL");
  }
  await model.close();
  await database.remove();
});

/** Starts the built server as a process of its own, and waits until it serves. */
async function start(): Promise<ServerProcess> {
  const env = { PATH: process.env.PATH, ...serverEnvironment(database, model, { LOG_LEVEL: "info" }) };
  const child = spawn(process.execPath, [MAIN], { env, stdio: ["ignore", "pipe", "inherit"] });
  const exited = once(child, "exit");
  for await (const line of createInterface({ input: child.stdout })) {
    const url = /serves on (http:\/\/\S+)\/graphql/.exec(line)?.[1];
    if (url) {
      child.stdout.resume();
      const server: ServerProcess = {
        url,
        child,
        async kill(signal) {
          child.kill(signal);
          const [code] = await exited;
          return code as number | null;
        },
      };
      started.push(server);
      return server;
    }
  }
  throw new Error("The server ended before it served.");
}

// biome-ignore lint/suspicious/noExplicitAny: events of every kind.
async function follow(url: string, operation: string, variables: Record<string, unknown>, enough: (event: any) => boolean): Promise<any[]> {
  const client = createSocketClient(url);
  const events: unknown[] = [];
  try {
    for await (const { data } of client.iterate({ query: documentOf(operation), variables })) {
      const event = Object.values(data ?? {})[0];
      events.push(event);
      if (enough(event)) {
        break;
      }
    }
  } finally {
    await client.dispose();
  }
  return events;
}

async function data(url: string, operation: string, variables: object) {
  const answer = await postGraphQL(url, operation, variables);
  expect(answer.errors).toBeUndefined();
  return answer.data;
}

test("kill -9 in the middle of a reply and between a reply and its extraction: the run is INTERRUPTED with its text, and every fact arrives once", async () => {
  const first = await start();
  // The first run's reply is complete, and its extraction is under way.
  const extraction = model.hold(0, "extraction");
  const learning = { userId: "crash", sessionId: "a", message: "I love hiking." };
  const completed = (await data(first.url, "RunAgent", { input: learning })).runAgent.run;
  expect(completed.status).toBe("COMPLETED");
  await model.waitFor("extraction");
  // The second one's reply is being written, a third waits behind it.
  model.hold(3);
  const talking = { userId: "crash", sessionId: "b", message: "I like tea. Tell me a story." };
  const written = await follow(first.url, "SendMessage", { input: talking }, (event) => event.__typename === "TextMessageContent");
  const { runId } = written[0];
  const waiting = { userId: "crash", sessionId: "b", message: "I enjoy chess." };
  const queued = (await data(first.url, "RunAgent", { input: waiting, waitFor: "ACCEPTED" })).runAgent.run;
  expect(queued.status).toBe("QUEUED");
  await first.kill("SIGKILL");
  extraction.release();

  const second = await start();
  const after = await follow(second.url, "FollowRun", { userId: "crash", runId, after: 0, until: "MEMORY" }, () => false);
  const names = after.map((event) => event.__typename);
  expect(names.slice(-2)).toEqual(["RunError", "MemoryUpdate"]);
  expect(after.map((event) => event.sequence)).toEqual(after.map((_, index) => index + 1));
  const { run } = await data(second.url, "Run", { userId: "crash", runId });
  expect(run).toMatchObject({ status: "INTERRUPTED", error: { code: "RUN_INTERRUPTED", retryable: true } });
  const text = after.map((event) => event.delta ?? "").join("");
  expect(text).not.toBe("");
  expect(run.reply).toBe(text);
  expect(run.messages[1]).toMatchObject({ content: text, complete: false });

  for (const other of [completed.runId, queued.runId]) {
    const events = await follow(second.url, "FollowRun", { userId: "crash", runId: other, after: 0, until: "MEMORY" }, () => false);
    expect(events.map((event) => event.__typename).slice(-2)).toEqual(["RunFinished", "MemoryUpdate"]);
  }
  const { memories } = await data(second.url, "MemoriesByTopic", { userId: "crash", orderBy: "OLDEST" });
  const facts = memories.edges.map((edge: { node: { memory: string } }) => edge.node.memory).sort();
  expect(facts).toEqual(["User enjoys chess", "User likes tea", "User loves hiking"]);
  // The interrupted reply was asked for once; nobody answered it again.
  expect(model.asked("reply").filter((request) => request.body.messages?.at(-1)?.content.includes("Tell me a story"))).toHaveLength(1);
  expect(await second.kill("SIGTERM")).toBe(0);
}, 90_000);

test("SIGTERM lets a reply that is being written end, and exits with 0", async () => {
  const server = await start();
  const gate = model.hold(2);
  const input = { userId: "drain", sessionId: "s", message: "I love rowing." };
  const events = await follow(server.url, "SendMessage", { input }, (event) => event.__typename === "TextMessageContent");
  const exited = server.kill("SIGTERM");
  gate.release();
  expect(await exited).toBe(0);
  const again = await start();
  const { run } = await data(again.url, "Run", { userId: "drain", runId: events[0].runId });
  expect(run.status).toBe("COMPLETED");
});
