/** Who reads slowly, or not at all, costs the server a bounded buffer and nobody else anything. */

import { once } from "node:events";
import { createServer, request as httpRequest, type IncomingMessage } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { v7 as uuid } from "uuid";
import { afterAll, beforeAll, expect, test } from "vitest";
import { WebSocket } from "ws";
import { RunChannel } from "../src/events/channels.ts";
import type { Patience } from "../src/graphql/client-socket.ts";
import { KnownDocuments } from "../src/graphql/known-documents.ts";
import { buildGraphQLSchema } from "../src/graphql/schema.ts";
import { serveSockets } from "../src/graphql/websocket.ts";
import type { Access } from "../src/identity/identity.ts";
import { createLogger } from "../src/logger.ts";
import { sendEvents } from "../src/rest/event-stream.ts";
import { TcpProxy } from "./support/proxy.ts";
import { documentOf, startTestServer, type TestServer } from "./support/server.ts";

/** More than the kernel's buffers between two sockets hold. */
const EVENTS = 2_000;
const SIZE = 10 * 1024;
const PATIENT: Patience = { reading: 30_000, silence: 12_000 };

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer();
});

afterAll(() => server.close());

/** A run of many large events, all stored. */
async function longRun(): Promise<{ userId: string; runId: string; lastSequence: number }> {
  const userId = uuid();
  const input = { userId, sessionId: "s", message: "Think hard.", memory: "OFF" };
  const { runId, lastSequence } = (
    await server.data("mutation ($input: RunAgentInput!) { runAgent(input: $input) { run { runId lastSequence } } }", { input })
  ).runAgent.run;
  await server.context.database.asLog(async (transaction) => {
    await transaction.query("update recollect_runs set last_sequence = last_sequence + $3 where user_id = $1 and run_id = $2", [
      userId,
      runId,
      EVENTS,
    ]);
    await transaction.query(
      `insert into recollect_run_events (user_id, run_id, sequence, type, data)
      select $1, $2, $3 + position, 'ReasoningDelta', jsonb_build_object('delta', rpad(position || ' ', $5, 'thinking ')) from generate_series(1, $4) as position`,
      [userId, runId, lastSequence, EVENTS, SIZE],
    );
  });
  return { userId, runId, lastSequence: lastSequence + EVENTS };
}

/** The server's WebSocket side with a patience of its own, on the test server's data. */
async function serveWith(patience: Patience) {
  const log = createLogger("silent");
  const contextFor = ({ identity }: Access, operationId: string | null, signal: AbortSignal) => {
    return { services: server.context.services, identity, operationId, signal, closing: new AbortController().signal };
  };
  const documents = new KnownDocuments(buildGraphQLSchema(), true);
  const sockets = serveSockets({
    documents,
    authenticator: server.context.authenticator,
    contextFor,
    masking: { log, hints: true },
    limits: { socketOperations: null, userSockets: null },
    patience,
  });
  const connections: Socket[] = [];
  const http = createServer()
    .on("upgrade", sockets.upgrade)
    .on("connection", (socket) => connections.push(socket));
  http.listen(0, "127.0.0.1");
  await once(http, "listening");
  const { port } = http.address() as AddressInfo;
  return {
    port,
    connections,
    async close() {
      await sockets.close();
      http.close();
    },
  };
}

/** A client that shows each event it gets, and can stop reading. */
class Reader {
  readonly socket: WebSocket;
  readonly sequences: number[] = [];
  readonly done = Promise.withResolvers<void>();
  readonly closed: Promise<[number, Buffer]>;

  constructor(port: number, run: { userId: string; runId: string }, after = 0) {
    this.socket = new WebSocket(`ws://127.0.0.1:${port}/graphql`, "graphql-transport-ws");
    this.closed = once(this.socket, "close") as Promise<[number, Buffer]>;
    this.socket.on("open", () => this.socket.send(JSON.stringify({ type: "connection_init" })));
    this.socket.on("message", (data) => {
      const message = JSON.parse(String(data));
      if (message.type === "connection_ack") {
        const variables = { ...run, after, until: "MEMORY" };
        this.socket.send(JSON.stringify({ id: "1", type: "subscribe", payload: { query: documentOf("FollowRun"), variables } }));
      } else if (message.type === "next") {
        this.sequences.push(message.payload.data.runEvents.sequence);
      } else if (message.type === "complete") {
        this.done.resolve();
      }
    });
  }

  async first(): Promise<void> {
    while (this.sequences.length === 0) {
      await once(this.socket, "message");
    }
  }
}

interface Follower {
  /** Events read from the log for it. */
  pulled: number;
  /** Resolves when nothing more is read for it. */
  left: Promise<void>;
}

/** Looks at who reads the event log, in the order of their coming. */
function watchFollowers(): { followers: Follower[]; stop: () => void } {
  const { events } = server.context.services;
  const follow = events.follow;
  const followers: Follower[] = [];
  events.follow = async function* (...parameters) {
    const left = Promise.withResolvers<void>();
    const follower = { pulled: 0, left: left.promise };
    followers.push(follower);
    try {
      for await (const event of follow.apply(events, parameters)) {
        follower.pulled++;
        yield event;
      }
    } finally {
      left.resolve();
    }
  };
  return {
    followers,
    stop: () => {
      events.follow = follow;
    },
  };
}

const upTo = (last: number, first = 1): number[] => Array.from({ length: last - first + 1 }, (_, index) => first + index);

test("nothing more is read for a WebSocket that takes nothing, others get everything meanwhile, and so does it when it reads on", async () => {
  const run = await longRun();
  const { followers, stop } = watchFollowers();
  const port = Number(new URL(server.url).port);
  const slow = new Reader(port, run);
  await slow.first();
  slow.socket.pause();
  const quick = new Reader(port, run);
  await quick.done.promise;
  expect(quick.sequences).toEqual(upTo(run.lastSequence));
  const taken = followers[0]?.pulled ?? 0;
  expect(taken).toBeLessThan(run.lastSequence * 0.6);
  const another = new Reader(port, run);
  await another.done.promise;
  expect(followers.map((follower) => follower.pulled)).toEqual([taken, run.lastSequence, run.lastSequence]);
  slow.socket.resume();
  await slow.done.promise;
  expect(slow.sequences).toEqual(upTo(run.lastSequence));
  stop();
  for (const reader of [slow, quick, another]) {
    reader.socket.terminate();
  }
});

test("a WebSocket that takes nothing for too long is closed, told how to go on, and goes on without a gap", async () => {
  const run = await longRun();
  const impatient = await serveWith({ ...PATIENT, reading: 200 });
  const { followers, stop } = watchFollowers();
  const slow = new Reader(impatient.port, run);
  await slow.first();
  slow.socket.pause();
  await followers[0]?.left;
  slow.socket.resume();
  const [code, reason] = await slow.closed;
  expect(code).toBe(1013);
  expect(String(reason)).toContain("runEvents(runId, after: ");
  const last = slow.sequences.at(-1) ?? 0;
  expect(slow.sequences).toEqual(upTo(last));
  expect(last).toBeLessThan(run.lastSequence);
  stop();
  const again = new Reader(impatient.port, run, last);
  await again.done.promise;
  expect(again.sequences).toEqual(upTo(run.lastSequence, last + 1));
  again.socket.terminate();
  await impatient.close();
});

test("a peer that is gone without a word is let go; one that only has nothing to say stays", async () => {
  const run = await longRun();
  const impatient = await serveWith({ ...PATIENT, silence: 500 });
  const proxy = await TcpProxy.start("127.0.0.1", impatient.port);
  const gone = new Reader(proxy.port, run, run.lastSequence - 1);
  await gone.done.promise;
  const quiet = new Reader(impatient.port, run, run.lastSequence - 1);
  await quiet.done.promise;
  proxy.set("half-open");
  await once(impatient.connections[0] as Socket, "close");
  expect(quiet.socket.readyState).toBe(WebSocket.OPEN);
  gone.socket.terminate();
  quiet.socket.terminate();
  await proxy.close();
  await impatient.close();
});

test("a reader of server-sent events that takes nothing for too long is told how to go on, and cut off", async () => {
  const released = Promise.withResolvers<void>();
  const ended = Promise.withResolvers<void>();
  const http = createServer((_, response) => {
    async function* events() {
      try {
        for (let id = 1; ; id++) {
          yield { name: "Piece", id, data: { text: "x".repeat(SIZE) } };
        }
      } finally {
        released.resolve();
      }
    }
    const leaving = new AbortController();
    response.once("close", () => leaving.abort());
    void sendEvents(response, events(), leaving.signal, 15_000, 200).then(ended.resolve);
  });
  http.listen(0, "127.0.0.1");
  await once(http, "listening");
  const { port } = http.address() as AddressInfo;
  const [response] = (await once(httpRequest({ port }).end(), "response")) as [IncomingMessage];
  const broken = once(response, "error");
  const goodbye = Promise.withResolvers<void>();
  let tail = "";
  // Not read until the server has given up.
  await released.promise;
  response.setEncoding("utf8").on("data", (chunk: string) => {
    tail = (tail + chunk).slice(-200);
    if (tail.includes("Last-Event-ID")) {
      goodbye.resolve();
    }
  });
  await Promise.all([goodbye.promise, broken, ended.promise]);
  expect(tail).toMatch(/^: You read too slowly.*Idempotency-Key.*Last-Event-ID\.$/m);
  http.close();
});

test("what is kept at hand of a followed run is bounded by its text; who is further behind reads the database", () => {
  const channel = new RunChannel(["user", "run"]);
  for (let sequence = 1; sequence <= 1_000; sequence++) {
    channel.add({ type: "ReasoningDelta", runId: "run", sequence, at: new Date(), delta: "x".repeat(SIZE) });
  }
  expect(channel.eventsAfter(900)).toBeNull();
  expect(channel.eventsAfter(980)).toHaveLength(20);
  channel.add({ type: "ReasoningDelta", runId: "run", sequence: 1_001, at: new Date(), delta: "x".repeat(100 * SIZE) });
  expect(channel.eventsAfter(999)).toBeNull();
  expect(channel.eventsAfter(1_000)).toHaveLength(1);
});
