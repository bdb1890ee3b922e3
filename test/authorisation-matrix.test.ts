/**
 * One user's token and another one's ids: at every place of the schema that takes an id, over every transport, the answer is the one
 * that an id gets which nobody has. The places come from the schema: a new one without a line here fails.
 */

import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { UserId } from "../src/agent/types.ts";
import { encodeId } from "../src/graphql/ids.ts";
import { buildGraphQLSchema } from "../src/graphql/schema.ts";
import { bearer, makeKey } from "./support/keys.ts";
import { operationFor, type RootField, rootFields, shapeOf, textPlaces, withValue } from "./support/matrix.ts";
import {
  ALICE,
  BOB,
  CAROL,
  CURSORS,
  key,
  PLACES,
  PLAIN_TEXT,
  PLENTY,
  SECRET,
  session,
  type Theirs,
  taken,
} from "./support/matrix-places.ts";
import { openConnection, type RawSocket } from "./support/raw-socket.ts";
import { postGraphQL, startTestServer, type TestServer } from "./support/server.ts";

type Args = Record<string, unknown>;
let notes = 0;
const note = (): string => `User likes note ${notes++}`;
const ownRun = async (token: string): Promise<{ sessionId: string; runId: string }> => {
  const input = { message: "Hello there", sessionId: randomUUID(), memory: "OFF" };
  return (await data("RunAgent", { input }, token)).runAgent.run;
};
const ownMemory = async (token: string): Promise<string> =>
  (await data("AddMemory", { input: { memory: note() } }, token)).addMemory.memory.memoryId;

/** A request that succeeds, of whoever has the token: each field needs one, so that what is refused is refused for its id. */
const REQUESTS: Record<string, (token: string) => Promise<Args> | Args> = {
  "Query.agent": () => ({ agentId: "rag-agent" }),
  "Query.agents": () => ({}),
  "Query.failedMemoryUpdates": () => ({}),
  "Query.memories": () => ({}),
  "Query.memory": async (token) => ({ memoryId: await ownMemory(token) }),
  "Query.memoryTopics": () => ({}),
  "Query.node": () => ({ id: "unknown" }),
  "Query.run": async (token) => ({ runId: (await ownRun(token)).runId }),
  "Query.searchMemories": () => ({ query: "live zebra apples note", limit: 2 }),
  "Query.serverStatus": () => ({}),
  "Query.session": async (token) => ({ sessionId: (await ownRun(token)).sessionId }),
  "Query.sessions": () => ({ first: 1 }),
  "Mutation.addMemories": () => ({ input: { memories: [{ memory: note() }] } }),
  "Mutation.addMemory": () => ({ input: { memory: note() } }),
  "Mutation.cancelRun": async (token) => ({ input: { runId: (await ownRun(token)).runId } }),
  "Mutation.clearMemories": () => ({ input: {} }),
  "Mutation.deleteMemory": async (token) => ({ input: { memoryId: await ownMemory(token) } }),
  "Mutation.deleteSession": async (token) => ({ input: { sessionId: (await ownRun(token)).sessionId } }),
  "Mutation.exportUser": () => ({ input: {} }),
  "Mutation.importUser": async (token) => {
    const { exportUser } = await data("mutation { exportUser(input: {}) { path } }", {}, token);
    return { input: { document: await (await fetch(`${server.url}${exportUser.path}`, { headers: bearer(token) })).json() } };
  },
  "Mutation.eraseUser": () => ({ input: { confirmUserId: CAROL } }),
  "Mutation.renameSession": async (token) => ({ input: { sessionId: (await ownRun(token)).sessionId, name: "A name" } }),
  "Mutation.retryMemoryUpdate": async (token) => ({ input: { runId: (await ownRun(token)).runId } }),
  "Mutation.runAgent": () => ({ input: { message: "Hello there", memory: "OFF" } }),
  "Mutation.summarizeSession": async (token) => ({ input: { sessionId: (await ownRun(token)).sessionId } }),
  "Mutation.updateMemory": async (token) => ({ input: { memoryId: await ownMemory(token), memory: note() } }),
  "Subscription.memoryEvents": () => ({ after: 0 }),
  "Subscription.runAgent": () => ({ input: { message: "Hello there", memory: "OFF" } }),
  "Subscription.runEvents": async (token) => ({ runId: (await ownRun(token)).runId }),
  "Subscription.sessionEvents": async (token) => ({ sessionId: (await ownRun(token)).sessionId }),
};

const schema = buildGraphQLSchema();
const roots = rootFields(schema);
let server: TestServer;
let tokens: { alice: string; bob: string; carol: string };
let bob: Theirs;
let before: Record<string, unknown>[];
const connections = new Map<string, RawSocket>();

beforeAll(async () => {
  server = await startTestServer({ env: { AUTH: "keys", LIMIT_REQUESTS_PER_MINUTE: "none" } });
  const { database } = server.context;
  const [alice, bobs, carol] = await Promise.all([ALICE, BOB, CAROL].map(async (name) => (await makeKey(database, { user: name })).token));
  tokens = { alice: taken(alice), bob: taken(bobs), carol: taken(carol) };
  for (const [name, token] of Object.entries(tokens)) {
    connections.set(token, await openConnection(server.url, bearer(token)));
    const message = name === "bob" ? `I love my ${SECRET}. I live in Lisbon.` : "I love apples. I live in Rome.";
    for (const sessionId of [randomUUID(), randomUUID()]) {
      await data("RunAgent", { input: { message, sessionId }, waitFor: "MEMORY" }, token);
    }
  }
  bob = await lookAround(tokens.bob);
  await server.drain();
  before = await rowsOfBob();
});

afterAll(async () => {
  for (const { socket } of connections.values()) {
    socket.terminate();
  }
  await server.close();
});

function send(operation: string, variables: object, token: string) {
  return postGraphQL(server.url, operation, variables, bearer(token));
}

/** As `send`; throws when there are errors. */
async function data(operation: string, variables: object, token: string) {
  const answer = await send(operation, variables, token);
  if (answer.errors) {
    throw new Error(JSON.stringify(answer.errors));
  }
  return answer.data;
}

/** What Bob has, and more of it, by his own token. */
async function lookAround(token: string): Promise<Theirs> {
  const seen = await data(
    `{ sessions(first: 1) { edges { cursor node { sessionId
      runs(first: 1) { edges { cursor node { runId messages { messageId } } } } messages(first: 1) { edges { cursor } } } } }
      memories(first: 1) { edges { cursor node { history { id } } } } }`,
    {},
    token,
  );
  const [session] = seen.sessions.edges;
  const [run] = session.node.runs.edges;
  const [memory] = seen.memories.edges;
  const keys = Array.from({ length: PLENTY }, (_, number) => `bobs-key-${number}`);
  const runs: Theirs["runs"] = [];
  const memories: string[] = [];
  for (const idempotencyKey of keys) {
    runs.push(await ownRun(token));
    const input = { memory: `User feeds ${SECRET} ${idempotencyKey}`, idempotencyKey };
    memories.push((await data("AddMemory", { input }, token)).addMemory.memory.memoryId);
  }
  return {
    runs,
    memories,
    keys,
    sessionId: session.node.sessionId,
    runId: run.node.runId,
    messageId: run.node.messages[0].messageId,
    changeNode: memory.node.history[0].id,
    cursors: { memories: memory.cursor, sessions: session.cursor, messages: session.node.messages.edges[0].cursor, runs: run.cursor },
  };
}

/** A fingerprint of everything Bob has, table by table. */
async function rowsOfBob(): Promise<Record<string, unknown>[]> {
  const { database } = server.context;
  const tables = await database.inspect(
    `select c.relname::text as name from pg_class c join pg_attribute a on a.attrelid = c.oid
    where a.attname = 'user_id' and c.relkind = 'r' and c.relnamespace = current_schema()::regnamespace order by 1`,
  );
  return database.inspect(
    tables
      .map(
        ({ name }) =>
          `select '${name}' as name, count(*)::int as rows, md5(string_agg(t::text, '|' order by t::text)) from ${name} t where user_id = '${BOB}'`,
      )
      .join(" union all "),
  );
}

type Transport = (document: string, variables: Args, token: string) => Promise<unknown>;
const TRANSPORTS: Record<string, { carries: RootField["operation"][]; send: Transport }> = {
  "HTTP POST": { carries: ["query", "mutation"], send },
  "HTTP GET": {
    carries: ["query"],
    send: async (query, variables, token) => {
      const search = new URLSearchParams({ query, variables: JSON.stringify(variables) });
      const headers = { ...bearer(token), "apollo-require-preflight": "true" };
      return (await fetch(`${server.url}/graphql?${search}`, { headers })).json();
    },
  },
  WebSocket: { carries: ["query", "mutation", "subscription"], send: overSocket },
};

/** The answers, until there are no more; of what does not end, the first. Which events a run has depends on how fast they are read. */
async function overSocket(query: string, variables: Args, token: string): Promise<unknown> {
  const connection = connections.get(token) as RawSocket;
  const id = randomUUID();
  connection.send({ id, type: "subscribe", payload: { query, variables } });
  const endless = /\b(memoryEvents|sessionEvents)\b/.test(query);
  await Promise.race([connection.next("complete", id), connection.next("error", id), ...(endless ? [connection.next("next", id)] : [])]);
  connection.send({ id, type: "complete" });
  const answers = connection.received.filter((message) => message.id === id && message.type !== "complete").map(({ payload }) => payload);
  const once = new Map(answers.map((answer) => [JSON.stringify(answer), answer]));
  return endless ? answers[0] : [...once.values()].filter((answer) => !JSON.stringify(answer).includes("ReasoningDelta"));
}

/** What has this form, and nobody has. */
function unknownFor(value: string): string {
  if (value === BOB) {
    return `${randomUUID()}@example.com`;
  }
  const decoded = Buffer.from(value, "base64url").toString();
  return decoded.startsWith('["') ? encodeId(JSON.parse(decoded)[0], BOB as UserId, randomUUID(), randomUUID()) : randomUUID();
}

/** Where a user is named, what is named beside it is Bob's too: `userId` is all that stands between. */
function besideUser(root: RootField, place: string, args: Args): Args {
  const named = { sessionId: bob.sessionId, runId: bob.runId, memoryId: taken(bob.memories[0]) };
  const paths = place.endsWith("userId)") ? Object.keys(PLACES).filter((other) => other.startsWith(`${root.name}(`)) : [];
  return paths.reduce((all, other) => {
    const [, path = "", name = ""] = /\(((?:input\.)?(\w+))\)$/.exec(other) ?? [];
    return name in named && !root.name.endsWith(".runAgent") ? withValue(all, path, named[name as keyof typeof named]) : all;
  }, args);
}

async function answerTo(root: RootField, place: string, value: string, transport: Transport, token: string): Promise<string> {
  const path = place.slice(place.indexOf("(") + 1, -1);
  const args = withValue(besideUser(root, place, (await REQUESTS[root.name]?.(token)) ?? {}), path, value);
  return shapeOf(await transport(operationFor(root, args), args, token), value);
}

describe("the lists here are complete", () => {
  const { ids, texts } = textPlaces(schema);

  test("every field of the roots has a request that succeeds", async () => {
    expect(Object.keys(REQUESTS).sort()).toEqual(roots.map(({ name }) => name).sort());
    for (const root of roots.filter(({ operation }) => operation !== "subscription")) {
      const token = root.name === "Mutation.eraseUser" ? tokens.carol : tokens.alice;
      const args = (await REQUESTS[root.name]?.(token)) ?? {};
      const answer = await send(operationFor(root, args), args, token);
      expect(answer.errors, root.name).toBeUndefined();
    }
  });

  test("every place of an id has something of Bob's to send, and every other text is known to name nothing", () => {
    expect([...Object.keys(PLACES), ...Object.keys(CURSORS)].sort()).toEqual(ids.sort());
    expect([...PLAIN_TEXT].sort()).toEqual(texts.sort());
  });
});

const cases = Object.entries(PLACES).flatMap(([place, theirs]) => {
  const root = roots.find(({ name }) => place.startsWith(`${name}(`));
  return theirs && root ? [{ place, theirs, root }] : [];
});

test.each(cases)("$place: another's id gets the answer of an unknown one, over every transport", async ({ place, theirs, root }) => {
  for (const [name, { carries, send: transport }] of Object.entries(TRANSPORTS)) {
    for (const value of carries.includes(root.operation) ? [theirs(bob)].flat() : []) {
      // The first of its kind may find something to do that is done then.
      await answerTo(root, place, unknownFor(value), transport, tokens.alice);
      const answer = await answerTo(root, place, value, transport, tokens.alice);
      expect(answer, name).toBe(await answerTo(root, place, unknownFor(value), transport, tokens.alice));
      expect(answer, name).not.toContain(SECRET);
    }
  }
});

test.each(Object.entries(CURSORS))("%s: a place in another's list is one in one's own", async (place, list) => {
  const cursor = list === "failed-learning" ? Buffer.from(`${list}:1`).toString("base64url") : bob.cursors[list];
  const [, type, field, argument] = /^(\w+)\.(\w+)\((\w+)\)$/.exec(place) ?? [];
  const page = `${field}(${argument}: "${cursor}", ${argument === "before" ? "last" : "first"}: 50) { edges { cursor node { __typename id } } }`;
  const { sessions } = await data("{ sessions { edges { node { sessionId } } } }", {}, tokens.alice);
  const document = type === "Query" ? `{ ${page} }` : `{ session(sessionId: "${sessions.edges[0].node.sessionId}") { ${page} } }`;
  const answer = await send(document, {}, tokens.alice);
  expect(answer.errors).toBeUndefined();
  const owners = [...JSON.stringify(answer).matchAll(/"id":"([^"]+)"/g)].map(
    ([, id = ""]) => JSON.parse(Buffer.from(id, "base64url").toString())[1],
  );
  expect(owners.filter((owner) => owner !== ALICE)).toEqual([]);
});

const run1 = { message: "Hello there", session_id: "rest" };
const rest = (path: string, init: RequestInit = {}, headers: object = {}): Promise<Response> =>
  fetch(`${server.url}/v1/agents/rag-agent${path}`, { ...init, headers: { ...bearer(tokens.alice), ...headers } });
const post = (body: object, headers: object = {}): Promise<Response> =>
  rest("/run", { method: "POST", body: JSON.stringify(body) }, { "content-type": "application/json", ...headers });
const userData = (name: string, action: string, init: RequestInit = {}): Promise<Response> =>
  fetch(`${server.url}/v1/users/${encodeURIComponent(name)}/${action}`, {
    ...init,
    headers: { ...bearer(tokens.alice), "content-type": "application/json" },
  });
const REST: [string, (bob: Theirs) => string, (value: string) => Promise<Response>][] = [
  ["GET memories, user_id", () => BOB, (value) => rest(`/memories?user_id=${encodeURIComponent(value)}`)],
  ["POST run, user_id", () => BOB, (value) => post({ ...run1, user_id: value })],
  ["POST run, user_id of a stream", () => BOB, (value) => post({ ...run1, user_id: value, stream: true })],
  [
    "POST run, user_id in a form",
    () => BOB,
    (value) => rest("/run", { method: "POST", body: new URLSearchParams({ ...run1, user_id: value }) }),
  ],
  ["GET export, the user in the path", () => BOB, (value) => userData(value, "export")],
  ["POST import, the user in the path", () => BOB, (value) => userData(value, "import", { method: "POST", body: "{}" })],
  ["POST run, session_id", (theirs) => [session(theirs)].flat().join(), (value) => post({ ...run1, session_id: value })],
  ["POST run, Idempotency-Key", (theirs) => [key(theirs)].flat().join(), (value) => post(run1, { "idempotency-key": value })],
  [
    "POST run, Last-Event-ID of another's key",
    (theirs) => [key(theirs)].flat().join(),
    (value) => post({ message: "Hello there", session_id: randomUUID() }, { "idempotency-key": value, "last-event-id": "1" }),
  ],
];

test.each(REST)("REST, %s: another's gets the answer of an unknown one", async (_, theirs, ask) => {
  const shape = async (value: string) => {
    const response = await ask(value);
    return `${response.status} ${shapeOf(await response.text(), value)}`;
  };
  const value = theirs(bob);
  const [answer, unknown] = [await shape(value), await shape(unknownFor(value))];
  expect(answer).toBe(unknown);
  expect(answer).not.toContain(SECRET);
});

describe("after all that", () => {
  test("every row of Bob's is as it was", async () => {
    await server.drain();
    expect(before.filter(({ rows }) => Number(rows) > 0).length).toBeGreaterThanOrEqual(6);
    expect(await rowsOfBob()).toEqual(before);
  });

  /** Who names a conversation there goes on with it or begins one: the answers look the same. */
  const looksTheSame = ["Mutation.runAgent(input.sessionId)", "Subscription.runAgent(input.sessionId)"];

  test.each(cases.filter(({ place }) => !looksTheSame.includes(place)))(
    "$place: to Bob himself these ids mean something, so the comparison can fail",
    async ({ place, theirs, root }) => {
      const value = [theirs(bob)].flat().at(-1) ?? "";
      const mine = await answerTo(root, place, value, overSocket, tokens.bob);
      expect(mine).not.toBe(await answerTo(root, place, unknownFor(value), overSocket, tokens.bob));
    },
  );
});
