/** Replies as they are written: over WebSocket, cut, resumed, cancelled. */

import { afterAll, beforeAll, expect, test } from "vitest";
import { WebSocket } from "ws";
import { createSocketClient, documentOf, startTestServer, type TestServer } from "./support/server.ts";

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer();
});

afterAll(() => server.close());

interface Event {
  __typename: string;
  sequence: number;
  delta?: string;
  runId: string;
  // biome-ignore lint/suspicious/noExplicitAny: events have fields of their own.
  [field: string]: any;
}

async function collect(events: AsyncIterable<Event>): Promise<Event[]> {
  const found: Event[] = [];
  for await (const event of events) {
    found.push(event);
  }
  return found;
}

/** The next event of a kind; the stream stays open. */
async function nextOf(events: AsyncGenerator<Event, void>, name: string): Promise<Event> {
  for (let next = await events.next(); !next.done; next = await events.next()) {
    if (next.value.__typename === name) {
      return next.value;
    }
  }
  throw new Error(`The stream ended before ${name}.`);
}

function textOf(events: Event[]): string {
  return events.map((event) => (event.__typename === "TextMessageContent" ? event.delta : "")).join("");
}

test("a subscription starts the run, streams it, and ends after its memory update", async () => {
  const input = { userId: "stream-1", sessionId: "s", message: "I love hiking." };
  const events = await collect(server.subscribe("SendMessage", { input }));
  expect(events.map((event) => event.sequence)).toEqual(events.map((_, index) => index + 1));
  const names = events.map((event) => event.__typename);
  expect(names.slice(0, 3)).toEqual(["RunStarted", "MemoriesRecalled", "TextMessageStart"]);
  expect(names.slice(-3)).toEqual(["TextMessageEnd", "RunFinished", "MemoryUpdate"]);
  const finished = events.find((event) => event.__typename === "RunFinished");
  expect(textOf(events)).toBe(finished?.reply);
  expect(finished?.run).toMatchObject({ status: "COMPLETED", model: "scripted-model" });
  expect(finished?.run.messages.map((message: { content: string }) => message.content)).toEqual(["I love hiking.", finished?.reply]);
  expect(events.at(-1)?.changes[0].memory.memory).toBe("User loves hiking");
});

test("the reply is followed from any sequence, during the run and after it", async () => {
  const gate = server.model.hold(3);
  const input = { userId: "stream-2", sessionId: "s", message: "Tell me something long." };
  const live = server.subscribe("SendMessage", { input, until: "REPLY" });
  const { runId } = await nextOf(live, "TextMessageContent");
  const { session } = await server.data("OpenSession", { userId: "stream-2", sessionId: "s" });
  const [active] = session.activeRuns;
  expect(active).toMatchObject({ runId, status: "RUNNING" });
  const resumed = collect(server.subscribe("FollowRun", { userId: "stream-2", runId, after: active.lastSequence }));
  gate.release();
  await collect(live);
  const rest = await resumed;
  const { run } = await server.data("Run", { userId: "stream-2", runId });
  expect(active.reply + textOf(rest)).toBe(run.reply);
  expect(rest[0]?.sequence).toBe(active.lastSequence + 1);

  for (let after = 0; after <= run.lastSequence; after++) {
    const events = await collect(server.subscribe("FollowRun", { userId: "stream-2", runId, after }));
    expect(events.map((event) => event.sequence)).toEqual(
      Array.from({ length: run.lastSequence - after }, (_, index) => after + 1 + index),
    );
  }
});

test("a socket cut in the middle of the reply comes back to the same run: one model call, no gap, no repeat", async () => {
  const sockets: WebSocket[] = [];
  class CutSocket extends WebSocket {
    constructor(...parameters: ConstructorParameters<typeof WebSocket>) {
      super(...parameters);
      sockets.push(this);
    }
  }
  const asked = server.model.asked("reply").length;
  const gate = server.model.hold(2);
  const client = createSocketClient(server.url, { retryAttempts: 5, socket: CutSocket as typeof WebSocket });
  const input = { userId: "stream-3", sessionId: "s", message: "One two three four five six seven." };
  const seen: Event[] = [];
  let replayed = 0;
  for await (const { data } of client.iterate({ query: documentOf("SendMessage"), variables: { input, until: "REPLY" } })) {
    const event = (data as { runAgent: Event }).runAgent;
    if (event.sequence > (seen.at(-1)?.sequence ?? 0)) {
      seen.push(event);
    } else {
      replayed++;
    }
    if (event.__typename === "TextMessageContent" && sockets.length === 1) {
      sockets[0]?.terminate();
    } else if (sockets.length === 2) {
      gate.release();
    }
  }
  await client.dispose();
  expect(sockets).toHaveLength(2);
  expect(replayed).toBeGreaterThan(0);
  expect(seen.map((event) => event.sequence)).toEqual(seen.map((_, index) => index + 1));
  const { run } = await server.data("Run", { userId: "stream-3", runId: seen[0]?.runId });
  expect(textOf(seen)).toBe(run.reply);
  expect(new Set(seen.map((event) => event.runId)).size).toBe(1);
  expect(server.model.asked("reply").length - asked).toBe(1);
  const { session } = await server.data("OpenSession", { userId: "stream-3", sessionId: "s" });
  expect(session.messages.totalCount).toBe(2);
});

test("leaving a subscription does not stop the run", async () => {
  const gate = server.model.hold(1);
  const live = server.subscribe("SendMessage", { input: { userId: "stream-4", sessionId: "s", message: "Go on without me." } });
  const { runId } = await nextOf(live, "TextMessageContent");
  await live.return();
  gate.release();
  const rest = await collect(server.subscribe("FollowRun", { userId: "stream-4", runId, after: 0 }));
  expect(rest.at(-1)).toMatchObject({ __typename: "RunFinished", run: { status: "COMPLETED" } });
});

test("cancelling keeps what was written, reaches the model request, and lets the next run of the session begin", async () => {
  server.model.hold(2);
  const live = server.subscribe("SendMessage", {
    input: { userId: "stream-5", sessionId: "s", message: "I like tea. Stop me." },
    until: "REPLY",
  });
  const { runId } = await nextOf(live, "TextMessageContent");
  const queued = await server.data("RunAgent", { input: { userId: "stream-5", sessionId: "s", message: "Next." }, waitFor: "ACCEPTED" });
  expect(queued.runAgent.run.status).toBe("QUEUED");
  const request = server.model.asked("reply").at(-1);
  const { cancelRun } = await server.data("CancelRun", { input: { userId: "stream-5", runId } });
  expect(cancelRun.run.status).toBe("CANCELLED");
  await request?.closed;
  expect(request?.aborted).toBe(true);
  const rest = await collect(live);
  expect(rest.at(-1)?.__typename).toBe("RunCancelled");
  const partial = rest.at(-1)?.run.messages[1];
  expect(partial).toMatchObject({ role: "ASSISTANT", complete: false });
  expect(partial.content).toBe(cancelRun.run.reply);
  const followed = await collect(server.subscribe("FollowRun", { userId: "stream-5", runId: queued.runAgent.run.runId, until: "REPLY" }));
  expect(followed.at(-1)?.__typename).toBe("RunFinished");
  const again = await server.data("CancelRun", { input: { userId: "stream-5", runId } });
  expect(again.cancelRun.run.status).toBe("CANCELLED");
});

test("a queued run that is cancelled before it began teaches nothing", async () => {
  const gate = server.model.hold(1);
  const live = server.subscribe("SendMessage", { input: { userId: "stream-6", sessionId: "s", message: "First." }, until: "REPLY" });
  await nextOf(live, "TextMessageContent");
  const second = { userId: "stream-6", sessionId: "s", message: "I love sailing." };
  const { runId } = (await server.data("RunAgent", { input: second, waitFor: "ACCEPTED" })).runAgent.run;
  await server.data("CancelRun", { input: { userId: "stream-6", runId } });
  gate.release();
  await collect(live);
  await server.drain();
  const { run } = await server.data("Run", { userId: "stream-6", runId });
  expect(run).toMatchObject({ status: "CANCELLED", reply: null, memoryUpdate: { status: "SKIPPED" } });
  const { memories } = await server.data("MemoriesByTopic", { userId: "stream-6" });
  expect(memories.totalCount).toBe(0);
});

test("the same idempotency key gives the same run, also in parallel, and refuses another request", async () => {
  const input = { userId: "stream-7", sessionId: "s", message: "I love opera.", idempotencyKey: "once" };
  const answers = await Promise.all(Array.from({ length: 10 }, () => server.data("RunAgent", { input })));
  expect(new Set(answers.map((data) => data.runAgent.run.runId)).size).toBe(1);
  expect(new Set(answers.map((data) => data.runAgent.run.reply)).size).toBe(1);
  expect(server.model.asked("reply").filter((request) => request.prompt.includes("opera"))).toHaveLength(1);
  const conflict = await server.graphql("RunAgent", { input: { ...input, message: "Something else." } });
  expect(conflict.errors?.[0]?.extensions.code).toBe("IDEMPOTENCY_CONFLICT");
});

test("runs of one session are answered one after the other, each knowing the earlier ones", async () => {
  const messages = Array.from({ length: 6 }, (_, index) => `Message number ${index}.`);
  await Promise.all(messages.map((message) => server.data("RunAgent", { input: { userId: "stream-8", sessionId: "s", message } })));
  const { session } = await server.data("OpenSession", { userId: "stream-8", sessionId: "s" });
  const said = session.messages.edges.map((edge: { node: { role: string; content: string } }) => edge.node);
  expect(said.map((message: { role: string }) => message.role)).toEqual(messages.flatMap(() => ["USER", "ASSISTANT"]));
  const order = said.filter((message: { role: string }) => message.role === "USER").map((message: { content: string }) => message.content);
  expect(new Set(order)).toEqual(new Set(messages));
  for (const [index, message] of order.entries()) {
    const prompt = server.model.asked("reply").find((request) => request.body.messages?.at(-1)?.content.includes(message))?.prompt;
    for (const earlier of order.slice(0, index)) {
      expect(prompt).toContain(earlier);
    }
  }
});

test("a busy session refuses or is interrupted when the request says so", async () => {
  const gate = server.model.hold(1);
  const live = server.subscribe("SendMessage", { input: { userId: "stream-9", sessionId: "s", message: "First." }, until: "REPLY" });
  const { runId } = await nextOf(live, "TextMessageContent");
  const refused = await server.graphql("RunAgent", { input: { userId: "stream-9", sessionId: "s", message: "Second.", onBusy: "REJECT" } });
  expect(refused.errors?.[0]?.extensions.code).toBe("CONFLICT");
  for (const message of ["I like waiting.", "I like waiting too."]) {
    await server.data("RunAgent", { input: { userId: "stream-9", sessionId: "s", message }, waitFor: "ACCEPTED" });
  }
  const third = await server.data("RunAgent", { input: { userId: "stream-9", sessionId: "s", message: "Third.", onBusy: "INTERRUPT" } });
  expect(third.runAgent.run.status).toBe("COMPLETED");
  // What waited was taken back before it began: nobody was asked for it.
  expect(server.model.asked("reply").filter((request) => request.body.messages?.at(-1)?.content.includes("waiting"))).toEqual([]);
  const { run } = await server.data("Run", { userId: "stream-9", runId });
  expect(run.status).toBe("CANCELLED");
  gate.release();
  await collect(live);
});
