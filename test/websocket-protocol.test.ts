/** The protocol graphql-transport-ws, sentence by sentence: how a connection ends, and with which code. */

import { once } from "node:events";
import { createServer } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { KnownDocuments } from "../src/graphql/known-documents.ts";
import { buildGraphQLSchema } from "../src/graphql/schema.ts";
import { serveSockets } from "../src/graphql/websocket.ts";
import { createLogger } from "../src/logger.ts";
import { makeKey } from "./support/keys.ts";
import { openConnection, openSocket } from "./support/raw-socket.ts";
import { startTestServer, type TestServer } from "./support/server.ts";

let server: TestServer;
let token: string;

beforeAll(async () => {
  server = await startTestServer({ env: { AUTH: "keys" } });
  token = (await makeKey(server.context.database, { user: "ada" })).token;
});

afterAll(() => server.close());

const authorization = () => ({ authorization: `Bearer ${token}` });
/** A subscription that goes on. */
const watch = (id: string) => ({ id, type: "subscribe", payload: { query: "subscription { memoryEvents { id } }" } });

test.each([
  ["text that is no JSON", "{"],
  ["a message of no known type", JSON.stringify({ type: "start" })],
  ["a subscribe message without an id", JSON.stringify({ type: "subscribe", payload: { query: "{ __typename }" } })],
  ["a message that only servers send", JSON.stringify({ id: "1", type: "next", payload: {} })],
])("4400: %s", async (_, text) => {
  const connection = await openConnection(server.url, authorization());
  connection.send(text);
  expect(await connection.closed).toMatchObject({ code: 4400 });
});

test("4401: an operation before the connection was acknowledged, whether or not an introduction is under way", async () => {
  const silent = await openSocket(server.url);
  silent.send(watch("1"));
  expect(await silent.closed).toMatchObject({ code: 4401 });

  const hasty = await openSocket(server.url);
  hasty.send({ type: "connection_init", payload: authorization() });
  hasty.send(watch("1"));
  expect(await hasty.closed).toMatchObject({ code: 4401 });
  expect(hasty.received.filter(({ type }) => type !== "connection_ack")).toEqual([]);
});

test.each([
  ["no token", undefined, "A token is missing"],
  ["a token that is not good", { authorization: `Bearer rk_${"0".repeat(16)}_${"A".repeat(43)}` }, "not good"],
  ["a token in the wrong place", { token: "t", headers: { authorization: "Bearer t" } }, "A token is missing"],
  ["claims that nobody has checked", { sub: "ada", userId: "ada", scope: "recollect:admin" }, "A token is missing"],
])("4403: %s", async (_, payload, reason) => {
  const connection = await openSocket(server.url);
  connection.send({ type: "connection_init", ...(payload && { payload }) });
  expect(await connection.closed).toEqual({ code: 4403, reason: expect.stringContaining(reason) });
  expect(connection.received).toEqual([]);
});

test("4406: no sub-protocol, and the one that went before", async () => {
  const unnamed = await openSocket(server.url, {}, []);
  expect(await unnamed.closed).toMatchObject({ code: 4406 });

  // A client library would refuse a server that answers without a protocol, so this is read from the wire.
  const socket = connect(Number(new URL(server.url).port), "127.0.0.1");
  const headers = ["host: localhost", "upgrade: websocket", "connection: upgrade", "sec-websocket-version: 13"];
  const request = [...headers, "sec-websocket-key: MDEyMzQ1Njc4OTAxMjM0NQ==", "sec-websocket-protocol: graphql-ws"];
  socket.write(`GET /graphql HTTP/1.1\r\n${request.join("\r\n")}\r\n\r\n`);
  let answer = Buffer.alloc(0);
  while (!answer.includes("Subprotocol not acceptable")) {
    const [part] = (await once(socket, "data")) as [Buffer];
    answer = Buffer.concat([answer, part]);
  }
  socket.destroy();
  const frame = answer.subarray(answer.indexOf("\r\n\r\n") + 4);
  expect(frame[0]).toBe(0x88);
  expect(frame.readUInt16BE(2)).toBe(4406);
});

test("4408: a client that does not introduce itself", async () => {
  const connection = await openSocket(server.url);
  expect(await connection.closed).toMatchObject({ code: 4408 });
});

test("4409: a second operation with the id of one that goes on", async () => {
  const connection = await openConnection(server.url, authorization());
  connection.send(watch("same"));
  connection.send(watch("same"));
  expect(await connection.closed).toMatchObject({ code: 4409 });
});

test("4429: a second introduction, also with another token", async () => {
  const connection = await openConnection(server.url, authorization());
  const other = await makeKey(server.context.database, { scope: "admin" });
  connection.send({ type: "connection_init", payload: { authorization: `Bearer ${other.token}` } });
  expect(await connection.closed).toMatchObject({ code: 4429 });
});

test("4500: the server fails in a way it did not expect, and says nothing about it", async () => {
  const sockets = serveSockets({
    documents: new KnownDocuments(buildGraphQLSchema(), true),
    authenticator: server.context.authenticator,
    contextFor: () => {
      throw new Error("postgres://user:secret@host");
    },
    masking: { log: createLogger("silent"), hints: true },
    limits: { socketOperations: null, userSockets: null },
  });
  const http = createServer().on("upgrade", sockets.upgrade).listen(0, "127.0.0.1");
  await once(http, "listening");
  const connection = await openConnection(`http://127.0.0.1:${(http.address() as AddressInfo).port}`, authorization());
  connection.send(watch("1"));
  expect(await connection.closed).toEqual({ code: 4500, reason: "Internal server error" });
  await sockets.close();
  http.close();
});

test("1012: the server stops; clients come back", async () => {
  const other = await startTestServer({ env: { AUTH: "none" } });
  const connection = await openConnection(other.url);
  await other.close();
  expect(await connection.closed).toMatchObject({ code: 1012 });
});
