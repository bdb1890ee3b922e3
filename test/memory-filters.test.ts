/** Lists of memories against a list in memory: whatever the text, a filter finds it and nothing else, and pages leave nothing out. */

import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startTestServer, type TestServer } from "./support/server.ts";

let server: TestServer;
let users = 0;

beforeAll(async () => {
  server = await startTestServer();
});

afterAll(() => server.close());

interface Stored {
  memoryId: string;
  memory: string;
  topics: string[];
}

/** Letters that have more than two cases, share one or change their length with it, and what SQL or JSON might take for its own. */
const PIECES = [
  ..."%_\\'\"`$?:;,.-/*&|!()<>[]{}#@^~+=",
  ..."aAbBzZ019 \n\t",
  ..."İıIißẞΣσςǅǆǄﬁſKÅéÉΐŉ",
  ..."日本語🙂",
  "''",
  "$1",
  "--",
  "\\'",
  "%s",
  "ss",
  "SS",
  "e\u0301",
  "ΟΔΟΣ",
  "οδος",
  "i\u0307",
  "\u200d",
  "👩‍👧",
  "null",
];

const text = fc
  .array(fc.oneof({ weight: 4, arbitrary: fc.constantFrom(...PIECES) }, fc.string({ unit: "grapheme", minLength: 1, maxLength: 3 })), {
    minLength: 1,
    maxLength: 6,
  })
  .map((pieces) => pieces.join(""))
  .filter((joined) => joined.trim() !== "");

/** Part of a text, with its case turned. */
const turned = fc
  .record({ source: fc.nat(), from: fc.nat(), length: fc.integer({ min: 0, max: 4 }), turn: fc.nat({ max: 2 }) })
  .map(({ source, from, length, turn }) => (all: string[]) => {
    const points = [...(all[source % all.length] ?? "")];
    const part = points.slice(from % points.length, (from % points.length) + length).join("");
    return turn === 0 ? part : turn === 1 ? part.toUpperCase() : part.toLowerCase();
  });

/** Case as Unicode has it, by way of upper case; the two small sigmas are one. */
function caseless(value: string): string {
  return value.toUpperCase().toLowerCase().replaceAll("ς", "σ");
}

/** The spelling of a topic. */
function topicOf(value: string): string {
  return value.normalize("NFC").replace(/\s+/gu, " ").trim().toLowerCase();
}

/** Stores memories for a new user; what is stored, oldest first. */
async function store(memories: object[]): Promise<{ userId: string; stored: Stored[] }> {
  const userId = `filter-${users++}`;
  const { addMemories } = await server.data("AddMemories", { input: { userId, memories } });
  const bySequence = new Map<number, Stored>(
    addMemories.changes.map((change: { sequence: number; memory: Stored }) => [change.sequence, change.memory]),
  );
  return { userId, stored: [...bySequence].toSorted(([one], [other]) => one - other).map(([, memory]) => memory) };
}

async function list(userId: string, rest: object) {
  return (await server.data("Memories", { userId, ...rest })).memories;
}

function textsOf(connection: { edges: { node: Stored }[] }): string[] {
  return connection.edges.map((edge) => edge.node.memory);
}

test("the text filter finds the memories that contain the text, in any case, and no others", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(text, { minLength: 1, maxLength: 8 }),
      fc.array(
        fc.oneof(
          turned,
          text.map((needle) => () => needle),
        ),
        { minLength: 1, maxLength: 4 },
      ),
      async (written, needles) => {
        const { userId, stored } = await store(written.map((memory) => ({ memory })));
        for (const needle of needles.map((choose) => choose(written))) {
          const expected = stored.filter(({ memory }) => caseless(memory).includes(caseless(needle)));
          const found = await list(userId, { filter: { text: needle }, orderBy: "OLDEST" });
          expect(textsOf(found), JSON.stringify(needle)).toEqual(expected.map(({ memory }) => memory));
          expect(found.totalCount).toBe(expected.length);
        }
      },
    ),
    { numRuns: 120 },
  );
});

test("the topic filter finds the memories that have any, or all, of the topics, and no others", async () => {
  const topics = fc.array(text, { maxLength: 4 });
  await fc.assert(
    fc.asyncProperty(
      fc.array(topics, { minLength: 1, maxLength: 6 }),
      fc.array(
        fc.oneof(
          turned,
          text.map((topic) => () => topic),
        ),
        { minLength: 1, maxLength: 3 },
      ),
      async (written, choices) => {
        const { userId, stored } = await store(written.map((of, index) => ({ memory: `User likes number ${index}`, topics: of })));
        expect(stored.map((memory) => memory.topics)).toEqual(written.map((of) => [...new Set(of.map(topicOf))]));
        const wanted = choices.map((choose) => choose(["x", ...written.flat()]));
        for (const topicsMatch of ["ANY", "ALL"]) {
          const matches = (memory: Stored) => {
            const hits = wanted.map((topic) => memory.topics.includes(topicOf(topic)));
            return topicsMatch === "ANY" ? hits.some(Boolean) : hits.every(Boolean);
          };
          const found = await list(userId, { filter: { topics: wanted, topicsMatch }, orderBy: "OLDEST" });
          expect(textsOf(found), JSON.stringify(wanted)).toEqual(stored.filter(matches).map(({ memory }) => memory));
        }
        const counted = Map.groupBy(
          stored.flatMap((memory) => memory.topics),
          (topic) => topic,
        );
        const { memoryTopics } = await server.data("MemoryTopics", { userId });
        expect(new Map(memoryTopics.map((item: { topic: string; count: number }) => [item.topic, item.count]))).toEqual(
          new Map([...counted].map(([topic, all]) => [topic, all.length])),
        );
      },
    ),
    { numRuns: 100 },
  );
});

test("pages in both directions and every order are slices of the whole list", async () => {
  const { userId, stored } = await store(
    Array.from({ length: 23 }, (_, index) => ({ memory: `User likes number ${index}`, topics: [index % 3 === 0 ? "third" : "other"] })),
  );
  // Confirmed again, so that this order differs from the others.
  const confirmed = [4, 17, 9];
  for (const index of confirmed) {
    await server.data("AddMemory", { input: { userId, memory: stored[index]?.memory, topics: [] } });
  }
  const all = stored.map(({ memory }) => memory);
  const orders: Record<string, string[]> = {
    OLDEST: all,
    NEWEST: all.toReversed(),
    RECENTLY_CONFIRMED: [
      ...confirmed.toReversed().map((index) => all[index] ?? ""),
      ...all.toReversed().filter((memory) => !confirmed.some((index) => all[index] === memory)),
    ],
  };
  const cursors = new Map<string, string[]>();
  for (const orderBy of Object.keys(orders)) {
    const whole = await list(userId, { orderBy, first: 100 });
    expect(textsOf(whole)).toEqual(orders[orderBy]);
    cursors.set(
      orderBy,
      whole.edges.map((edge: { cursor: string }) => edge.cursor),
    );
  }
  await fc.assert(
    fc.asyncProperty(
      fc.record({
        orderBy: fc.constantFrom(...Object.keys(orders)),
        size: fc.integer({ min: 1, max: 9 }),
        fromEnd: fc.boolean(),
        after: fc.option(fc.nat({ max: 22 })),
        before: fc.option(fc.nat({ max: 22 })),
        third: fc.boolean(),
      }),
      async ({ orderBy, size, fromEnd, after, before, third }) => {
        const order = orders[orderBy] ?? [];
        const places = order.map((memory, index) => ({ memory, index, third: all.indexOf(memory) % 3 === 0 }));
        const inFilter = places.filter((place) => !third || place.third);
        const between = inFilter.filter(({ index }) => (after === null || index > after) && (before === null || index < before));
        const page = fromEnd ? between.slice(-size) : between.slice(0, size);
        const found = await list(userId, {
          orderBy,
          filter: third ? { topics: "THIRD" } : {},
          [fromEnd ? "last" : "first"]: size,
          after: after === null ? null : cursors.get(orderBy)?.[after],
          before: before === null ? null : cursors.get(orderBy)?.[before],
        });
        expect(textsOf(found)).toEqual(page.map(({ memory }) => memory));
        expect(found.totalCount).toBe(inFilter.length);
        expect(found.pageInfo).toMatchObject({
          hasNextPage: before !== null || (!fromEnd && between.length > size),
          hasPreviousPage: after !== null || (fromEnd && between.length > size),
          startCursor: found.edges.at(0)?.cursor ?? null,
          endCursor: found.edges.at(-1)?.cursor ?? null,
        });
      },
    ),
    { numRuns: 150 },
  );
});

test("a cursor of another order, one made up, and both first and last are refused", async () => {
  const { userId } = await store([{ memory: "User likes tea" }]);
  const { edges } = await list(userId, { orderBy: "NEWEST" });
  for (const wrong of [
    { orderBy: "OLDEST", after: edges[0].cursor },
    { after: "%" },
    { before: "" },
    { first: 1, last: 1 },
    { first: 0 },
  ]) {
    const { errors } = await server.graphql("Memories", { userId, ...wrong });
    expect(errors?.[0]?.extensions.code, JSON.stringify(wrong)).toBe("BAD_USER_INPUT");
  }
});

test("the other filters: agent, session, kind, status, origin, time; an empty list is as good as none", async () => {
  const userId = "filter-others";
  await server.data("RunAgent", { input: { userId, sessionId: "one", message: "I love hiking." }, waitFor: "MEMORY" });
  await server.data("RunAgent", { input: { userId, sessionId: "two'%", message: "I love opera." }, waitFor: "MEMORY" });
  await server.data("AddMemories", {
    input: {
      userId,
      memories: [
        { memory: "User prefers dark mode", kind: "PREFERENCE" },
        { memory: "User's name is Al", kind: "IDENTITY" },
      ],
    },
  });
  await server.data("AddMemory", { input: { userId, memory: "User's name is Bob", kind: "IDENTITY", topics: [] } });
  const found = async (filter: object) => textsOf(await list(userId, { filter, orderBy: "OLDEST" }));
  const [hiking, opera, dark, al, bob] = [
    "User loves hiking",
    "User loves opera",
    "User prefers dark mode",
    "User's name is Al",
    "User's name is Bob",
  ];
  expect(await found({})).toEqual([hiking, opera, dark, bob]);
  expect(await found({ topics: [], kind: [], status: [], origin: [], text: "" })).toEqual([hiking, opera, dark, bob]);
  expect(await found({ agentId: "rag-agent" })).toEqual([hiking, opera]);
  expect(await found({ agentId: "rag-agent' --" })).toEqual([]);
  expect(await found({ sessionId: "two'%" })).toEqual([opera]);
  expect(await found({ kind: "IDENTITY" })).toEqual([bob]);
  expect(await found({ kind: ["IDENTITY"], status: ["ACTIVE", "SUPERSEDED"] })).toEqual([al, bob]);
  expect(await found({ origin: "EXTRACTED" })).toEqual([hiking, opera]);
  expect(await found({ origin: "MANUAL", text: "NAME" })).toEqual([bob]);
  const { edges } = await list(userId, { orderBy: "OLDEST" });
  const { createdAt } = edges[2].node;
  expect(await found({ createdAfter: createdAt })).toEqual([dark, bob]);
  expect(await found({ createdBefore: createdAt })).toEqual([hiking, opera]);
  expect(await found({ createdAfter: "0000-01-01T00:00:00Z", createdBefore: "9999-12-31T23:59:59Z" })).toHaveLength(4);
});
