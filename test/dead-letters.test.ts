/** Work that was given up is listed, and done after all once its cause is mended. Runs in the background: accepted, looked at, listed. */

import { afterAll, beforeAll, expect, test } from "vitest";
import { says } from "./support/model-answers.ts";
import { startTestServer, type TestServer } from "./support/server.ts";

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer();
});

afterAll(() => server.close());

interface Event {
  __typename: string;
  sequence: number;
}

async function collect(events: AsyncIterable<Event>): Promise<Event[]> {
  const found: Event[] = [];
  for await (const event of events) {
    found.push(event);
  }
  return found;
}

function follow(userId: string, runId: string, after = 0): AsyncGenerator<Event, void> {
  return server.subscribe("FollowRun", { userId, runId, after, until: "MEMORY" });
}

/** A run whose extraction is tried until it is given up. */
async function giveUp(userId: string, message: string): Promise<string> {
  server.model.respond((request) => (request.purpose === "extraction" && request.prompt.includes(message) ? says("No.") : undefined));
  const { runAgent } = await server.data("RunAgent", { input: { userId, sessionId: "s", message } });
  await server.drain();
  return runAgent.run.runId;
}

function mend(): void {
  server.model.respond(() => undefined);
}

async function failed(userId: string, variables: object = {}) {
  const { failedMemoryUpdates } = await server.data("FailedMemoryUpdates", { userId, ...variables });
  const ids: string[] = failedMemoryUpdates.edges.map((edge: { node: { runId: string } }) => edge.node.runId);
  return { ...failedMemoryUpdates, ids };
}

test("runs whose memory update failed for good are listed with the reason, newest first, a page at a time, each user's own", async () => {
  const userId = "dead-1";
  const messages = ["I love hiking.", "I love chess.", "I love rowing."];
  const runIds: string[] = [];
  for (const message of messages) {
    runIds.push(await giveUp(userId, message));
  }
  mend();
  await server.data("RunAgent", { input: { userId, sessionId: "s", message: "I love tea." }, waitFor: "MEMORY" });
  const [first, second, third] = runIds;
  expect((await failed(userId)).ids).toEqual([third, second, first]);
  const page = await failed(userId, { first: 2 });
  expect(page).toMatchObject({ ids: [third, second], pageInfo: { hasNextPage: true } });
  expect(page.edges[0].node.memoryUpdate).toMatchObject({ status: "FAILED", error: { code: "MODEL_BAD_RESPONSE" } });
  expect(await failed(userId, { first: 2, after: page.pageInfo.endCursor })).toMatchObject({
    ids: [first],
    pageInfo: { hasNextPage: false },
  });
  expect((await failed("dead-1-other")).ids).toEqual([]);
  const bad = await server.graphql("FailedMemoryUpdates", { userId, after: "nonsense" });
  expect(bad.errors?.[0]?.extensions.code).toBe("BAD_USER_INPUT");
});

test("tried again it is PENDING, then remembered once; whoever follows sees the failure, then the update, and ends there", async () => {
  const userId = "dead-2";
  const runId = await giveUp(userId, "I love hiking.");
  const before = await collect(follow(userId, runId));
  expect(before.at(-1)?.__typename).toBe("MemoryUpdateFailed");
  mend();

  const asked = server.model.asked("extraction").length;
  const gate = server.model.hold(0, "extraction");
  const input = { userId, runId, idempotencyKey: "retry" };
  const { run } = (await server.data("RetryMemoryUpdate", { input })).retryMemoryUpdate;
  expect(run).toMatchObject({ lastSequence: before.at(-1)?.sequence, memoryUpdate: { status: "PENDING", error: null } });
  expect((await failed(userId)).ids).toEqual([]);
  await gate.reached;
  // While it is under way a second request begins no second one.
  await server.data("RetryMemoryUpdate", { input: { userId, runId } });
  const fromStart = follow(userId, runId);
  const fromHere = follow(userId, runId, run.lastSequence);
  const seen: Event[] = [];
  while (seen.length < before.length) {
    const { value } = await fromStart.next();
    seen.push(value as Event);
  }
  expect(seen).toEqual(before);
  gate.release();
  const update = await collect(fromHere);
  expect(update).toMatchObject([{ __typename: "MemoryUpdate", sequence: run.lastSequence + 1 }]);
  expect(await collect(fromStart)).toEqual(update);
  expect(await collect(follow(userId, runId))).toEqual([...before, ...update]);

  await server.data("RetryMemoryUpdate", { input });
  await server.data("RetryMemoryUpdate", { input: { userId, runId } });
  await server.drain();
  const after = (await server.data("Run", { userId, runId })).run;
  expect(after).toMatchObject({ lastSequence: run.lastSequence + 1, memoryUpdate: { status: "DONE", changes: [{ kind: "ADDED" }] } });
  const jobs = await server.context.database.asOperator((transaction) =>
    transaction.query("select state from recollect_jobs where user_id = $1", [userId]),
  );
  expect(jobs).toEqual([]);
  expect(server.model.asked("extraction").length - asked).toBe(1);
});

test("what fails again is listed again, and can be tried again; a key tries once", async () => {
  const userId = "dead-3";
  const runId = await giveUp(userId, "I love hiking.");
  const input = { userId, runId, idempotencyKey: "retry" };
  await server.data("RetryMemoryUpdate", { input });
  const followed = collect(follow(userId, runId));
  await server.drain();
  expect((await followed).map(({ __typename }) => __typename).slice(-2)).toEqual(["MemoryUpdateFailed", "MemoryUpdateFailed"]);
  expect((await failed(userId)).ids).toEqual([runId]);
  mend();
  await server.data("RetryMemoryUpdate", { input });
  await server.drain();
  expect((await failed(userId)).ids).toEqual([runId]);
  await server.data("RetryMemoryUpdate", { input: { ...input, idempotencyKey: "second try" } });
  await server.drain();
  expect((await server.data("Run", { userId, runId })).run.memoryUpdate.status).toBe("DONE");
});

test("a run in the background is accepted at once, found by its id, and listed by its status", async () => {
  const userId = "background";
  const gate = server.model.hold(1);
  const send = async (message: string) => {
    const { runAgent } = await server.data("RunAgent", { input: { userId, sessionId: "s", message }, waitFor: "ACCEPTED" });
    return runAgent.run;
  };
  const first = await send("Hello!");
  const second = await send("Hello again!");
  expect([first.status, second.status]).toEqual(["RUNNING", "QUEUED"]);
  await gate.reached;
  const listed = async (status: string[]) => {
    const { session } = await server.data("SessionRuns", { userId, sessionId: "s", status });
    return session.runs.edges.map((edge: { node: { runId: string } }) => edge.node.runId);
  };
  expect(await listed(["RUNNING"])).toEqual([first.runId]);
  expect(await listed(["QUEUED", "RUNNING"])).toEqual([second.runId, first.runId]);
  expect((await server.data("Run", { userId, runId: first.runId })).run).toMatchObject({ status: "RUNNING", finishedAt: null });
  gate.release();
  for (const { runId } of [first, second]) {
    await collect(server.subscribe("FollowRun", { userId, runId, after: 0 }));
    expect((await server.data("Run", { userId, runId })).run).toMatchObject({
      status: "COMPLETED",
      reply: expect.stringContaining("Hello"),
    });
  }
  expect(await listed(["RUNNING", "QUEUED"])).toEqual([]);
  expect(await listed(["COMPLETED"])).toEqual([second.runId, first.runId]);
});
