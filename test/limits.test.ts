/** What a document may be is the same on both transports of GraphQL, and is checked before anything of it is done. */

import { readFileSync } from "node:fs";
import { getIntrospectionQuery, parse } from "graphql";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { costOf, MODEL_FIELDS } from "../src/graphql/cost.ts";
import { KnownDocuments } from "../src/graphql/known-documents.ts";
import { DOCUMENT_LIMITS } from "../src/graphql/limits.ts";
import { readOperations } from "../src/graphql/operations.ts";
import { buildGraphQLSchema } from "../src/graphql/schema.ts";
import { answerOf, type Operation, openSocket, overHttp, TRANSPORTS } from "./support/send.ts";
import { startTestServer, type TestServer } from "./support/server.ts";

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer();
});

afterAll(() => server.close());

const { tokens, nesting, depth, fields, aliases, directives, definitions } = DOCUMENT_LIMITS;
const times = (count: number, text: (index: number) => string): string =>
  Array.from({ length: count }, (_, index) => text(index)).join(" ");

/** Memories that took the place of each other, `levels` deep. */
const chain = (levels: number): string => `${"{ supersededBy ".repeat(levels)}{ id }${" }".repeat(levels)}`;

const TOO_MUCH: [limit: string, operation: Operation][] = [
  ["tokens", { query: `{ ${"__typename ".repeat(tokens)} }` }],
  ["nesting", { query: `${"{a".repeat(nesting + 1)}${"}".repeat(nesting + 1)}` }],
  ["nesting", { query: `{ agent(agentId: ${"[".repeat(nesting)}${"]".repeat(nesting)}) { id } }` }],
  ["nesting", { query: "{a".repeat(40_000) }],
  ["nesting", { query: "[".repeat(200_000) }],
  ["depth", { query: `{ memory(userId: "u", memoryId: "m") ${chain(depth - 1)} }` }],
  ["fields", { query: `{ agents { ${"name ".repeat(fields)} } }` }],
  ["fields", { query: bomb(12) }],
  ["aliases", { query: `{ ${times(aliases + 1, (index) => `a${index}: __typename`)} }` }],
  [
    "aliases",
    {
      query: `query { ...A ...B } ${times(2, (part) => `fragment ${"AB"[part]} on Query { ${times(aliases / 2 + 1, (index) => `f${part}${index}: __typename`)} }`)}`,
    },
  ],
  ["directives", { query: `{ ${times(directives + 1, (index) => `agents @include(if: true) { name @skip(if: ${index % 2 === 0}) }`)} }` }],
  ["definitions", { query: `{ __typename } ${times(definitions, (index) => `fragment f${index} on Agent { name }`)}` }],
  ["cost", { query: `{ sessions(userId: "u", first: 100) { edges { node { messages(last: 100) { edges { node { content } } } } } } }` }],
  [
    "cost",
    {
      query: `query ($n: Int) { memories(userId: "u", first: $n) { edges { node { history(limit: 95) { kind } } } } }`,
      variables: { n: 100 },
    },
  ],
  [
    "cost",
    {
      query: `mutation ($input: RunAgentInput!) { ${times(10, (index) => `r${index}: runAgent(input: $input) { run { id } }`)} }`,
      variables: { input: { userId: "u", message: "Hello" } },
    },
  ],
];

/** A fragment that holds the one before it twice, and so on. */
function bomb(levels: number): string {
  return `{ ...F${levels} } fragment F0 on Query { __typename } ${times(levels, (index) => `fragment F${index + 1} on Query { ...F${index} ...F${index} }`)}`;
}

describe.each(TRANSPORTS)("over %s", (_, send) => {
  test.each(TOO_MUCH.map(([limit, operation], index) => [limit, index, operation] as const))(
    "too much %s is refused (%i)",
    async (limit, __, operation) => {
      const { data, errors } = await send(server.url, operation);
      expect(data ?? null).toBeNull();
      expect(errors).toHaveLength(1);
      const { code, limit: named }: Record<string, unknown> = errors?.[0]?.extensions ?? {};
      expect([code, named]).toEqual(["BAD_USER_INPUT", { name: limit, max: DOCUMENT_LIMITS[limit as keyof typeof DOCUMENT_LIMITS] }]);
      expect(errors?.[0]?.message).toMatch(/more than [\d,]+ .*\. .+\./);
      expect(server.model.requests).toHaveLength(0);
    },
  );

  test.each([
    ["tokens", `{ ${"__typename ".repeat(fields)} }`],
    ["nesting", `{ agents ${"{ ... on Agent ".repeat(nesting - 2)}{ name }${" }".repeat(nesting - 2)} }`],
    ["depth", `{ memory(userId: "u", memoryId: "m") ${chain(depth - 2)} }`],
    ["aliases", `{ ${times(aliases, (index) => `a${index}: __typename`)} }`],
  ])("as much %s as is allowed is carried out", async (__, query) => {
    const { data, errors } = await send(server.url, { query });
    expect(errors).toBeUndefined();
    expect(data).toBeDefined();
  });

  test("fragments that lead back to themselves are refused", async () => {
    const { errors } = await send(server.url, { query: "{ ...A } fragment A on Query { ...B } fragment B on Query { ...A }" });
    expect(errors?.[0]?.extensions.code).toBe("BAD_USER_INPUT");
    expect(errors?.[0]?.message).toMatch(/fragment.*itself/i);
  });

  test("a document of many mistakes gets a few complaints", async () => {
    const { errors } = await send(server.url, { query: `{ ${times(200, (index) => `wrong${index}`)} }` });
    expect(errors?.length).toBeLessThan(15);
  });

  test("a document that was sent before is held to its cost again, by the variables of this time", async () => {
    const query = `query ($n: Int) { memories(userId: "u", first: $n) { edges { node { history(limit: 90) { kind } } } } }`;
    expect((await send(server.url, { query, variables: { n: 1 } })).errors).toBeUndefined();
    expect((await send(server.url, { query, variables: { n: 100 } })).errors?.[0]?.extensions.limit).toMatchObject({ name: "cost" });
    expect((await send(server.url, { query, variables: { n: 1 } })).errors).toBeUndefined();
  });

  test("of several operations the one that is asked for counts", async () => {
    const query = `query Cheap { __typename } query Dear { sessions(userId: "u", first: 100) { edges { node { messages(first: 100) { edges { node { content } } } } } } }`;
    expect((await send(server.url, { query, operationName: "Cheap" })).data).toEqual({ __typename: "Query" });
    expect((await send(server.url, { query, operationName: "Dear" })).errors?.[0]?.extensions.limit).toMatchObject({ name: "cost" });
  });

  test("clients may ask for the schema of a server that asks for no tokens", async () => {
    const { data, errors } = await send(server.url, { query: getIntrospectionQuery() });
    expect(errors).toBeUndefined();
    expect(data.__schema.types.length).toBeGreaterThan(20);
  });
});

describe("with INTROSPECTION=off", () => {
  let closed: TestServer;

  beforeAll(async () => {
    closed = await startTestServer({ env: { INTROSPECTION: "off" } });
  });

  afterAll(() => closed.close());

  test("the schema is a file for tools while clients may ask for it, and otherwise there is none", async () => {
    const open = await fetch(`${server.url}/schema.graphql`);
    expect(open.headers.get("content-type")).toBe("text/plain; charset=utf-8");
    expect(await open.text()).toBe(readFileSync(new URL("../schema/schema.graphql", import.meta.url), "utf8"));
    expect((await fetch(`${server.url}/schema.graphql`, { method: "POST" })).status).toBe(405);
    expect((await fetch(`${closed.url}/schema.graphql`)).status).toBe(404);
  });

  test.each(TRANSPORTS)("nothing describes the schema over %s", async (_, send) => {
    for (const query of [
      getIntrospectionQuery(),
      `{ __type(name: "Memory") { name } }`,
      `{ ...F } fragment F on Query { s: __schema { types { name } } }`,
    ]) {
      const { data, errors } = await send(closed.url, { query });
      expect(data ?? null).toBeNull();
      expect(errors?.[0]?.extensions.code).toBe("FORBIDDEN");
      expect(errors?.[0]?.message).toMatch(/INTROSPECTION=on/);
    }
    expect((await send(closed.url, { query: "{ __typename agents { __typename } }" })).errors).toBeUndefined();
  });

  test.each(TRANSPORTS)("no complaint names what was not asked for over %s", async (_, send) => {
    const slips: Operation[] = [
      { query: "{ agentz { name } }" },
      { query: "{ agents { nam } }" },
      { query: `{ memory(userId: "u", memoryID: "m") { id } }` },
      { query: "query ($input: AddMemoryInputs!) { __typename }" },
      { query: `{ memories(userId: "u", orderBy: NEWST) { totalCount } }` },
      { query: 'query ($order: MemoryOrder!) { memories(userId: "u", orderBy: $order) { totalCount } }', variables: { order: "NEWST" } },
      {
        query: "mutation ($input: AddMemoryInput!) { addMemory(input: $input) { memory { id } } }",
        variables: { input: { memory: "m", topic: [] } },
      },
    ];
    for (const slip of slips) {
      const hidden = (await send(closed.url, slip)).errors;
      expect(hidden?.[0]?.extensions.code).toBe("BAD_USER_INPUT");
      expect(JSON.stringify(hidden)).not.toMatch(/did you mean/i);
      expect(JSON.stringify((await send(server.url, slip)).errors)).toMatch(/did you mean/i);
    }
  });
});

describe("the operations of schema/operations", () => {
  const schema = buildGraphQLSchema();

  test.each([...readOperations()])("%s stays far below every limit", (_, query) => {
    expect(new KnownDocuments(schema, true).read({ query })).toHaveProperty("kind", "Document");
    expect(costOf(schema, parse(query), null)).toBeLessThanOrEqual(DOCUMENT_LIMITS.cost / 2);
  });

  test("what is priced as asking a model is there", () => {
    for (const path of MODEL_FIELDS) {
      const [type = "", field = ""] = path.split(".");
      const found = [schema.getMutationType(), schema.getSubscriptionType()].find((root) => root?.name === type);
      expect(found?.getFields(), path).toHaveProperty(field);
    }
  });
});

test("over one connection go on as many operations as are allowed, and one more is refused until one ends", async () => {
  const small = await startTestServer({ env: { LIMIT_SOCKET_OPERATIONS: "2" } });
  const socket = await openSocket(small.url);
  try {
    const watch = { query: `subscription { memoryEvents(userId: "u") { sequence } }` };
    for (const id of ["1", "2"]) {
      socket.send(JSON.stringify({ id, type: "subscribe", payload: watch }));
    }
    const { errors } = await answerOf(socket, "3", { query: "{ __typename }" });
    expect(errors?.[0]?.extensions).toMatchObject({
      code: "RATE_LIMITED",
      retryAfterSeconds: 1,
      limit: { name: "socketOperations", max: 2 },
    });
    socket.send(JSON.stringify({ id: "1", type: "complete" }));
    expect((await answerOf(socket, "4", { query: "{ __typename }" })).data).toEqual({ __typename: "Query" });
  } finally {
    socket.terminate();
    await small.close();
  }
});

test("several operations in one request are refused", async () => {
  const response = await fetch(`${server.url}/graphql`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify([{ query: "{ __typename }" }, { query: "{ __typename }" }]),
  });
  expect(response.status).toBe(400);
  expect(await response.json()).toMatchObject({ errors: [{ extensions: { code: "BAD_USER_INPUT" } }] });
  expect((await overHttp(server.url, { query: "{ __typename }" })).data).toEqual({ __typename: "Query" });
});
