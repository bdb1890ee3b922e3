/** Watching what changes about a user: from a list on, or from now, by as many as want to, and nobody else's. */

import { afterAll, beforeAll, expect, test } from "vitest";
import { addMemory } from "../src/agent/add-memories.ts";
import { deleteMemory, updateMemory } from "../src/agent/edit-memories.ts";
import type { UserId } from "../src/agent/types.ts";
import { createMemoryFeed } from "../src/events/memory-feed.ts";
import { createMemoryStore } from "../src/stores/memories.ts";
import { startTestServer, type TestServer } from "./support/server.ts";

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer();
});

afterAll(() => server.close());

interface Change {
  sequence: number;
  kind: string;
  memory: { memoryId: string; memory: string; status: string };
}

async function take(changes: AsyncGenerator<Change, void>, count: number): Promise<Change[]> {
  const found: Change[] = [];
  while (found.length < count) {
    const next = await changes.next();
    if (next.done) {
      throw new Error(`The stream ended after ${found.length} of ${count} changes.`);
    }
    found.push(next.value);
  }
  return found;
}

function watch(userId: string, after?: number): AsyncGenerator<Change, void> {
  return server.subscribe("WatchMemories", { userId, ...(after !== undefined && { after }) });
}

async function add(userId: string, memory: string): Promise<string> {
  return (await server.data("AddMemory", { input: { userId, memory } })).addMemory.memory.memoryId;
}

function upTo(count: number, from = 1): number[] {
  return Array.from({ length: count }, (_, index) => from + index);
}

function sequences(changes: Change[]): number[] {
  return changes.map((change) => change.sequence);
}

test("every way of changing a memory is seen, in order", async () => {
  const userId = "events-1";
  const changes = watch(userId, 0);
  const tea = await add(userId, "User likes tea");
  await server.data("UpdateMemory", { input: { userId, memoryId: tea, memory: "User likes green tea" } });
  await server.data("RunAgent", { input: { userId, sessionId: "s", message: "I love hiking." }, waitFor: "MEMORY" });
  await server.data("AddMemories", { input: { userId, memories: [{ memory: "User likes green tea" }, { memory: "User plays chess" }] } });
  await server.data("DeleteMemory", { input: { userId, memoryId: tea } });
  await server.data("ClearMemories", { input: { userId } });
  const seen = await take(changes, 8);
  await changes.return();
  expect(sequences(seen)).toEqual(upTo(8));
  expect(seen.map((change) => change.kind)).toEqual(["ADDED", "UPDATED", "ADDED", "REINFORCED", "ADDED", "DELETED", "DELETED", "DELETED"]);
  expect(seen[2]?.memory.memory).toBe("User loves hiking");
  expect(seen[7]?.memory).toMatchObject({ memory: "User plays chess", status: "RETIRED" });
});

test("nothing is lost between a list and the subscription, from any sequence", async () => {
  const userId = "events-2";
  for (const index of upTo(5)) {
    await add(userId, `User likes number ${index}`);
  }
  const { sequence } = (await server.data("Memories", { userId })).memories;
  await add(userId, "User plays chess");
  const next = watch(userId, sequence);
  expect((await take(next, 1))[0]?.memory.memory).toBe("User plays chess");
  await next.return();
  for (const after of upTo(6, 0)) {
    const changes = watch(userId, after);
    expect(sequences(await take(changes, 6 - after))).toEqual(upTo(6 - after, after + 1));
    await changes.return();
  }
});

test("writers at once, two watchers and one who comes back: each sees every change once and in order, and nobody else's", async () => {
  const [userId, other] = ["events-3", "events-3-other"];
  const memoryId = await add(userId, "User likes tea");
  const writers = upTo(10).flatMap((index) => [
    add(userId, `User likes number ${index}`),
    server.data("UpdateMemory", { input: { userId, memoryId, memory: `User likes tea number ${index}` } }),
    add(other, `User hates number ${index}`),
  ]);
  const runs = upTo(3).map((index) =>
    server.data("RunAgent", { input: { userId, sessionId: `s${index}`, message: `I love sport number ${index}.` }, waitFor: "MEMORY" }),
  );
  const watchOnce = async () => {
    const changes = watch(userId, 0);
    const seen = await take(changes, 24);
    await changes.return();
    return seen;
  };
  const watchTwice = async () => {
    const first = watch(userId, 0);
    const seen = await take(first, 9);
    await first.return();
    const second = watch(userId, seen.at(-1)?.sequence);
    seen.push(...(await take(second, 15)));
    await second.return();
    return seen;
  };
  const [one, two, three] = await Promise.all([watchOnce(), watchOnce(), watchTwice(), ...writers, ...runs]);
  for (const seen of [one, two, three]) {
    expect(sequences(seen)).toEqual(upTo(24));
    expect(seen.map((change) => change.memory.memory).filter((memory) => memory.includes("hates"))).toEqual([]);
  }
  expect((await server.data("Memories", { userId })).memories.sequence).toBe(24);
});

test("without a sequence it begins now", async () => {
  const userId = "events-4";
  await add(userId, "User likes the past");
  const changes = watch(userId);
  const first = changes.next();
  let settled = false;
  void first.then(() => {
    settled = true;
  });
  // When the server has begun is not told: something happens until the first change is seen.
  const added: string[] = [];
  while (!settled) {
    added.push(`User likes number ${added.length}`);
    await add(userId, added.at(-1) ?? "");
  }
  const { value } = await first;
  expect(added).toContain((value as Change).memory.memory);
  await changes.return();
});

// Once in 30 s all followers look, whether or not anybody told them.
test("what nobody told this process of is seen at its next look", { timeout: 90_000 }, async () => {
  const userId = "events-5";
  await add(userId, "User likes tea");
  const changes = watch(userId, 0);
  await take(changes, 1);
  // A store that wakes nobody.
  const elsewhere = createMemoryStore(server.context.database, () => undefined);
  await elsewhere.clear(userId as UserId, null);
  expect(await take(changes, 1)).toMatchObject([{ sequence: 2, kind: "DELETED" }]);
  await changes.return();
});

test("every writer wakes the watchers of its user, once the change is committed", async () => {
  const userId = "events-8" as UserId;
  const woken: string[] = [];
  const store = createMemoryStore(server.context.database, (user) => woken.push(user));
  const { memory } = await addMemory(userId, { memory: "User likes tea", topics: [], kind: "OTHER" }, store);
  await updateMemory(userId, { memoryId: memory.memoryId, pinned: true }, store);
  await deleteMemory(userId, { memoryId: memory.memoryId }, store);
  await store.clear(userId, null);
  expect(woken).toEqual([userId, userId, userId, userId]);
  await expect(deleteMemory(userId, { memoryId: "unknown" }, store)).rejects.toMatchObject({ code: "NOT_FOUND" });
  await expect(updateMemory(userId, { memoryId: memory.memoryId, pinned: false }, store)).rejects.toMatchObject({ code: "CONFLICT" });
});

test("a reader who takes nothing makes the server read nothing, and who takes all gets all", async () => {
  const userId = "events-6" as UserId;
  for (const batch of upTo(3)) {
    const memories = upTo(100).map((index) => ({ memory: `User likes number ${batch * 100 + index}` }));
    await server.data("AddMemories", { input: { userId, memories } });
  }
  const { memories } = server.context.services;
  let reads = 0;
  const feed = createMemoryFeed((...wanted) => {
    reads++;
    return memories.changesAfter(...wanted);
  }, memories.sequence);
  const leave = new AbortController();
  const changes = feed.follow(userId, 0, leave.signal);
  await changes.next();
  await add(userId, "User likes tea");
  feed.wake(userId);
  expect(reads).toBe(1);
  let last = 1;
  for await (const { sequence } of changes) {
    expect(sequence).toBe(++last);
    if (sequence === 301) {
      leave.abort();
    }
  }
  expect(last).toBe(301);
});

test("a sequence below 0 and a missing user are refused", async () => {
  for (const variables of [{ userId: "events-7", after: -1 }, {}]) {
    const changes = server.subscribe("WatchMemories", variables);
    await expect(changes.next()).rejects.toMatchObject({ errors: [{ extensions: { code: "BAD_USER_INPUT" } }] });
  }
});
