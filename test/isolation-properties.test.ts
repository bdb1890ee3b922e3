/**
 * Users with names that are easily taken for one another do what they like, in any order; what each of them finds afterwards
 * is what a list in memory says, and nothing else. ISOLATION_RUNS sets how many sequences are tried.
 */

import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startTestServer, type TestServer } from "./support/server.ts";
import { eraseUser, exportUser } from "./support/user-data.ts";

const RUNS = Number(process.env.ISOLATION_RUNS ?? 150);

/** Twins in pairs: quotes and wildcards, composed and decomposed, case, a space at the end, zero width, and the longest there may be. */
const NAMES = [
  "o'hara\"; drop table agno_memories; --",
  "%",
  "_\\",
  "zo\u00eb",
  "zoe\u0308",
  "Ada",
  "ada",
  "ada ",
  "ada\u200b",
  "null",
  '{"$ne":null}',
  `${"x".repeat(240)}y`,
  `${"x".repeat(240)}z`,
];
/** The same for all users: what one does to a thing of this name must not touch another's. */
const SESSIONS = ["s", "S", "s "];
const THINGS = ["tea", "kites", "chess", "go"];

let server: TestServer;
let sequence = 0;

beforeAll(async () => {
  server = await startTestServer();
});

afterAll(() => server.close());

/** What there should be of one user. */
interface Model {
  memories: Set<string>;
  sessions: Map<string, string[]>;
}

type Act = { user: number } & (
  | { kind: "say"; session: string; thing: string }
  | { kind: "write"; thing: string }
  | { kind: "rewrite"; thing: string; other: string }
  | { kind: "delete"; thing: string }
  | { kind: "clear" }
  | { kind: "drop"; session: string }
  | { kind: "erase" }
);

const user = fc.nat({ max: 3 });
const thing = fc.constantFrom(...THINGS);
const session = fc.constantFrom(...SESSIONS);
const act: fc.Arbitrary<Act> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("say" as const), user, session, thing }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("write" as const), user, thing }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("rewrite" as const), user, thing, other: thing }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("delete" as const), user, thing }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("clear" as const), user }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("drop" as const), user, session }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("erase" as const), user }) },
);

/** As many names as users act, fresh ones for each sequence. */
const people = fc.shuffledSubarray(NAMES, { minLength: 4, maxLength: 4 });

const ALL_OF_A_USER = `query AllOfAUser($userId: ID!) {
  memories(userId: $userId, first: 10) { totalCount edges { node { memory } } }
  sessions(userId: $userId, first: 5) { totalCount edges { node { sessionId messages(first: 20) { edges { node { role content } } } } } }
}`;

test(`${RUNS} sequences of acts of four users at a time come to what a list in memory says`, {
  timeout: 60_000 + RUNS * 1_000,
}, async () => {
  await fc.assert(
    fc.asyncProperty(people, fc.array(act, { minLength: 3, maxLength: 7 }), async (names, acts) => {
      sequence++;
      const users = names.map((name) => `${sequence}${name}`);
      const models: Model[] = users.map(() => ({ memories: new Set(), sessions: new Map() }));
      for (const one of acts) {
        await perform(one, users[one.user] ?? "", models[one.user] ?? { memories: new Set(), sessions: new Map() });
      }
      for (const [index, userId] of users.entries()) {
        const model = models[index];
        const found = await server.data(ALL_OF_A_USER, { userId });
        const texts = found.memories.edges.map(({ node }: { node: { memory: string } }) => node.memory);
        expect(new Set(texts), userId).toEqual(model?.memories);
        expect(found.memories.totalCount).toBe(texts.length);
        const said = found.sessions.edges.map(({ node }: { node: { sessionId: string; messages: { edges: Edge[] } } }) => [
          node.sessionId,
          node.messages.edges.filter(({ node: { role } }) => role === "USER").map(({ node: { content } }) => content),
        ]);
        expect(new Map(said)).toEqual(model?.sessions);
      }
      const [someone = ""] = users;
      const others = users.slice(1);
      const exported = await exportUser(server, someone);
      expect(others.filter((other) => exported.includes(marks(other)))).toEqual([]);
    }),
    { numRuns: RUNS, endOnFailure: true },
  );
});

interface Edge {
  node: { role: string; content: string };
}

/** A word that only this user says; in letters, because some numbers are secrets and not kept. */
function marks(userId: string): string {
  const letters = Buffer.from(userId)
    .toString("hex")
    .slice(-40)
    .replace(/./g, (digit) => String.fromCharCode(97 + Number.parseInt(digit, 16)));
  return `qw${letters}z`;
}

async function perform(one: Act, userId: string, model: Model): Promise<void> {
  const fact = (what: string) => `User loves ${what} ${marks(userId)}`;
  switch (one.kind) {
    case "say": {
      const message = `I love ${one.thing} ${marks(userId)}.`;
      const { runAgent } = await server.data("RunAgent", { input: { userId, sessionId: one.session, message }, waitFor: "MEMORY" });
      const mentioned = String(runAgent.run.reply).match(/\bqw[a-p]+z/g) ?? [];
      expect(new Set(mentioned)).toEqual(new Set([marks(userId)]));
      model.memories.add(fact(one.thing));
      model.sessions.set(one.session, [...(model.sessions.get(one.session) ?? []), message]);
      return;
    }
    case "write":
      await server.data("AddMemory", { input: { userId, memory: fact(one.thing) } });
      model.memories.add(fact(one.thing));
      return;
    case "rewrite": {
      const memoryId = await find(userId, fact(one.thing));
      expect(memoryId !== null).toBe(model.memories.has(fact(one.thing)));
      if (memoryId === null || model.memories.has(fact(one.other))) {
        return;
      }
      await server.data("UpdateMemory", { input: { userId, memoryId, memory: fact(one.other) } });
      model.memories.delete(fact(one.thing));
      model.memories.add(fact(one.other));
      return;
    }
    case "delete": {
      const memoryId = await find(userId, fact(one.thing));
      expect(memoryId !== null).toBe(model.memories.delete(fact(one.thing)));
      if (memoryId !== null) {
        await server.data("DeleteMemory", { input: { userId, memoryId } });
      }
      return;
    }
    case "clear": {
      const { clearMemories } = await server.data("ClearMemories", { input: { userId } });
      expect(clearMemories.clearedCount).toBe(model.memories.size);
      model.memories.clear();
      return;
    }
    case "drop": {
      const answer = await server.graphql("DeleteSession", { input: { userId, sessionId: one.session } });
      expect(answer.errors?.[0]?.extensions.code ?? "deleted").toBe(model.sessions.delete(one.session) ? "deleted" : "NOT_FOUND");
      return;
    }
    case "erase":
      expect((await eraseUser(server, userId)).remainingCount).toBe(0);
      model.memories.clear();
      model.sessions.clear();
      return;
    default:
      one satisfies never;
  }
}

async function find(userId: string, memory: string): Promise<string | null> {
  const { memories } = await server.data(
    `query($userId: ID!, $text: String!) { memories(userId: $userId, filter: { text: $text }) { edges { node { memoryId memory } } } }`,
    { userId, text: memory },
  );
  const found = memories.edges.find(({ node }: { node: { memory: string } }) => node.memory === memory);
  return found?.node.memoryId ?? null;
}
