/**
 * What somebody who means harm sends: each gets its answer, stores nothing, asks no model, and the server goes on as before. Documents that
 * are too large or too deep are in limits.test.ts, close codes of the WebSocket protocol in websocket-protocol.test.ts.
 */

import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { gzipSync } from "node:zlib";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { WebSocket } from "ws";
import { MAX_BODY_BYTES } from "../src/http.ts";
import { TRANSPORTS } from "./support/send.ts";
import { documentOf, startTestServer, type TestServer } from "./support/server.ts";

const RUN = "/v1/agents/rag-agent/run";
const MOST_GROWTH = 400 * 1024 * 1024;

let server: TestServer;
let memoryBefore: number;
let slow: { head: Promise<string>; body: Promise<string> };

beforeAll(async () => {
  server = await startTestServer();
  memoryBefore = process.memoryUsage.rss();
  // Looked at last: by then the server has lost its patience with them.
  slow = {
    head: converse("GET /graphql?query={__typename} HTTP/1.1\r\nHost: localhost\r\nX-Slow: "),
    body: converse(`POST ${RUN} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"message":`),
  };
});

afterAll(() => server.close());

afterEach(async () => {
  const [row] = await server.context.database.asOperator((transaction) =>
    transaction.query<{ count: number }>(
      "select ((select count(*) from recollect_users) + (select count(*) from recollect_runs) + (select count(*) from agno_memories))::integer as count",
    ),
  );
  expect(row?.count).toBe(0);
  expect(server.model.requests).toHaveLength(0);
  expect((await fetch(`${server.url}/health`)).status).toBe(200);
  expect(Object.keys(Object.prototype)).toEqual([]);
});

/** Sends bytes and resolves with all that comes back until the server closes the connection. */
function converse(bytes: string | Buffer): Promise<string> {
  const socket: Socket = connect(Number(new URL(server.url).port), "127.0.0.1");
  const chunks: Buffer[] = [];
  socket.on("data", (chunk) => chunks.push(chunk));
  socket.on("error", () => undefined);
  socket.write(bytes);
  return new Promise((resolve) => socket.once("close", () => resolve(Buffer.concat(chunks).toString())));
}

function post(
  path: string,
  body: RequestInit["body"],
  headers: Record<string, string> = { "content-type": "application/json" },
): Promise<Response> {
  return fetch(`${server.url}${path}`, { method: "POST", headers, body, duplex: "half" } as RequestInit);
}

/** The code of a refusal over GraphQL or REST. */
async function codeOf(response: Response): Promise<unknown> {
  const answer = (await response.json()) as { error?: { code: string }; errors?: { extensions: { code: string } }[] };
  return answer.error?.code ?? answer.errors?.[0]?.extensions.code;
}

const deep = `${"[".repeat(100_000)}${"]".repeat(100_000)}`;

describe.each(["/graphql", RUN])("bodies for %s", (path) => {
  test.each<[string, number, string, () => Promise<Response>]>([
    ["JSON that breaks off", 400, "BAD_USER_INPUT", () => post(path, '{"query": "{ __typename }", ')],
    ["bytes that are no UTF-8", 400, "BAD_USER_INPUT", () => post(path, Buffer.from('{"query": "\xff\xfe", "message": "\xff"}', "latin1"))],
    ["a list instead of an object", 400, "BAD_USER_INPUT", () => post(path, '[{"query": "{ __typename }"}, {"query": "{ __typename }"}]')],
    ["lists in lists, 100,000 deep", 400, "BAD_USER_INPUT", () => post(path, deep)],
    ["null", 400, "BAD_USER_INPUT", () => post(path, "null")],
    ["nothing", 400, "BAD_USER_INPUT", () => post(path, "")],
    ["one byte too much", 413, "PAYLOAD_TOO_LARGE", () => post(path, `"${"x".repeat(MAX_BODY_BYTES - 1)}"`)],
    ["megabytes whose length nobody says", 413, "PAYLOAD_TOO_LARGE", () => post(path, megabytes(3))],
    [
      "a bomb in gzip",
      415,
      "BAD_USER_INPUT",
      () => post(path, gzipSync(Buffer.alloc(50_000_000)), { "content-type": "application/json", "content-encoding": "gzip" }),
    ],
    ["JSON that says it is text", 415, "BAD_USER_INPUT", () => post(path, '{"query": "{ __typename }"}', { "content-type": "text/plain" })],
  ])("%s", async (_, status, code, send) => {
    const response = await send();
    expect([response.status, await codeOf(response)]).toEqual([status, code]);
  });
});

function megabytes(count: number): ReadableStream<Uint8Array> {
  let left = count;
  return new ReadableStream({
    pull(controller) {
      if (left-- > 0) {
        controller.enqueue(new Uint8Array(1024 * 1024).fill(32));
      } else {
        controller.close();
      }
    },
  });
}

describe("what a foreign web page could have a browser send", () => {
  const input = { userId: "u", memory: "User was here" };
  const mutation = JSON.stringify({ query: documentOf("AddMemory"), variables: { input } });

  test.each([
    ["text/plain"],
    ["application/x-www-form-urlencoded"],
    ["multipart/form-data; boundary=x"],
    ["text/plain; application/json"],
    [""],
  ])("a mutation as %j", async (type) => {
    const response = await post("/graphql", new Blob([mutation]), type === "" ? {} : { "content-type": type });
    expect([response.status, await codeOf(response)]).toEqual([415, "BAD_USER_INPUT"]);
  });

  test("a mutation in an address", async () => {
    const query = new URLSearchParams({ query: documentOf("AddMemory"), variables: JSON.stringify({ input }) });
    const response = await fetch(`${server.url}/graphql?${query}`, {
      headers: { "apollo-require-preflight": "1", accept: "application/json" },
    });
    expect(response.status).toBe(405);
  });

  test("a query in an address, without a header that needs asking first", async () => {
    const response = await fetch(`${server.url}/graphql?query={__typename}`, { headers: { accept: "application/json" } });
    expect([response.status, await codeOf(response)]).toEqual([400, "BAD_USER_INPUT"]);
  });

  test.each([
    ["another site's page", { origin: "https://evil.example" }],
    ["a page of a name that points here", { host: "evil.example", origin: "http://evil.example" }],
    ["a page of no origin", { origin: "null" }],
  ])("a WebSocket from %s", async (_, headers) => {
    const socket = new WebSocket(`${server.url.replace("http", "ws")}/graphql`, "graphql-transport-ws", { headers });
    const [error] = (await once(socket, "error")) as [Error];
    expect(error.message).toMatch(/403/);
  });

  test("a request under a name that points here", async () => {
    const answer = await converse(
      "GET /v1/agents/rag-agent/memories?user_id=u HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
    );
    expect(answer).toMatch(/^HTTP\/1.1 403 .*"FORBIDDEN"/s);
  });
});

describe("what HTTP itself can be bent to", () => {
  const query = '{"query":"{ __typename }"}';
  const headers = "Host: localhost\r\nContent-Type: application/json\r\n";
  const smuggled = "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";

  test.each([
    ["two lengths of a body", `POST /graphql HTTP/1.1\r\n${headers}Content-Length: 26\r\nContent-Length: 3\r\n\r\n${query}${smuggled}`],
    [
      "a length and chunks",
      `POST /graphql HTTP/1.1\r\n${headers}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${smuggled}`,
    ],
    ["chunks under a false name", `POST /graphql HTTP/1.1\r\n${headers}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n${smuggled}`],
    ["a chunk of a size that is none", `POST /graphql HTTP/1.1\r\n${headers}Transfer-Encoding: chunked\r\n\r\n-1\r\n${smuggled}`],
    ["a space before the colon", `POST /graphql HTTP/1.1\r\nHost: localhost\r\nContent-Length : 26\r\n\r\n${query}`],
    ["a NUL in a header", `GET /health HTTP/1.1\r\nHost: localhost\r\nX: a\0b\r\n\r\n`],
    ["a bare line break in a header", `GET /health HTTP/1.1\r\nHost: localhost\r\nX: a\rSet-Cookie: b\r\n\r\n`],
    ["no host", "GET /health HTTP/1.1\r\n\r\n"],
    ["no HTTP at all", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"],
  ])("%s: one answer, and the connection is closed", async (_, bytes) => {
    const answer = await converse(bytes);
    expect(answer).toMatch(/^HTTP\/1.1 400 /);
    expect(answer.match(/HTTP\/1.1 /g)).toHaveLength(1);
    expect(answer).not.toContain('"ok"');
  });

  test("headers without end", async () => {
    const answer = await converse(`GET /health HTTP/1.1\r\nHost: localhost\r\nX: ${"x".repeat(20_000)}`);
    expect(answer).toMatch(/^HTTP\/1.1 431 /);
  });

  test.each(["TRACE", "DELETE", "PUT", "PATCH", "PROPFIND"])("the method %s", async (method) => {
    for (const path of ["/graphql", RUN]) {
      const answer = await converse(`${method} ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-Canary: 1\r\n\r\n`);
      expect(answer).toMatch(/^HTTP\/1.1 405 /);
      expect(answer).not.toContain("X-Canary");
    }
  });

  test.each([
    "/../../../../etc/passwd",
    "/..%2f..%2f..%2fetc%2fpasswd",
    "/%2e%2e/%2e%2e/etc/passwd",
    "/graphql/../../package.json",
    "/v1/agents/..%2f..%2fpackage.json/run",
    "/v1/agents/%00/run",
    "/v1/agents/%ff/run",
    "//evil.example/graphql",
    "/package.json",
    "/.env",
    "\\..\\.env",
    "/%0d%0aSet-Cookie:a=b",
  ])("the address %s leads to no file", async (path) => {
    const answer = await converse(
      `POST ${path} HTTP/1.1\r\n${headers}Content-Length: 33\r\nConnection: close\r\n\r\n{"message":"Hello","user_id":"u"}`,
    );
    expect(answer).toMatch(/^HTTP\/1.1 4\d\d /);
    expect(answer).not.toMatch(/root:|"dependencies"|OPENAI|^set-cookie/im);
  });
});

/** Text that means something to a database, a shell, a page or a terminal. */
const METACHARACTERS = [
  "'; drop table agno_memories; --",
  "' or '1'='1",
  "%",
  "_",
  "\\",
  '"',
  "$1",
  "?",
  "$$",
  '{"$ne": null}',
  "$.topics[*] ? (@ == 1)",
  "a & b | !c <-> d:*",
  "';select pg_sleep(30);--",
  "<script>alert(1)</script>",
  "\u202eevil\u202c",
  "a\u200bb\u200d\ufeff",
  "\u001b[2J",
  "../../etc/passwd",
  "__proto__",
  "constructor",
];

describe.each(TRANSPORTS)("values over %s", (_, send) => {
  test.each(METACHARACTERS)("%j means itself everywhere", async (text) => {
    const operation = `query ($t: String!, $id: ID!) {
      list: memories(userId: $id, filter: { topics: [$t], text: $t, agentId: $id, sessionId: $id }) { totalCount edges { cursor } }
      found: searchMemories(userId: $id, query: $t) { score }
      memory(userId: $id, memoryId: $id) { id } run(userId: $id, runId: $id) { id } session(userId: $id, sessionId: $id) { id }
      sessions(userId: $id, filter: { text: $t }) { totalCount }
    }`;
    const { data, errors } = await send(server.url, { query: operation, variables: { t: text, id: text } });
    expect(errors).toBeUndefined();
    expect(data).toEqual({
      list: { totalCount: 0, edges: [] },
      found: [],
      memory: null,
      run: null,
      session: null,
      sessions: { totalCount: 0 },
    });
  });

  test.each(METACHARACTERS)("%j is no cursor and no id of a node", async (text) => {
    const query = `query ($t: String!) { memories(userId: "u", after: $t) { totalCount } }`;
    expect((await send(server.url, { query, variables: { t: text } })).errors?.[0]?.extensions.code).toBe("BAD_USER_INPUT");
    const node = await send(server.url, { query: "query ($t: ID!) { node(id: $t) { id } }", variables: { t: text } });
    expect(node.data ?? null).toEqual({ node: null });
  });

  const add = documentOf("AddMemory");
  const names = (count: number): string[] => Array.from({ length: count }, (__, index) => index.toString(36));
  test.each<[string, string, string, object | string]>([
    ["a NUL", add, "BAD_USER_INPUT", { input: { userId: "u", memory: "a\0b" } }],
    ["half a character", add, "BAD_USER_INPUT", { input: { userId: "u", memory: "a\udc00" } }],
    ["thousands of topics", add, "BAD_USER_INPUT", { input: { userId: "u", memory: "m", topics: names(35_000) } }],
    ["thousands of topics to look for", documentOf("MemoriesByTopic"), "BAD_USER_INPUT", { userId: "u", topics: names(35_000) }],
    [
      "thousands of memories",
      documentOf("AddMemories"),
      "BAD_USER_INPUT",
      { input: { userId: "u", memories: names(9_000).map((memory) => ({ memory })) } },
    ],
    ["a list where there is none", add, "BAD_USER_INPUT", { input: { userId: "u", memory: ["m"] } }],
    ["lists in lists", add, "BAD_USER_INPUT", `{"input":{"userId":"u","memory":"m","topics":${deep}}}`],
    ["a number that is none", documentOf("Memories"), "BAD_USER_INPUT", { userId: "u", first: 1e308 }],
    [
      "a field that every object has",
      add,
      "BAD_USER_INPUT",
      { input: JSON.parse('{"userId":"u","memory":"m","__proto__":{"polluted":true}}') },
    ],
    [
      "the constructor of all objects",
      add,
      "BAD_USER_INPUT",
      { input: { userId: "u", memory: "m", constructor: { prototype: { polluted: true } } } },
    ],
    ["fields hidden in a prototype", add, "BAD_USER_INPUT", { input: JSON.parse('{"__proto__":{"userId":"u","memory":"m"}}') }],
    ["variables hidden in a prototype", add, "BAD_USER_INPUT", JSON.parse('{"__proto__":{"input":{"userId":"u","memory":"m"}}}')],
    ["a time that is none", add, "BAD_USER_INPUT", { input: { userId: "u", memory: "m", expiresAt: "2026-13-45T99:99:99Z" } }],
  ])("%s", async (__, query, code, variables) => {
    const { data, errors } = await send(server.url, { query, variables });
    expect(data ?? null).toBeNull();
    expect(errors?.[0]?.extensions.code).toBe(code);
    expect(JSON.stringify(errors).length).toBeLessThan(10_000);
  });

  test.each(["__proto__", "constructor", "toString", ""])("no operation is called %j", async (operationName) => {
    const { data, errors } = await send(server.url, { query: "query A { __typename } query B { __typename }", operationName });
    expect(data ?? null).toBeNull();
    expect(errors?.[0]?.extensions.code).toBe("BAD_USER_INPUT");
  });
});

describe("REST", () => {
  test.each(METACHARACTERS)("%j means itself in an address", async (text) => {
    const response = await fetch(`${server.url}/v1/agents/rag-agent/memories?${new URLSearchParams({ user_id: text, topic: text })}`);
    expect([response.status, await response.json()]).toEqual([200, []]);
  });

  test("what is hidden in a prototype is not there", async () => {
    const response = await post(RUN, '{"__proto__": {"message": "Hello", "user_id": "u"}}');
    expect([response.status, await codeOf(response)]).toEqual([400, "BAD_USER_INPUT"]);
  });

  test("a key that is too long, and an event that is no number, are refused", async () => {
    const body = JSON.stringify({ message: "Hello", user_id: "u" });
    const type = { "content-type": "application/json" };
    expect((await post(RUN, body, { ...type, "idempotency-key": "k".repeat(300) })).status).toBe(400);
    expect((await post(RUN, body, { ...type, "idempotency-key": "k", "last-event-id": "-1 or 1=1" })).status).toBe(400);
  });
});

describe("frames of a WebSocket", () => {
  /** How the server closes a connection that was let in and then sent this. */
  async function closedAfter(frame: string | Buffer, options: { binary?: boolean } = {}): Promise<number> {
    const socket = new WebSocket(`${server.url.replace("http", "ws")}/graphql`, "graphql-transport-ws");
    socket.on("error", () => undefined);
    await once(socket, "open");
    socket.send(JSON.stringify({ type: "connection_init" }));
    await once(socket, "message");
    socket.send(frame, options);
    const [code] = await once(socket, "close");
    return code;
  }

  test.each<[string, number, string | Buffer, { binary?: boolean }?]>([
    ["too large", 1009, "x".repeat(MAX_BODY_BYTES + 1)],
    ["no UTF-8", 1007, Buffer.from([0xff, 0xfe, 0xfd]), { binary: false }],
    ["no JSON", 4400, "{"],
    ["a list", 4400, '[{"id":"1","type":"subscribe","payload":{"query":"{ __typename }"}}]'],
    ["lists in lists", 4400, deep],
    ["null", 4400, "null"],
    ["of no type", 4400, '{"__proto__":{"type":"ping"}}'],
    ["of a type that every object has", 4400, '{"type":"constructor"}'],
    ["without a document", 4400, '{"id":"1","type":"subscribe","payload":{}}'],
    ["with variables that are no object", 4400, '{"id":"1","type":"subscribe","payload":{"query":"{ __typename }","variables":[1]}}'],
  ])("%s", async (_, code, frame, options) => {
    expect(await closedAfter(frame, options)).toBe(code);
  });
});

test("who never ends a request is told so and cut off, and nobody waits for them", async () => {
  expect(await slow.head).toMatch(/^HTTP\/1.1 408 /);
  expect(await slow.body).toMatch(/^HTTP\/1.1 408 /);
}, 45_000);

test("all of this leaves no memory behind", () => {
  expect(process.memoryUsage.rss() - memoryBefore).toBeLessThan(MOST_GROWTH);
});
