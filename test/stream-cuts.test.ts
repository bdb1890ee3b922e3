/**
 * Wherever a stream breaks, what its reader puts together is the stored reply: no gap, no repeat. The cuts are random; a failure prints the
 * seed, and STREAM_CUTS_SEED repeats it. STREAM_CUTS_RUNS tries more of them.
 */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { v7 as uuid } from "uuid";
import { afterAll, beforeAll, expect, test } from "vitest";
import { WebSocket } from "ws";
import { createTestDatabase, type TestDatabase } from "./support/database.ts";
import { says } from "./support/model-answers.ts";
import { type ModelServer, startModelServer } from "./support/model-server.ts";
import { TcpProxy } from "./support/proxy.ts";
import { documentOf, postGraphQL, serverEnvironment } from "./support/server.ts";

const MAIN = fileURLToPath(new URL("../dist/main.js", import.meta.url));
const RUNS = Number(process.env.STREAM_CUTS_RUNS || 12);
const SEED = Number(process.env.STREAM_CUTS_SEED || Date.now() % 2 ** 31);
/** Runs with a server that is killed: each costs a start, and on Postgres the time of a lease. */
const KILLS = Math.max(1, Math.round(RUNS / 12));
const TIME_PER_RUN = 10_000;
const TIME_PER_KILL = 60_000;

/** One break of one follower's connection: the client goes, or the network cuts it after so many bytes of the server's. */
type Cut = { kind: "leave"; afterEvents: number } | { kind: "network"; afterBytes: number };

interface Case {
  /** The reply, as the model sends it. */
  pieces: string[];
  /** The breaks that each follower suffers, one after the other. */
  followers: Cut[][];
  /** After how many pieces the model waits until every follower has suffered its first break. */
  holdAt: number;
}

interface Event {
  __typename: string;
  sequence: number;
  runId: string;
  delta?: string;
}

interface ServerProcess {
  port: number;
  child: ChildProcess;
}

let database: TestDatabase;
let model: ModelServer;
let server: ServerProcess;

beforeAll(async () => {
  process.stdout.write(`stream cuts: seed ${SEED}\n`);
  database = await createTestDatabase();
  model = await startModelServer();
  server = await start();
});

afterAll(async () => {
  await kill();
  await model.close();
  await database.remove();
});

const cut: fc.Arbitrary<Cut> = fc.oneof(
  fc.record({ kind: fc.constant("leave" as const), afterEvents: fc.integer({ min: 1, max: 12 }) }),
  fc.record({ kind: fc.constant("network" as const), afterBytes: fc.integer({ min: 1, max: 6_000 }) }),
);

/** Nothing that replies are kept free of: no markup, no address. */
const piece = fc.string({ unit: "grapheme", minLength: 1, maxLength: 40 }).filter((text) => !/[<&[\]!:/\\`~]/.test(text));

const cases: fc.Arbitrary<Case> = fc.record({
  pieces: fc.array(piece, { minLength: 5, maxLength: 40 }),
  followers: fc.array(fc.array(cut, { minLength: 1, maxLength: 4 }), { minLength: 2, maxLength: 2 }),
  holdAt: fc.integer({ min: 1, max: 5 }),
});

test(
  "two followers whose connections break anywhere, each put together the stored reply",
  async () => {
    const property = fc.asyncProperty(cases, async ({ pieces, followers, holdAt }) => {
      const { userId, runId, release } = await beginRun(pieces, holdAt);
      const reading = followers.map((cuts) => followThroughCuts(userId, runId, cuts));
      release();
      // White space before the first word is not part of a reply.
      await expectWhole(userId, runId, await Promise.all(reading), `${pieces.join("").trimStart()}.`);
    });
    await fc.assert(property, { numRuns: RUNS, seed: SEED, endOnFailure: true });
  },
  RUNS * TIME_PER_RUN,
);

test(
  "a server killed in the middle of a reply: what was seen before and after the restart is the stored reply",
  async () => {
    const property = fc.asyncProperty(cases, fc.integer({ min: 1, max: 5 }), async ({ pieces, followers, holdAt }, killAt) => {
      const { userId, runId, release } = await beginRun(pieces, holdAt);
      const killed = Promise.withResolvers<void>();
      let seen = 0;
      const reading = followers.map((cuts) =>
        followThroughCuts(userId, runId, cuts, () => {
          seen++;
          if (seen === killAt) {
            killed.resolve(restart());
          }
        }),
      );
      await killed.promise;
      release();
      await expectWhole(userId, runId, await Promise.all(reading), null);
    });
    await fc.assert(property, { numRuns: KILLS, seed: SEED, endOnFailure: true });
  },
  KILLS * TIME_PER_KILL,
);

/** Starts a run whose model waits after some pieces until it is released. */
async function beginRun(pieces: string[], holdAt: number): Promise<{ userId: string; runId: string; release: () => void }> {
  model.script("reply", says("", { pieces: [...pieces, "."] }));
  const gate = model.hold(holdAt);
  const input = { userId: uuid(), sessionId: "s", message: "Tell me a story.", memory: "OFF" };
  const { runAgent } = await data("RunAgent", { input, waitFor: "ACCEPTED" });
  return { userId: input.userId, runId: runAgent.run.runId, release: () => gate.release() };
}

/** Follows a run through its breaks and a server's restart to the end, going on each time after the last event that was seen. */
async function followThroughCuts(userId: string, runId: string, cuts: Cut[], onEvent: () => void = () => undefined): Promise<Event[]> {
  const seen: Event[] = [];
  const left = [...cuts];
  for (;;) {
    const next = left.shift() ?? null;
    const { port } = server;
    const proxy = await TcpProxy.start("127.0.0.1", port);
    if (next?.kind === "network") {
      proxy.cutAfter(next.afterBytes);
    }
    const variables = { userId, runId, after: seen.at(-1)?.sequence ?? 0, until: "REPLY" };
    const ended = await followOnce(proxy.port, variables, next?.kind === "leave" ? next.afterEvents : Number.POSITIVE_INFINITY, (event) => {
      seen.push(event);
      onEvent();
    });
    await proxy.close();
    if (ended) {
      return seen;
    }
    await restarted;
  }
}

/** True when the stream came to its end, false when it broke. */
function followOnce(port: number, variables: object, leaveAfter: number, onEvent: (event: Event) => void): Promise<boolean> {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/graphql`, "graphql-transport-ws");
  let left = leaveAfter;
  return new Promise((resolve, reject) => {
    socket.on("open", () => socket.send('{"type":"connection_init"}'));
    socket.on("error", () => resolve(false));
    socket.on("close", () => resolve(false));
    socket.on("message", (text) => {
      const message = JSON.parse(String(text));
      if (message.type === "connection_ack") {
        socket.send(JSON.stringify({ id: "1", type: "subscribe", payload: { query: documentOf("FollowRun"), variables } }));
      } else if (message.type === "next" && message.payload.data && left > 0) {
        onEvent(message.payload.data.runEvents);
        left--;
        if (left === 0) {
          socket.terminate();
        }
      } else if (message.type === "complete") {
        resolve(true);
        socket.terminate();
      } else if (message.type !== "next") {
        reject(new Error(JSON.stringify(message)));
      }
    });
  });
}

/** Every follower saw 1, 2, 3 … and, put together, what is stored; `reply` too, unless the server was killed in the middle of it. */
async function expectWhole(userId: string, runId: string, followers: Event[][], reply: string | null): Promise<void> {
  const { run } = await data("Run", { userId, runId });
  for (const events of followers) {
    expect(events.map(({ sequence }) => sequence)).toEqual(events.map((_, index) => index + 1));
    expect(events).toHaveLength(run.lastSequence);
    const text = events.map(({ __typename, delta }) => (__typename === "TextMessageContent" ? delta : "")).join("");
    expect(text).toBe(run.reply ?? "");
    if (reply !== null) {
      expect(text).toBe(reply);
      expect(run.status).toBe("COMPLETED");
    }
  }
}

/** Resolves when the server that is being restarted is there again. */
let restarted = Promise.resolve();

function restart(): Promise<void> {
  restarted = kill().then(async () => {
    server = await start();
  });
  return restarted;
}

async function kill(): Promise<void> {
  const exited = once(server.child, "exit");
  server.child.kill("SIGKILL");
  await exited;
}

/** Starts the built server as a process of its own, and waits until it serves. */
async function start(): Promise<ServerProcess> {
  const env = { PATH: process.env.PATH, ...serverEnvironment(database, model, { LOG_LEVEL: "info" }) };
  const child = spawn(process.execPath, [MAIN], { env, stdio: ["ignore", "pipe", "inherit"] });
  for await (const line of createInterface({ input: child.stdout })) {
    const port = /serves on http:\/\/\S+:(\d+)\/graphql/.exec(line)?.[1];
    if (port) {
      child.stdout.resume();
      return { port: Number(port), child };
    }
  }
  throw new Error("The server ended before it served.");
}

// biome-ignore lint/suspicious/noExplicitAny: answers of every shape.
async function data(operation: string, variables: object): Promise<any> {
  const answer = await postGraphQL(`http://127.0.0.1:${server.port}`, operation, variables);
  expect(answer.errors).toBeUndefined();
  return answer.data;
}
