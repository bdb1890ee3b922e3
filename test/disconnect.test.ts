/** A client that leaves does not stop its run, unless it asked for that; a server that stops is no client that leaves. */

import { request as httpRequest } from "node:http";
import type { Client } from "graphql-ws";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { WebSocket } from "ws";
import type { UserId } from "../src/agent/types.ts";
import type { Gate } from "./support/model-answers.ts";
import { createSocketClient, documentOf, startTestServer, type TestServer } from "./support/server.ts";

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer();
});

afterAll(() => server.close());

interface Event {
  __typename: string;
  runId: string;
}

/** A client whose sockets a test may cut. */
class Chatter {
  readonly sockets: WebSocket[] = [];
  readonly client: Client;

  constructor(url: string, retryAttempts = 0) {
    const { sockets } = this;
    class KnownSocket extends WebSocket {
      constructor(...parameters: ConstructorParameters<typeof WebSocket>) {
        super(...parameters);
        sockets.push(this);
      }
    }
    this.client = createSocketClient(url, { retryAttempts, socket: KnownSocket as typeof WebSocket });
  }

  async *send(input: object): AsyncGenerator<Event, void> {
    for await (const { data } of this.client.iterate({ query: documentOf("SendMessage"), variables: { input, until: "REPLY" } })) {
      yield (data as { runAgent: Event }).runAgent;
    }
  }
}

async function nextText(events: AsyncGenerator<Event, void>): Promise<Event> {
  for (let next = await events.next(); !next.done; next = await events.next()) {
    if (next.value.__typename === "TextMessageContent") {
      return next.value;
    }
  }
  throw new Error("The stream ended before any text.");
}

/** How a run ends, with the names of its last event and its status. */
async function endOf(userId: string, runId: string): Promise<unknown[]> {
  const names: string[] = [];
  for await (const { __typename } of server.subscribe("FollowRun", { userId, runId, after: 0, until: "REPLY" })) {
    names.push(__typename);
  }
  return [names.at(-1), (await server.data("Run", { userId, runId })).run.status];
}

const CANCELLED = ["RunCancelled", "CANCELLED"];
const COMPLETED = ["RunFinished", "COMPLETED"];

/** The ways of leaving a subscription. */
const WAYS: [string, (chatter: Chatter, events: AsyncGenerator<Event, void>) => Promise<unknown>][] = [
  ["completes its subscription", (_, events) => events.return()],
  ["closes its socket", async ({ client }) => client.dispose()],
  ["loses its socket without a goodbye", async ({ sockets }) => sockets[0]?.terminate()],
];

describe("a client that watches its run being written", () => {
  test.each(WAYS)("and %s stops it when it asked for that: what was written is kept, the model is told", async (way, leave) => {
    const userId = `cancel: ${way}`;
    const gate = server.model.hold(1);
    const chatter = new Chatter(server.url);
    const events = chatter.send({ userId, sessionId: "s", message: "Stop when I leave.", onDisconnect: "CANCEL" });
    const { runId } = await nextText(events);
    await gate.reached;
    const request = server.model.asked("reply").at(-1);
    await leave(chatter, events);
    expect(await endOf(userId, runId)).toEqual(CANCELLED);
    await request?.closed;
    expect(request?.aborted).toBe(true);
    expect((await server.data("Run", { userId, runId })).run.reply).not.toBeNull();
    gate.release();
    await events.return().catch(() => undefined);
    await chatter.client.dispose();
  });

  test.each(WAYS)("and %s leaves it to go on when it said nothing", async (way, leave) => {
    const userId = `continue: ${way}`;
    const gate = server.model.hold(1);
    const chatter = new Chatter(server.url);
    const events = chatter.send({ userId, sessionId: "s", message: "Go on without me." });
    const { runId } = await nextText(events);
    await gate.reached;
    // One that leaves a moment later, and wants its run stopped, shows that the first one's leaving was noticed.
    const later = server.model.hold(1);
    const other = new Chatter(server.url);
    const others = other.send({ userId, sessionId: "other", message: "Stop when I leave.", onDisconnect: "CANCEL" });
    const stopped = await nextText(others);
    await leave(chatter, events);
    await leave(other, others);
    expect(await endOf(userId, stopped.runId)).toEqual(CANCELLED);
    gate.release();
    expect(await endOf(userId, runId)).toEqual(COMPLETED);
    later.release();
    for (const [left, client] of [
      [events, chatter.client],
      [others, other.client],
    ] as const) {
      await left.return().catch(() => undefined);
      await client.dispose();
    }
  });

  test("to its end leaves nothing to stop", async () => {
    const userId = "disconnect-end";
    const chatter = new Chatter(server.url);
    let runId = "";
    for await (const event of chatter.send({ userId, sessionId: "s", message: "Hello!", onDisconnect: "CANCEL" })) {
      runId = event.runId;
    }
    await chatter.client.dispose();
    expect(await endOf(userId, runId)).toEqual(COMPLETED);
  });

  test("and comes back by itself finds the run it had stopped by losing its socket, not a new one", async () => {
    const userId = "disconnect-retry";
    const gate = server.model.hold(1);
    const chatter = new Chatter(server.url, 5);
    const seen: Event[] = [];
    for await (const event of chatter.send({ userId, sessionId: "s", message: "Hold the line.", onDisconnect: "CANCEL" })) {
      seen.push(event);
      if (event.__typename === "TextMessageContent" && chatter.sockets.length === 1) {
        chatter.sockets[0]?.terminate();
      }
    }
    gate.release();
    await chatter.client.dispose();
    expect(chatter.sockets).toHaveLength(2);
    expect(new Set(seen.map(({ runId }) => runId)).size).toBe(1);
    expect(seen.at(-1)?.__typename).toBe("RunCancelled");
  });

  test("before its turn takes the message back", async () => {
    const userId = "disconnect-queued";
    const gate = server.model.hold(1);
    const first = new Chatter(server.url);
    const busy = first.send({ userId, sessionId: "s", message: "First." });
    await nextText(busy);
    const second = new Chatter(server.url);
    const waiting = second.send({ userId, sessionId: "s", message: "I love sailing.", onDisconnect: "CANCEL" });
    const waits = waiting.next();
    const queued = await untilQueued(userId);
    second.sockets[0]?.terminate();
    await waits.catch(() => undefined);
    expect(await endOf(userId, queued)).toEqual(CANCELLED);
    gate.release();
    await busy.return();
    await Promise.all([first.client.dispose(), second.client.dispose()]);
    expect((await server.data("Run", { userId, runId: queued })).run).toMatchObject({ reply: null, memoryUpdate: { status: "SKIPPED" } });
  });
});

async function untilQueued(userId: string): Promise<string> {
  const deadline = AbortSignal.timeout(10_000);
  for (;;) {
    deadline.throwIfAborted();
    const { session } = await server.data("SessionRuns", { userId, sessionId: "s", status: ["QUEUED"] });
    const [queued] = session.runs.edges;
    if (queued) {
      return queued.node.runId;
    }
  }
}

/** Sends a request of this session and cuts its connection once the model has begun to write; how its run ends is for later. */
async function cutShort(path: string, userId: string, sessionId: string, body: object): Promise<{ runId: string; gate: Gate }> {
  const gate = server.model.hold(1);
  const request = httpRequest(`${server.url}${path}`, { method: "POST", headers: { "content-type": "application/json" } });
  const gone = new Promise<void>((resolve) => request.once("close", resolve));
  request.on("error", () => undefined).on("response", (response) => response.on("error", () => undefined).resume());
  request.end(JSON.stringify(body));
  await gate.reached;
  const { session } = await server.data("SessionRuns", { userId, sessionId });
  request.destroy();
  await gone;
  return { runId: session.runs.edges[0].node.runId, gate };
}

/** Leaves twice, the second time wanting the run stopped: once that has happened, the first leaving was noticed too. */
async function leaveTwice(
  path: string,
  userId: string,
  bodyOf: (sessionId: string, wanted: string | undefined) => object,
  wanted?: string,
) {
  const first = await cutShort(path, userId, "first", bodyOf("first", wanted));
  const second = await cutShort(path, userId, "second", bodyOf("second", "cancel"));
  expect(await endOf(userId, second.runId)).toEqual(CANCELLED);
  first.gate.release();
  expect(await endOf(userId, first.runId)).toEqual(COMPLETED);
  second.gate.release();
}

describe("a client that waits for the whole reply", () => {
  test("by a mutation and leaves stops its run only when it asked for that", async () => {
    const userId = "disconnect-mutation";
    await leaveTwice("/graphql", userId, (sessionId, wanted = "continue") => {
      const input = { userId, sessionId, message: "Hello!", onDisconnect: wanted.toUpperCase() };
      return { query: documentOf("RunAgent"), variables: { input } };
    });
  });

  test.each([
    [false, "continue"],
    [false, undefined],
    [true, "continue"],
    [true, undefined],
  ])("or reads a stream (%s) over REST and leaves stops its run only when it asked for that, not with %s", async (stream, wanted) => {
    const userId = `disconnect-rest ${stream} ${wanted}`;
    const bodyOf = (session_id: string, on_disconnect: string | undefined) => {
      return { user_id: userId, session_id, message: "Hello!", stream, on_disconnect };
    };
    await leaveTwice("/v1/agents/rag-agent/run", userId, bodyOf, wanted);
  });

  test("is told what it may ask for", async () => {
    const response = await fetch(`${server.url}/v1/agents/rag-agent/run`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ user_id: "u", message: "Hello!", on_disconnect: "CANCEL" }),
    });
    expect(response.status).toBe(400);
    expect(await response.text()).toContain("continue or cancel");
  });
});

test("a server that stops lets the runs come to their end, of clients it sends away and of those who leave meanwhile", async () => {
  const stopping = await startTestServer();
  const { runner, runs } = stopping.context.services;
  const user = "disconnect-stop" as UserId;
  const [watched, waited, left] = [stopping.model.hold(1), stopping.model.hold(1), stopping.model.hold(1)];
  const ends = (runId: string) => runner.wait(user, runId, "REPLY", AbortSignal.timeout(10_000));
  const post = (session_id: string, signal: AbortSignal | null) =>
    fetch(`${stopping.url}/v1/agents/rag-agent/run`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ user_id: user, session_id, message: "Hello there!", on_disconnect: "cancel" }),
      signal,
    });
  const chatter = new Chatter(stopping.url);
  const events = chatter.send({ userId: user, sessionId: "watched", message: "Hello there!", onDisconnect: "CANCEL" });
  const { runId } = await nextText(events);
  await watched.reached;
  const reply = post("waited", null);
  await waited.reached;
  const leaver = new AbortController();
  const gone = post("left", leaver.signal).catch(() => "gone");
  await left.reached;
  const { session } = await stopping.data("SessionRuns", { userId: user, sessionId: "left" });

  const sentAway = new Promise<number>((resolve) => chatter.sockets[0]?.once("close", resolve));
  const closed = stopping.close();
  expect(await sentAway).toBe(1012);
  leaver.abort();
  expect(await gone).toBe("gone");
  // Whoever took these for clients that left would have stopped their runs by now.
  for (let look = 0; look < 20; look++) {
    expect((await runs.get(user, runId))?.status).toBe("RUNNING");
  }
  watched.release();
  expect((await ends(runId)).status).toBe("COMPLETED");
  left.release();
  expect((await ends(session.runs.edges[0].node.runId)).status).toBe("COMPLETED");
  waited.release();
  expect(await (await reply).json()).toMatchObject({ status: "COMPLETED" });
  await closed;
  await events.return().catch(() => undefined);
  await chatter.client.dispose();
});
