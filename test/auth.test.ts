/** Who is asking: the same answer on every transport, and for as long as the token is good. */

import { once } from "node:events";
import { type IncomingMessage, request } from "node:http";
import { UnsecuredJWT } from "jose";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { loadConfig } from "../src/config.ts";
import { bearer, makeKey, revokeKey, type TestKey } from "./support/keys.ts";
import { openConnection, openSocket, upgradeStatus } from "./support/raw-socket.ts";
import { type GraphQLAnswer, postGraphQL, startTestServer, type TestServer } from "./support/server.ts";

const NOTE = "mutation ($input: AddMemoryInput!) { addMemory(input: $input) { memory { memoryId } } }";
const TOPICS = "query ($userId: ID) { memoryTopics(userId: $userId) { topic } }";
const SESSION =
  "query ($userId: ID, $sessionId: ID!) { session(userId: $userId, sessionId: $sessionId) { runs { edges { node { status } } } } }";
const RUN = "/v1/agents/rag-agent/run";
const MEMORIES = "/v1/agents/rag-agent/memories";

const codeOf = (answer: GraphQLAnswer) => answer.errors?.[0]?.extensions.code;

describe("with keys", () => {
  let server: TestServer;
  let ada: TestKey;
  let service: TestKey;
  let admin: TestKey;

  beforeAll(async () => {
    server = await startTestServer({ env: { AUTH: "keys", CORS_ORIGINS: "https://chat.example" } });
    const { database } = server.context;
    ada = await makeKey(database, { user: "ada" });
    service = await makeKey(database, { scope: "service" });
    admin = await makeKey(database, { scope: "admin" });
  });

  afterAll(() => server.close());

  const ask = (token: string, operation: string, variables: object = {}) => postGraphQL(server.url, operation, variables, bearer(token));
  const rest = (path: string, headers: object = {}, body?: object) =>
    fetch(`${server.url}${path}`, {
      ...(body && { method: "POST", body: JSON.stringify(body) }),
      headers: { ...(body && { "content-type": "application/json" }), ...headers },
    });

  test("without a token nothing is answered but whether the server lives, and the page of the playground", async () => {
    for (const [path, body] of [
      ["/graphql", { query: "{ __typename }" }],
      [RUN, { message: "Hi", user_id: "ada" }],
      [MEMORIES],
      ["/nowhere"],
    ] as const) {
      const response = await rest(path, {}, body);
      expect(response.status, path).toBe(401);
      expect(response.headers.get("www-authenticate")).toBe('Bearer realm="recollect"');
      const answer = (await response.json()) as { error?: { code: string }; errors?: { extensions: { code: string } }[] };
      expect(answer.error?.code ?? answer.errors?.[0]?.extensions.code).toBe("UNAUTHENTICATED");
    }
    for (const [path, headers] of [["/health"], ["/ready"], ["/graphql", { accept: "text/html" }]] as const) {
      expect((await rest(path, headers)).status, path).toBe(200);
    }
  });

  test.each([
    ["another scheme", "Basic YWRhOmFkYQ=="],
    ["no scheme", "TOKEN"],
    ["two tokens", "Bearer TOKEN TOKEN"],
    ["text that is no token", "Bearer \t{}"],
    ["a key cut short", "Bearer TOKEN_LESS"],
    ["a key with one letter changed", "Bearer TOKEN_OTHER"],
    ["a JSON Web Token, which this server does not take", `Bearer ${new UnsecuredJWT({ sub: "ada" }).encode()}`],
    ["a token of 10,000 letters", `Bearer ${"a".repeat(10_000)}`],
  ])("refused: %s", async (_, template) => {
    const { token } = ada;
    const changed = `${token.slice(0, -1)}${token.endsWith("A") ? "B" : "A"}`;
    const authorization = template
      .replaceAll("TOKEN_OTHER", changed)
      .replaceAll("TOKEN_LESS", token.slice(0, -1))
      .replaceAll("TOKEN", token);
    const response = await rest("/graphql", { authorization }, { query: "{ __typename }" });
    expect(response.status).toBe(401);
    expect(response.headers.get("www-authenticate")).toBe('Bearer realm="recollect", error="invalid_token"');
  });

  test("a key in the address is none", async () => {
    const query = `query=${encodeURIComponent("{__typename}")}&token=${ada.token}&access_token=${ada.token}`;
    expect((await rest(`/graphql?${query}`, { "apollo-require-preflight": "1" })).status).toBe(401);
    expect((await rest(`${MEMORIES}?user_id=ada&token=${ada.token}`)).status).toBe(401);
  });

  test("a key that has expired or is revoked is refused like one that never was", async () => {
    const { database } = server.context;
    const expired = await makeKey(database, { user: "ada" }, new Date(Date.now() - 1_000));
    const revoked = await makeKey(database, { user: "ada" });
    expect(codeOf(await ask(revoked.token, "{ __typename }"))).toBeUndefined();
    await revokeKey(database, revoked.keyId);
    const answers = await Promise.all(
      [expired.token, revoked.token, `rk_${"0".repeat(16)}_${"A".repeat(43)}`].map((token) => ask(token, "{ __typename }")),
    );
    expect(new Set(answers.map((answer) => JSON.stringify(answer))).size).toBe(1);
    expect(answers.map(codeOf)).toEqual(["UNAUTHENTICATED", "UNAUTHENTICATED", "UNAUTHENTICATED"]);
  });

  test("a user's key acts for that user, named or not, and for nobody else, whether or not there is somebody else", async () => {
    const bob = await makeKey(server.context.database, { user: "bob" });
    await ask(bob.token, NOTE, { input: { memory: "User likes chess", topics: ["games"] } });
    await ask(ada.token, NOTE, { input: { memory: "User likes tea", topics: ["tea"] } });
    for (const variables of [{}, { userId: null }, { userId: "ada" }]) {
      expect((await ask(ada.token, TOPICS, variables)).data).toEqual({ memoryTopics: [{ topic: "tea" }] });
    }
    const [theirs, ...others] = await Promise.all(["bob", "nobody", "Ada", "ada ", ""].map((userId) => ask(ada.token, TOPICS, { userId })));
    expect(codeOf(theirs as GraphQLAnswer)).toBe("FORBIDDEN");
    expect(others).toEqual(others.map(() => theirs));
  });

  test("a service and an admin act for the user they name, and have to name one", async () => {
    for (const { token } of [service, admin]) {
      expect((await ask(token, TOPICS, { userId: "ada" })).data).toEqual({ memoryTopics: [{ topic: "tea" }] });
      for (const variables of [{}, { userId: null }, { userId: "" }]) {
        expect(codeOf(await ask(token, TOPICS, variables))).toBe("BAD_USER_INPUT");
      }
    }
  });

  test("over REST the same: the user may be left out with a user's key, and nobody else's be named", async () => {
    expect(await (await rest(MEMORIES, bearer(ada.token))).json()).toMatchObject([{ user_id: "ada", memory: "User likes tea" }]);
    const answers = [
      await rest(`${MEMORIES}?user_id=bob`, bearer(ada.token)),
      await rest(`${MEMORIES}?user_id=nobody`, bearer(ada.token)),
      await rest(RUN, bearer(ada.token), { message: "Hi", user_id: "bob" }),
      await rest(RUN, bearer(ada.token), { message: "Hi", user_id: "nobody" }),
    ];
    expect(answers.map(({ status }) => status)).toEqual([403, 403, 403, 403]);
    expect(new Set(await Promise.all(answers.map((answer) => answer.text()))).size).toBe(1);
    expect((await rest(MEMORIES, bearer(service.token))).status).toBe(400);
    expect(await (await rest(RUN, bearer(ada.token), { message: "Hi" })).json()).toMatchObject({ user_id: "ada", status: "COMPLETED" });
  });

  test("over WebSocket the same, with the token in either spelling", async () => {
    for (const payload of [{ authorization: `Bearer ${ada.token}` }, { Authorization: `bearer ${ada.token}` }]) {
      const connection = await openConnection(server.url, payload);
      connection.send({ id: "mine", type: "subscribe", payload: { query: TOPICS } });
      expect(await connection.next("next", "mine")).toMatchObject({ payload: { data: { memoryTopics: [{ topic: "tea" }] } } });
      connection.send({ id: "theirs", type: "subscribe", payload: { query: TOPICS, variables: { userId: "bob" } } });
      expect(await connection.next("next", "theirs")).toMatchObject({ payload: { errors: [{ extensions: { code: "FORBIDDEN" } }] } });
      const query = 'subscription { memoryEvents(userId: "bob") { id } }';
      connection.send({ id: "events", type: "subscribe", payload: { query } });
      expect(await connection.next("next", "events")).toMatchObject({ payload: { errors: [{ extensions: { code: "FORBIDDEN" } }] } });
      connection.socket.terminate();
    }
  });

  test("how the server is doing: an admin sees everything, others that something is wrong", async () => {
    const away = await startTestServer({ model: server.model, env: { AUTH: "keys", OPENAI_BASE_URL: "http://127.0.0.1:9/v1" } });
    const keys = {
      admin: await makeKey(away.context.database, { scope: "admin" }),
      user: await makeKey(away.context.database, { user: "ada" }),
    };
    const service = await makeKey(away.context.database, { scope: "service" });
    const look = async ({ token }: TestKey) => (await postGraphQL(away.url, "Doctor", {}, bearer(token))).data.serverStatus;
    const shown = await look(keys.admin);
    expect(shown).toMatchObject({ authentication: true, queue: { failed: 0 }, database: { version: expect.any(String) } });
    expect(JSON.stringify(shown.problems)).toContain("http://127.0.0.1:9/v1");
    for (const key of [keys.user, service]) {
      const status = await look(key);
      expect(status).toMatchObject({ authentication: true, queue: null, database: { available: true, version: null } });
      expect(status.problems).toEqual([{ severity: "ERROR", message: "Something is wrong with this server.", fix: expect.any(String) }]);
      expect(JSON.stringify(status)).not.toContain("127.0.0.1");
    }
    await away.close();
  });

  test("a revoked key closes its sockets with 4403, and nothing comes after; others stay", async () => {
    const key = await makeKey(server.context.database, { user: "carol" });
    const other = await makeKey(server.context.database, { user: "carol" });
    const [closing, staying] = await Promise.all([key, other].map(({ token }) => openConnection(server.url, bearer(token))));
    for (const connection of [closing, staying]) {
      connection?.send({ id: "1", type: "subscribe", payload: { query: "subscription { memoryEvents { sequence } }" } });
    }
    await ask(other.token, NOTE, { input: { memory: "User likes figs" } });
    await Promise.all([closing?.next("next"), staying?.next("next")]);
    await revokeKey(server.context.database, key.keyId);
    expect(await closing?.closed).toEqual({ code: 4403, reason: expect.stringContaining("revoked") });
    const before = closing?.received.length;
    const seen = staying?.received.length ?? 0;
    await ask(other.token, NOTE, { input: { memory: "User likes dates" } });
    while ((staying?.received.length ?? 0) <= seen) {
      await once(staying?.socket as NonNullable<typeof staying>["socket"], "message");
    }
    expect(closing?.received.length).toBe(before);
    staying?.socket.terminate();
    const again = await openSocket(server.url);
    again.send({ type: "connection_init", payload: bearer(key.token) });
    expect((await again.closed).code).toBe(4403);
  });

  test("a key that expires ends its Server-Sent Events with an error; the run goes on", async () => {
    const key = await makeKey(server.context.database, { user: "dora" }, new Date(Date.now() + 3_000));
    const gate = server.model.hold(2);
    const response = await rest(RUN, bearer(key.token), { message: "Hello", session_id: "s", stream: true });
    const events = (await response.text()).split("\n\n").filter((event) => event.startsWith("id:") || event.startsWith("event:"));
    expect(events.at(-1)).toMatch(/^event: RunError\ndata: .*"error_type":"UNAUTHENTICATED"/);
    expect(events.at(-1)).toContain("has expired");
    expect(events.join("")).toContain("RunStarted");
    gate.release();
    await server.drain();
    const { session } = (await ask(admin.token, SESSION, { userId: "dora", sessionId: "s" })).data;
    expect(session.runs.edges).toEqual([{ node: { status: expect.stringMatching(/RUNNING|COMPLETED/) } }]);
  });

  test("pages of other sites get nothing to read and no socket, those on the list do", async () => {
    const status = (headers: Record<string, string>) => upgradeStatus(server.url, headers);
    expect(await status({})).toBe(101);
    expect(await status({ origin: server.url })).toBe(101);
    expect(await status({ origin: "https://chat.example" })).toBe(101);
    expect(await status({ origin: "https://evil.example" })).toBe(403);
    expect(await status({ origin: "https://chat.example.evil.example" })).toBe(403);
    expect(await status({ origin: "http://localhost:1" })).toBe(403);
    expect(await status({ origin: "null" })).toBe(403);
    // Behind a proxy the server has the name its visitors know.
    expect(await status({ host: "memory.example", origin: "https://memory.example" })).toBe(101);

    const preflight = (origin: string) =>
      fetch(`${server.url}/graphql`, { method: "OPTIONS", headers: { origin, "access-control-request-method": "POST" } });
    const allowed = await preflight("https://chat.example");
    expect(allowed.status).toBe(204);
    expect(allowed.headers.get("access-control-allow-origin")).toBe("https://chat.example");
    expect(allowed.headers.get("access-control-allow-headers")).toContain("authorization");
    expect(allowed.headers.get("access-control-allow-credentials")).toBeNull();
    const refused = await preflight("https://evil.example");
    expect(refused.status).toBe(401);
    expect(refused.headers.get("access-control-allow-origin")).toBeNull();
    const answer = await rest("/graphql", { ...bearer(ada.token), origin: "https://chat.example" }, { query: "{ __typename }" });
    expect(answer.headers.get("access-control-allow-origin")).toBe("https://chat.example");
    expect(answer.headers.get("vary")).toContain("origin");
  });
});

describe("without tokens", () => {
  let server: TestServer;

  beforeAll(async () => {
    server = await startTestServer();
  });

  afterAll(() => server.close());

  test("the server serves its own machine only, and does not start open to others", () => {
    const faults = (env: NodeJS.ProcessEnv) => {
      try {
        return loadConfig(env, null) && null;
      } catch (error) {
        return (error as Error).message;
      }
    };
    for (const HOST of ["0.0.0.0", "::", "192.168.1.10", "memory.example"]) {
      expect(faults({ HOST }), HOST).toContain("To open it to others set AUTH=keys");
      expect(faults({ HOST, AUTH: "none" }), HOST).not.toBeNull();
      expect(faults({ HOST, AUTH: "keys" }), HOST).toBeNull();
    }
  });

  test("pages of other sites get no socket and no answer to read, also when their name was made to point here", async () => {
    expect(await upgradeStatus(server.url, {})).toBe(101);
    expect(await upgradeStatus(server.url, { origin: "http://localhost:5173" })).toBe(101);
    expect(await upgradeStatus(server.url, { origin: "https://evil.example" })).toBe(403);
    expect(await upgradeStatus(server.url, { host: "evil.example", origin: "https://evil.example" })).toBe(403);
    const preflight = await fetch(`${server.url}/graphql`, {
      method: "OPTIONS",
      headers: { origin: "https://evil.example", "access-control-request-method": "POST" },
    });
    expect(preflight.headers.get("access-control-allow-origin")).toBeNull();
    expect(preflight.status).toBe(405);
  });

  test("a request under another name than this machine's is refused, whatever it asks", async () => {
    const { port } = new URL(server.url);
    const statusAs = async (host: string): Promise<number | undefined> => {
      const asked = request({ port, host: "127.0.0.1", path: MEMORIES, headers: { host } }).end();
      const [response] = (await once(asked, "response")) as [IncomingMessage];
      response.resume();
      return response.statusCode;
    };
    expect(await statusAs(`localhost:${port}`)).toBe(400);
    for (const host of ["evil.example", `evil.example:${port}`, "localhost.evil.example", "127.0.0.1.evil.example"]) {
      expect(await statusAs(host), host).toBe(403);
    }
  });

  test("a token means nothing", async () => {
    const answer = await postGraphQL(server.url, TOPICS, { userId: "ada" }, bearer("whatever"));
    expect(answer).toEqual({ data: { memoryTopics: [] } });
  });
});
