/** Memories written, changed, deleted and found by hand. */

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { addMemories } from "../src/agent/add-memories.ts";
import type { UserId } from "../src/agent/types.ts";
import { createMemoryStore } from "../src/stores/memories.ts";
import { openDatabase } from "../src/stores/open-database.ts";
import { createTestDatabase } from "./support/database.ts";
import { type GraphQLAnswer, startTestServer, type TestServer } from "./support/server.ts";

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer();
});

afterAll(() => server.close());

interface Written {
  memoryId: string;
  memory: string;
  topics: string[];
  status: string;
  version: number;
  createdAt: string;
}

async function add(userId: string, ...memories: (string | object)[]): Promise<Written[]> {
  const items = memories.map((item) => (typeof item === "string" ? { memory: item } : item));
  const { addMemories } = await server.data("AddMemories", { input: { userId, memories: items } });
  return addMemories.changes.map((change: { memory: Written }) => change.memory);
}

async function addOne(userId: string, memory: string | object): Promise<Written> {
  const [written] = await add(userId, memory);
  if (!written) {
    throw new Error("Nothing was written.");
  }
  return written;
}

async function texts(userId: string, filter: object = {}): Promise<string[]> {
  const { memories } = await server.data("Memories", { userId, filter, orderBy: "OLDEST", first: 100 });
  expect(memories.totalCount).toBe(memories.edges.length);
  return memories.edges.map((edge: { node: Written }) => edge.node.memory);
}

// biome-ignore lint/suspicious/noExplicitAny: tests read answers of every shape.
async function details(userId: string, memoryId: string): Promise<any> {
  return (await server.data("Memory", { userId, memoryId })).memory;
}

function codeOf({ errors }: GraphQLAnswer): string | undefined {
  return errors?.[0]?.extensions.code;
}

/** Lets a memory's time run out. */
function expire(userId: string, memoryId: string): Promise<unknown> {
  return server.context.database.asUser(userId as UserId, (transaction) =>
    transaction.query("update agno_memories set expires_at = now() - interval '1 second' where memory_id = $1", [memoryId]),
  );
}

const TOMORROW = new Date(Date.now() + 86_400_000).toISOString();

describe("addMemories", () => {
  test("gives for each item what was done, in their order, also for one that is there and for one that comes twice", async () => {
    const known = await addOne("add-1", { memory: "User likes tea", topics: ["drinks"] });
    const { addMemories } = await server.data("AddMemories", {
      input: {
        userId: "add-1",
        memories: [
          { memory: "User plays chess", topics: ["Games", "games "], kind: "SKILL", expiresAt: TOMORROW },
          { memory: "user likes TEA.", topics: ["tea"] },
          { memory: "User's name is Ann" },
          { memory: "User plays the chess", topics: ["chess"] },
        ],
      },
    });
    const { changes } = addMemories;
    expect(changes.map((change: { kind: string }) => change.kind)).toEqual(["ADDED", "REINFORCED", "ADDED", "ADDED"]);
    expect(changes[1].memory).toMatchObject({ memoryId: known.memoryId, memory: "User likes tea", topics: ["drinks", "tea"], version: 2 });
    expect(changes[3].id).toBe(changes[0].id);
    expect(changes[0].memory).toMatchObject({ topics: ["games", "chess"], kind: "SKILL" });
    expect(await texts("add-1")).toEqual(["User likes tea", "User plays chess", "User's name is Ann"]);
  });

  test("answers an item whose memory another item replaces", async () => {
    const old = await addOne("add-2", "User's name is Al");
    const written = await add("add-2", "User's name is Al", "User's name is Bob");
    expect(written.map((memory) => [memory.memory, memory.status])).toEqual([
      ["User's name is Al", "SUPERSEDED"],
      ["User's name is Bob", "ACTIVE"],
    ]);
    expect(written[0]?.memoryId).toBe(old.memoryId);
    expect(await texts("add-2")).toEqual(["User's name is Bob"]);
  });

  test("stores nothing when one item is wrong, and names it", async () => {
    const good = { memory: "User likes tea" };
    const cases: [object, string][] = [
      [{ memory: "User likes jazz", topics: ["music", " "] }, "memories.2.topics.1"],
      [{ memory: " " }, "memories.2.memory"],
      [{ memory: "User likes jazz", expiresAt: "2020-01-01T00:00:00Z" }, "memories.2.expiresAt"],
    ];
    for (const [bad, path] of cases) {
      const answer = await server.graphql("AddMemories", { input: { userId: "add-3", memories: [good, good, bad] } });
      expect(codeOf(answer)).toBe("BAD_USER_INPUT");
      expect(answer.errors?.[0]?.extensions.fields).toMatchObject([{ path }]);
    }
    for (const count of [0, 101]) {
      const memories = Array.from({ length: count }, (_, index) => ({ memory: `User likes number ${index}` }));
      expect(codeOf(await server.graphql("AddMemories", { input: { userId: "add-3", memories } }))).toBe("BAD_USER_INPUT");
    }
    const { memories } = await server.data("Memories", { userId: "add-3" });
    expect(memories).toMatchObject({ totalCount: 0, sequence: 0 });
  });

  test("writes a hundred in one unit of work and a handful of statements", async () => {
    // Without a server, whose background work would be counted too.
    const files = await createTestDatabase();
    const database = await openDatabase(files.options);
    try {
      const store = createMemoryStore(database, () => undefined);
      const inputs = Array.from({ length: 100 }, (_, index) => ({
        memory: `User likes number ${index}`,
        topics: [],
        kind: "OTHER" as const,
      }));
      for (const added of ["ADDED", "REINFORCED"]) {
        const before = { ...database.counts };
        const changes = await addMemories("add-4" as UserId, { memories: inputs }, store);
        expect(new Set(changes.map((change) => change.kind))).toEqual(new Set([added]));
        expect(database.counts.units - before.units).toBe(1);
        expect(database.counts.statements - before.statements).toBeLessThanOrEqual(6);
      }
    } finally {
      await database.close();
      await files.remove();
    }
  });

  test("keeps a confirmed memory as long as the longer of the two was to be kept", async () => {
    await add("add-5", { memory: "User is in Rome", expiresAt: TOMORROW }, { memory: "User likes tea" });
    const [rome, tea] = await add("add-5", "User is in Rome", { memory: "User likes tea", expiresAt: TOMORROW });
    expect((await details("add-5", rome?.memoryId ?? "")).expiresAt).toBeNull();
    expect((await details("add-5", tea?.memoryId ?? "")).expiresAt).toBeNull();
  });
});

describe("updateMemory", () => {
  test("changes the text and what follows from it, keeps the rest, and is in the history", async () => {
    const written = await addOne("update-1", { memory: "User likes tea", topics: ["drinks"] });
    await server.context.database.asUser("update-1" as UserId, (transaction) =>
      transaction.query("update agno_memories set feedback = 'GOOD' where memory_id = $1", [written.memoryId]),
    );
    const input = { userId: "update-1", memoryId: written.memoryId, memory: " User likes espresso ", expectedVersion: 1 };
    const { updateMemory } = await server.data("UpdateMemory", { input });
    expect(updateMemory.change).toMatchObject({ kind: "UPDATED", before: { memory: "User likes tea" }, memory: { version: 2 } });
    const memory = await details("update-1", written.memoryId);
    expect(memory).toMatchObject({
      memory: "User likes espresso",
      topics: ["drinks"],
      feedback: "GOOD",
      origin: "MANUAL",
      createdAt: written.createdAt,
      version: 2,
    });
    expect(memory.history[0]).toMatchObject({
      kind: "UPDATED",
      before: { memory: "User likes tea", topics: ["drinks"], status: "ACTIVE" },
      after: { memory: "User likes espresso", topics: ["drinks"], status: "ACTIVE" },
      at: updateMemory.change.at,
    });
    const search = async (query: string) => (await server.data("SearchMemories", { userId: "update-1", query })).searchMemories.length;
    expect([await search("espresso"), await search("tea")]).toEqual([1, 0]);
    // The old text is free again, the new one is taken.
    const [tea, espresso] = await add("update-1", "User likes tea", "user likes espresso");
    expect(tea?.memoryId).not.toBe(written.memoryId);
    expect(espresso?.memoryId).toBe(written.memoryId);
  });

  test("leaves what is not named as it is, and does nothing when it is so already", async () => {
    const written = await addOne("update-2", { memory: "User likes tea", topics: ["drinks"], expiresAt: TOMORROW });
    const update = async (fields: object) =>
      (await server.data("UpdateMemory", { input: { userId: "update-2", memoryId: written.memoryId, ...fields } })).updateMemory;
    expect(await update({ pinned: true })).toMatchObject({
      memory: { pinned: true, version: 2, expiresAt: TOMORROW },
      change: { kind: "UPDATED", before: { pinned: false } },
    });
    expect(await update({ topics: ["Drinks", "tea"] })).toMatchObject({
      memory: { topics: ["drinks", "tea"], pinned: true, version: 3, memory: "User likes tea" },
    });
    expect(await update({ expiresAt: null })).toMatchObject({ memory: { expiresAt: null, version: 4 } });
    for (const same of [{}, { pinned: true }, { topics: ["drinks", "tea"] }, { memory: "User likes tea " }, { expiresAt: null }]) {
      expect(await update(same)).toMatchObject({ memory: { version: 4 }, change: null });
    }
  });

  test.each([
    [{ memory: null }, "memory"],
    [{ topics: null }, "topics"],
    [{ pinned: null }, "pinned"],
    [{ memory: "" }, "memory"],
    [{ memory: "x".repeat(2_001) }, "memory"],
    [{ memory: "a\0b" }, "memory"],
    [{ topics: ["\ud800"] }, "topics.0"],
    [{ topics: Array.from({ length: 17 }, (_, index) => `t${index}`) }, "topics"],
    [{ expiresAt: "2020-01-01T00:00:00Z" }, "expiresAt"],
    [{ memoryId: "" }, "memoryId"],
  ])("refuses %j", async (fields, path) => {
    const { memoryId } = await addOne("update-3", "User likes tea");
    const answer = await server.graphql("UpdateMemory", { input: { userId: "update-3", memoryId, ...fields } });
    expect(codeOf(answer)).toBe("BAD_USER_INPUT");
    expect(answer.errors?.[0]?.extensions.fields).toMatchObject([{ path }]);
  });

  test("of two editors at once one is told of the conflict, and the history holds what was stored", async () => {
    const { memoryId } = await addOne("update-4", "User likes tea");
    const edit = (memory: string) =>
      server.graphql("UpdateMemory", { input: { userId: "update-4", memoryId, memory, expectedVersion: 1 } });
    const answers = await Promise.all([edit("User likes green tea"), edit("User likes black tea")]);
    const [refused] = answers.filter((answer) => answer.errors);
    const [stored] = answers.filter((answer) => !answer.errors);
    expect(codeOf(refused ?? { data: null })).toBe("CONFLICT");
    expect(refused?.errors?.[0]?.extensions.currentVersion).toBe(2);
    const winner = stored?.data.updateMemory.memory.memory;
    const memory = await details("update-4", memoryId);
    expect(memory).toMatchObject({ memory: winner, version: 2 });
    // Whoever lost sends it again with the version they were told.
    await server.data("UpdateMemory", { input: { userId: "update-4", memoryId, memory: "User likes all tea", expectedVersion: 2 } });
    const { history } = await details("update-4", memoryId);
    expect(history.map((change: { after: { memory: string } }) => change.after.memory)).toEqual([
      "User likes all tea",
      winner,
      "User likes tea",
    ]);
  });

  test("without a version every editor's change is stored, one after the other", async () => {
    const { memoryId } = await addOne("update-5", "User likes tea");
    const edits = Array.from({ length: 8 }, (_, index) => `User likes tea number ${index}`);
    await Promise.all(edits.map((memory) => server.data("UpdateMemory", { input: { userId: "update-5", memoryId, memory } })));
    const { history, version } = await details("update-5", memoryId);
    expect(version).toBe(9);
    expect(new Set(history.map((change: { after: { memory: string } }) => change.after.memory))).toEqual(
      new Set(["User likes tea", ...edits]),
    );
    for (const [index, change] of history.slice(0, -1).entries()) {
      expect(change.before.memory).toBe(history[index + 1].after.memory);
    }
  });

  test("refuses a text that another active memory says, and names that one", async () => {
    const [tea, coffee] = await add("update-6", "User likes tea", "User likes coffee");
    const input = { userId: "update-6", memoryId: coffee?.memoryId, memory: "User likes TEA!" };
    const answer = await server.graphql("UpdateMemory", { input });
    expect(codeOf(answer)).toBe("CONFLICT");
    expect(answer.errors?.[0]?.message).toContain(tea?.memoryId);
    await server.data("DeleteMemory", { input: { userId: "update-6", memoryId: tea?.memoryId } });
    await server.data("UpdateMemory", { input });
    expect(await texts("update-6")).toEqual(["User likes TEA!"]);
  });

  test("takes a slot that is free, and leaves one that another memory has", async () => {
    const [al, other] = await add("update-7", "User's name is Al", "User likes tea");
    await server.data("UpdateMemory", { input: { userId: "update-7", memoryId: other?.memoryId, memory: "User's name is Bob" } });
    expect(await texts("update-7")).toEqual(["User's name is Al", "User's name is Bob"]);
    await server.data("UpdateMemory", { input: { userId: "update-7", memoryId: al?.memoryId, memory: "User likes Al Green" } });
    // Nobody has the slot now: the next name is added, and the one after that replaces it.
    await add("update-7", "User's name is Carl");
    const dan = await addOne("update-7", "User's name is Dan");
    expect(await texts("update-7")).toEqual(["User likes Al Green", "User's name is Bob", "User's name is Dan"]);
    await server.data("UpdateMemory", { input: { userId: "update-7", memoryId: dan.memoryId, memory: "User's name is Daniel" } });
    await add("update-7", "User's name is Eve");
    expect(await texts("update-7")).toEqual(["User likes Al Green", "User's name is Bob", "User's name is Eve"]);
  });

  test("a correction by hand is not replaced by what is learned later", async () => {
    const run = (message: string) => server.data("RunAgent", { input: { userId: "update-8", sessionId: "s", message }, waitFor: "MEMORY" });
    await run("I live in Paris.");
    const { memories } = await server.data("Memories", { userId: "update-8" });
    const { memoryId, memory } = memories.edges[0].node;
    expect(memory).toBe("User lives in Paris");
    await server.data("UpdateMemory", { input: { userId: "update-8", memoryId, memory: "User lives in Lyon" } });
    await run("I live in Berlin.");
    expect(await texts("update-8")).toEqual(["User lives in Lyon", "User lives in Berlin"]);
    const corrected = await details("update-8", memoryId);
    expect(corrected).toMatchObject({ origin: "MANUAL", evidence: [{ quote: expect.stringContaining("live in Paris") }] });
  });

  test("refuses what is no longer active, and says what to do", async () => {
    const old = await addOne("update-9", "User's name is Al");
    const next = await addOne("update-9", "User's name is Bob");
    const answer = await server.graphql("UpdateMemory", {
      input: { userId: "update-9", memoryId: old.memoryId, memory: "User's name is Alan" },
    });
    expect(codeOf(answer)).toBe("CONFLICT");
    expect(answer.errors?.[0]?.message).toContain(next.memoryId);
  });
});

describe("deleteMemory", () => {
  test("retires it, once, and lets it be learned again", async () => {
    const { memoryId } = await addOne("delete-1", "User likes tea");
    const stale = await server.graphql("DeleteMemory", { input: { userId: "delete-1", memoryId, expectedVersion: 7 } });
    expect(codeOf(stale)).toBe("CONFLICT");
    expect(stale.errors?.[0]?.extensions.currentVersion).toBe(1);
    const { deleteMemory } = await server.data("DeleteMemory", { input: { userId: "delete-1", memoryId, expectedVersion: 1 } });
    expect(deleteMemory).toMatchObject({
      memory: { status: "RETIRED", version: 2 },
      change: { kind: "DELETED", before: { memory: "User likes tea", status: "ACTIVE" } },
    });
    const again = await server.data("DeleteMemory", { input: { userId: "delete-1", memoryId, expectedVersion: 1 } });
    expect(again.deleteMemory).toMatchObject({ memory: { version: 2 }, change: null });
    const memory = await details("delete-1", memoryId);
    expect(memory.history[0]).toMatchObject({ kind: "DELETED", after: null });
    expect(memory.validTo).not.toBeNull();
    expect(await texts("delete-1")).toEqual([]);
    expect(await texts("delete-1", { status: "RETIRED" })).toEqual(["User likes tea"]);
    expect((await addOne("delete-1", "User likes tea")).memoryId).not.toBe(memoryId);
  });

  test("another user's memory and an unknown one get the same answer, and nothing happens", async () => {
    const { memoryId } = await addOne("delete-2", "User likes tea");
    for (const [operation, fields] of [
      ["UpdateMemory", { memory: "User likes nothing" }],
      ["DeleteMemory", {}],
    ] as const) {
      const ask = (id: string) => server.graphql(operation, { input: { userId: "delete-3", memoryId: id, ...fields } });
      const theirs = await ask(memoryId);
      expect(codeOf(theirs)).toBe("NOT_FOUND");
      for (const unknown of ["unknown", "'; drop table agno_memories; --", "\\", "%"]) {
        expect(await ask(unknown)).toEqual(theirs);
      }
    }
    expect(await texts("delete-2")).toEqual(["User likes tea"]);
  });
});

test("clearMemories retires all of one user's memories, each with its history entry, and nothing is recalled any more", async () => {
  const written = await add("clear-1", "User likes tea", "User plays chess", { memory: "User is in Rome", expiresAt: TOMORROW });
  await add("clear-2", "User likes tea");
  await expire("clear-1", written[2]?.memoryId ?? "");
  expect((await server.data("ClearMemories", { input: { userId: "clear-1" } })).clearMemories.clearedCount).toBe(2);
  expect((await server.data("ClearMemories", { input: { userId: "clear-1" } })).clearMemories.clearedCount).toBe(0);
  expect(await texts("clear-1")).toEqual([]);
  expect((await server.data("MemoryTopics", { userId: "clear-1" })).memoryTopics).toEqual([]);
  const kinds = await Promise.all(written.map(async ({ memoryId }) => (await details("clear-1", memoryId)).history[0].kind));
  expect(kinds).toEqual(["DELETED", "DELETED", "EXPIRED"]);
  expect((await server.data("Memories", { userId: "clear-1" })).memories.sequence).toBe(6);
  const { runAgent } = await server.data("RunAgent", { input: { userId: "clear-1", message: "What do I like?" } });
  const { run } = await server.data("Run", { userId: "clear-1", runId: runAgent.run.runId });
  expect(run.recall).toMatchObject({ complete: true, used: [] });
  expect(await texts("clear-2")).toEqual(["User likes tea"]);
  expect((await server.data("ClearMemories", { input: { userId: "clear-nobody" } })).clearMemories.clearedCount).toBe(0);
});

test("one whose time has run out is not active: not in lists, counts, topics, search or recall, and its text is free again", async () => {
  const { memoryId } = await addOne("expired-1", { memory: "User is in Rome", topics: ["travel"], expiresAt: TOMORROW });
  await add("expired-1", { memory: "User likes Rome", topics: ["travel"] });
  await expire("expired-1", memoryId);
  expect(await texts("expired-1")).toEqual(["User likes Rome"]);
  expect(await texts("expired-1", { status: "RETIRED" })).toEqual(["User is in Rome"]);
  expect((await server.data("MemoryTopics", { userId: "expired-1" })).memoryTopics).toEqual([{ topic: "travel", count: 1 }]);
  expect((await server.data("SearchMemories", { userId: "expired-1", query: "Rome" })).searchMemories).toHaveLength(1);
  expect(await details("expired-1", memoryId)).toMatchObject({ status: "RETIRED" });
  const again = await addOne("expired-1", "User is in Rome");
  expect(again.memoryId).not.toBe(memoryId);
  const expired = await details("expired-1", memoryId);
  expect(expired.history[0]).toMatchObject({ kind: "EXPIRED", before: { status: "ACTIVE" }, after: { status: "RETIRED" } });
  expect(await texts("expired-1")).toEqual(["User likes Rome", "User is in Rome"]);

  const other = await addOne("expired-1", { memory: "User is in Oslo", expiresAt: TOMORROW });
  await expire("expired-1", other.memoryId);
  await server.data("UpdateMemory", { input: { userId: "expired-1", memoryId: again.memoryId, memory: "User is in Oslo" } });
  expect(await texts("expired-1")).toEqual(["User likes Rome", "User is in Oslo"]);
});

test("topics are counted, most used first, then by name", async () => {
  await add(
    "topics-1",
    { memory: "User likes tea", topics: ["drinks", "b"] },
    { memory: "User likes coffee", topics: ["Drinks", "a"] },
    { memory: "User likes jazz", topics: ["%", "_"] },
  );
  const { memoryTopics } = await server.data("MemoryTopics", { userId: "topics-1" });
  expect(memoryTopics.map(({ topic, count }: { topic: string; count: number }) => `${topic} ${count}`)).toEqual([
    "drinks 2",
    "% 1",
    "_ 1",
    "a 1",
    "b 1",
  ]);
  expect((await server.data("MemoryTopics", { userId: "topics-nobody" })).memoryTopics).toEqual([]);
});

describe("searchMemories", () => {
  // biome-ignore lint/suspicious/noExplicitAny: tests read answers of every shape.
  const search = async (userId: string, query: string, rest: object = {}): Promise<any[]> =>
    (await server.data("SearchMemories", { userId, query, ...rest })).searchMemories;

  beforeAll(async () => {
    await add(
      "search-1",
      { memory: "User enjoys hiking in the mountains", topics: ["hobbies", "outdoors"], kind: "PREFERENCE" },
      { memory: "User bought new boots", topics: ["hobbies"] },
      { memory: "User writes Rust", topics: ["programming", "machine learning"] },
      { memory: "用户喜欢徒步", topics: ["爱好"] },
    );
    await add("search-2", { memory: "User hates hiking", topics: ["hobbies"] });
  });

  test("finds by words, stemmed, the way a run does, and says why", async () => {
    const [first, ...others] = await search("search-1", "Where did I hike?");
    expect(first).toMatchObject({ memory: { memory: "User enjoys hiking in the mountains" }, ranks: [{ arm: "TEXT", rank: 1 }] });
    expect(first.why).toContain('"hike"');
    expect(others).toEqual([]);
  });

  test("finds by a topic of one or more words, in any case and script, best first", async () => {
    const hobbies = await search("search-1", "my hobbies in the mountains");
    expect(hobbies.map(({ memory }) => memory.memory)).toEqual(["User enjoys hiking in the mountains", "User bought new boots"]);
    expect(hobbies[1].ranks).toContainEqual({ arm: "TOPIC", rank: 2 });
    expect(hobbies[1].why).toContain('topic "hobbies"');
    expect(hobbies[0].score).toBeGreaterThan(hobbies[1].score);
    expect((await search("search-1", "Machine Learning?"))[0].ranks[1]).toEqual({ arm: "TOPIC", rank: 1 });
    expect((await search("search-1", "爱好"))[0].memory.memory).toBe("用户喜欢徒步");
  });

  test("keeps to the filter and the limit, and gives nothing when nothing fits", async () => {
    expect(await search("search-1", "hobbies", { limit: 1 })).toHaveLength(1);
    expect(await search("search-1", "hobbies", { filter: { kind: "PREFERENCE" } })).toHaveLength(1);
    expect(await search("search-1", "hobbies", { filter: { status: "RETIRED" } })).toEqual([]);
    for (const nothing of ["submarine", "the of and", "%", "' or 1=1 --", "\\", "a:*&|!()<->", "''"]) {
      expect(await search("search-1", nothing), nothing).toEqual([]);
    }
    expect(await search("search-nobody", "hiking")).toEqual([]);
  });

  test("refuses an empty query and a limit out of range", async () => {
    for (const wrong of [{ query: " " }, { query: "\0" }, { query: "tea", limit: 0 }, { query: "tea", limit: 101 }]) {
      expect(codeOf(await server.graphql("SearchMemories", { userId: "search-1", ...wrong }))).toBe("BAD_USER_INPUT");
    }
  });
});
