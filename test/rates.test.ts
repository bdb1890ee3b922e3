/** How much one user, one address and one connection may ask for; the others notice nothing of whoever asks for too much. */

import { once } from "node:events";
import { request } from "node:http";
import { afterEach, describe, expect, test } from "vitest";
import { WebSocket } from "ws";
import { RequestRate } from "../src/limits/rates.ts";
import { bearer, makeKey } from "./support/keys.ts";
import { answerOf, openSocket } from "./support/send.ts";
import { postGraphQL, startTestServer, type TestServer, type TestServerOptions } from "./support/server.ts";

const opened: TestServer[] = [];

afterEach(async () => {
  await Promise.all(opened.splice(0).map((server) => server.close()));
});

async function serverWith(env: NodeJS.ProcessEnv, options: TestServerOptions = {}): Promise<TestServer> {
  const server = await startTestServer({ ...options, env });
  opened.push(server);
  return server;
}

const TOPICS = "query ($userId: ID!) { memoryTopics(userId: $userId) { topic } }";

describe("requests in a minute", () => {
  test("as many as are allowed are taken of one user, whatever the transport, and all of another", async () => {
    const server = await serverWith({ LIMIT_REQUESTS_PER_MINUTE: "5" });
    const answers = await Promise.all(Array.from({ length: 50 }, () => server.graphql(TOPICS, { userId: "busy" })));
    expect(answers.filter(({ data }) => data)).toHaveLength(5);
    const refused = answers.filter(({ errors }) => errors);
    expect(refused).toHaveLength(45);
    for (const { errors } of refused) {
      expect(errors?.[0]?.extensions).toMatchObject({
        code: "RATE_LIMITED",
        retryable: true,
        retryAfterSeconds: expect.toSatisfy((wait: number) => Number.isInteger(wait) && wait >= 1 && wait <= 12),
        limit: { name: "requestsPerMinute", max: 5 },
      });
    }

    const socket = await openSocket(server.url);
    const overSocket = await answerOf(socket, "1", { query: TOPICS, variables: { userId: "busy" } });
    socket.terminate();
    expect(overSocket.errors?.[0]?.extensions.code).toBe("RATE_LIMITED");

    const rest = await fetch(`${server.url}/v1/agents/rag-agent/memories?user_id=busy`);
    expect(rest.status).toBe(429);
    expect(Number(rest.headers.get("retry-after"))).toBeGreaterThan(0);
    expect(await rest.json()).toMatchObject({ error: { code: "RATE_LIMITED", retry_after_seconds: expect.any(Number) } });

    expect((await server.graphql(TOPICS, { userId: "quiet" })).errors).toBeUndefined();
    expect(server.model.requests).toHaveLength(0);
  });

  test("each field of an operation that acts for the user counts, and a header says when to come back", async () => {
    const server = await serverWith({ LIMIT_REQUESTS_PER_MINUTE: "5" });
    const fields = Array.from({ length: 6 }, (_, index) => `a${index}: memoryTopics(userId: "u") { topic }`);
    const response = await fetch(`${server.url}/graphql`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ query: `{ ${fields.join(" ")} }` }),
    });
    expect(Number(response.headers.get("retry-after"))).toBeGreaterThan(0);
    expect(await response.json()).toMatchObject({ errors: [{ path: ["a5"], extensions: { code: "RATE_LIMITED" } }] });
  });

  test("what a token's user sends counts although it acts for nobody, and once when it does", async () => {
    const server = await serverWith({ LIMIT_REQUESTS_PER_MINUTE: "4", AUTH: "keys" });
    const { token } = await makeKey(server.context.database, { user: "u" });
    const codes = async (query: string): Promise<unknown> =>
      (await postGraphQL(server.url, query, {}, bearer(token))).errors?.[0]?.extensions.code;
    expect(await codes("{ __typename }")).toBeUndefined();
    expect(await codes("{ memoryTopics { topic } }")).toBeUndefined();
    expect(await codes("{ wrong }")).toBe("BAD_USER_INPUT");
    expect(await codes("{ a: memoryTopics { topic } b: memoryTopics { topic } }")).toBe("RATE_LIMITED");
    expect(await codes("{ __typename }")).toBe("RATE_LIMITED");
    const response = await fetch(`${server.url}/graphql`, {
      method: "POST",
      headers: { "content-type": "application/json", ...bearer(token) },
      body: "{}",
    });
    expect([response.status, Number(response.headers.get("retry-after")) > 0]).toEqual([429, true]);
    const socket = await openSocket(server.url, bearer(token));
    expect((await answerOf(socket, "1", { query: "{ __typename }" })).errors?.[0]?.extensions.code).toBe("RATE_LIMITED");
    socket.terminate();
  });

  test("come back with the time, a burst of a minute at the most", () => {
    let now = 0;
    const rate = new RequestRate(60, { now: () => now });
    const taken = (): number => {
      let count = 0;
      try {
        for (; count < 1_000; count++) {
          rate.count("u");
        }
      } catch {
        // One too many.
      }
      return count;
    };
    expect(taken()).toBe(60);
    expect(() => rate.count("u")).toThrow(expect.objectContaining({ details: expect.objectContaining({ retryAfterSeconds: 1 }) }));
    now += 10_000;
    expect(taken()).toBe(10);
    now += 3_600_000;
    expect(taken()).toBe(60);
  });

  test("are shared out among the processes there are", () => {
    let processes = 1;
    const rate = new RequestRate(60, { processes: () => processes });
    const taken = (name: string): number => {
      for (let count = 0; ; count++) {
        try {
          rate.count(name);
        } catch {
          return count;
        }
      }
    };
    expect(taken("ada")).toBe(60);
    processes = 3;
    expect(taken("bob")).toBe(20);
  });

  test("are not counted on a server that asks for no tokens, unless it is told to", async () => {
    const server = await serverWith({});
    const answers = await Promise.all(
      Array.from({ length: 60 }, () =>
        server.graphql(`{ ${Array.from({ length: 30 }, (_, index) => `a${index}: memoryTopics(userId: "u") { topic }`).join(" ")} }`),
      ),
    );
    expect(answers.some(({ errors }) => errors?.some(({ extensions }) => extensions.code === "RATE_LIMITED"))).toBe(false);
  });
});

describe("an address that is not this machine's own", () => {
  /** Linux takes all of 127.0.0.0/8 for itself, so this is somebody else as far as the server can tell. */
  const localAddress = "127.0.0.2";

  function status(url: string, path: string): Promise<number> {
    return new Promise((resolve, reject) => {
      request(`${url}${path}`, { localAddress, headers: { accept: "application/json" } }, (response) => {
        response.resume();
        resolve(response.statusCode ?? 0);
      })
        .on("error", reject)
        .end();
    });
  }

  test("is refused when it asks too often, before anything else is looked at; health is told to everybody", async () => {
    const server = await serverWith({ LIMIT_ADDRESS_REQUESTS_PER_MINUTE: "3", AUTH: "keys" });
    const statuses: number[] = [];
    for (let index = 0; index < 5; index++) {
      statuses.push(await status(server.url, "/v1/agents/rag-agent/memories?user_id=u"));
    }
    expect(statuses).toEqual([401, 401, 401, 429, 429]);
    expect(await status(server.url, "/health")).toBe(200);
    expect((await fetch(`${server.url}/v1/agents/rag-agent/memories?user_id=u`)).status).toBe(401);
  });

  test("gets so many WebSockets and no more, until one closes", async () => {
    const server = await serverWith({ LIMIT_ADDRESS_SOCKETS: "1" });
    const open = (): WebSocket => new WebSocket(`${server.url.replace("http", "ws")}/graphql`, "graphql-transport-ws", { localAddress });
    const first = open();
    await once(first, "open");
    const [error] = (await once(open(), "error")) as [Error];
    expect(error.message).toMatch(/429/);
    const closed = once(first, "close");
    first.close();
    await closed;
    const again = open();
    await once(again, "open");
    again.terminate();
  });
});

test("a user gets so many connections and no more, another user all of theirs", async () => {
  const server = await serverWith({ AUTH: "keys", LIMIT_USER_SOCKETS: "1" });
  const [alice, bob] = await Promise.all(["alice", "bob"].map((user) => makeKey(server.context.database, { user })));
  const enter = async (token: string): Promise<{ socket: WebSocket; heard: string }> => {
    const socket = new WebSocket(`${server.url.replace("http", "ws")}/graphql`, "graphql-transport-ws");
    await once(socket, "open");
    const heard = Promise.race([
      once(socket, "message").then(([data]) => JSON.parse(String(data)).type as string),
      once(socket, "close").then(([code]) => String(code)),
    ]);
    socket.send(JSON.stringify({ type: "connection_init", payload: bearer(token) }));
    return { socket, heard: await heard };
  };
  const first = await enter(alice?.token ?? "");
  expect(first.heard).toBe("connection_ack");
  expect((await enter(alice?.token ?? "")).heard).toBe("1013");
  const other = await enter(bob?.token ?? "");
  expect(other.heard).toBe("connection_ack");
  const closed = once(first.socket, "close");
  first.socket.close();
  await closed;
  const again = await enter(alice?.token ?? "");
  expect(again.heard).toBe("connection_ack");
  for (const { socket } of [other, again]) {
    socket.terminate();
  }
});

const RUN =
  "mutation ($input: RunAgentInput!, $waitFor: RunStage!) { runAgent(input: $input, waitFor: $waitFor) { run { runId status } } }";

describe("open runs", () => {
  test("of messages sent at once as many as may be open are accepted, nothing is kept of the others, and there is room again later", async () => {
    const server = await serverWith({ LIMIT_OPEN_RUNS: "3" });
    const gates = Array.from({ length: 3 }, () => server.model.hold());
    const send = (index: number) =>
      server.graphql(RUN, {
        input: { userId: "busy", sessionId: `s${index}`, message: "Hello!", idempotencyKey: `k${index}` },
        waitFor: "ACCEPTED",
      });
    const answers = await Promise.all(Array.from({ length: 20 }, (_, index) => send(index)));
    const accepted = answers.flatMap(({ data }, index) => (data ? [index] : []));
    expect(accepted).toHaveLength(3);
    for (const { errors } of answers.filter((answer) => answer.errors)) {
      expect(errors?.[0]?.extensions).toMatchObject({ code: "RATE_LIMITED", retryAfterSeconds: 5, limit: { name: "openRuns", max: 3 } });
    }
    const sessions = await server.data(`{ sessions(userId: "busy") { totalCount } }`);
    expect(sessions.sessions.totalCount).toBe(3);

    const repeated = await send(accepted[0] ?? 0);
    expect(repeated.data.runAgent.run.runId).toBe(answers[accepted[0] ?? 0]?.data.runAgent.run.runId);
    expect((await send(50)).errors?.[0]?.extensions.code).toBe("RATE_LIMITED");
    const quiet = server.graphql(RUN, { input: { userId: "quiet", message: "Hello!" }, waitFor: "ACCEPTED" });
    expect((await quiet).errors).toBeUndefined();

    for (const gate of gates) {
      gate.release();
    }
    for (const index of accepted) {
      const { runId } = answers[index]?.data.runAgent.run ?? {};
      for await (const _ of server.subscribe("FollowRun", { userId: "busy", runId })) {
        // Until it has ended.
      }
    }
    expect((await send(51)).errors).toBeUndefined();
  });

  test("those that wait for their turn count", async () => {
    const server = await serverWith({ LIMIT_OPEN_RUNS: "2" });
    const gate = server.model.hold();
    const send = () => server.graphql(RUN, { input: { userId: "busy", sessionId: "s", message: "Hello!" }, waitFor: "ACCEPTED" });
    expect((await send()).data.runAgent.run.status).toBe("RUNNING");
    expect((await send()).data.runAgent.run.status).toBe("QUEUED");
    expect((await send()).errors?.[0]?.extensions.code).toBe("RATE_LIMITED");
    gate.release();
  });
});

describe("tokens of a day", () => {
  const usage = (server: TestServer) =>
    server.context.database.asOperator((transaction) =>
      transaction.query<{ user_id: string; purpose: string; calls: number; input: number; output: number }>(
        `select user_id, purpose, calls, input_tokens::integer as input, output_tokens::integer as output
        from recollect_usage order by user_id, purpose`,
      ),
    );

  test("are counted by what they were used for; once they are used up runs are refused until tomorrow, of that user", async () => {
    const server = await serverWith({ LIMIT_TOKENS_PER_DAY: "1" });
    const say = (userId: string, message: string) => server.graphql(RUN, { input: { userId, sessionId: "s", message }, waitFor: "MEMORY" });
    expect((await say("busy", "I like tea a lot.")).data.runAgent.run.status).toBe("COMPLETED");
    const counted = await usage(server);
    expect(counted.map(({ purpose, calls }) => [purpose, calls])).toEqual([
      ["memory", 1],
      ["reply", 1],
    ]);
    expect(counted.every(({ input, output }) => input > 0 && output > 0)).toBe(true);

    const { errors } = await say("busy", "I like cake a lot.");
    expect(errors?.[0]?.extensions).toMatchObject({
      code: "BUDGET_EXCEEDED",
      retryAfterSeconds: expect.toSatisfy((wait: number) => wait >= 1 && wait <= 86_400),
      limit: { name: "tokensPerDay", max: 1 },
    });
    expect(errors?.[0]?.message).toMatch(/tomorrow/);
    expect((await say("quiet", "I like tea a lot.")).errors).toBeUndefined();

    await server.context.database.asOperator((transaction) => transaction.query("update recollect_usage set day = day - 1"));
    expect((await say("busy", "I like cake a lot.")).errors).toBeUndefined();
  });

  test("of a reply that was stopped are counted as far as it was written, of a summary when it is stored", async () => {
    const server = await serverWith({});
    const gate = server.model.hold(1);
    const run = (await server.data(RUN, { input: { userId: "u", sessionId: "s", message: "Hello!" }, waitFor: "ACCEPTED" })).runAgent.run;
    for await (const event of server.subscribe("FollowRun", { userId: "u", runId: run.runId })) {
      if (event.__typename === "TextMessageContent") {
        await server.data("CancelRun", { input: { userId: "u", runId: run.runId } });
      }
    }
    gate.release();
    expect(await usage(server)).toMatchObject([{ purpose: "reply", calls: 1 }]);
    await server.data(RUN, { input: { userId: "u", sessionId: "s", message: "Hello!" }, waitFor: "REPLY" });
    await server.data("SummarizeSession", { input: { userId: "u", sessionId: "s" } });
    expect(await usage(server)).toMatchObject([
      { purpose: "reply", calls: 2 },
      { purpose: "summary", calls: 1 },
    ]);
  });
});

describe("memories of a user", () => {
  const add = (server: TestServer, ...texts: string[]) =>
    server.graphql("AddMemories", { input: { userId: "u", memories: texts.map((memory) => ({ memory })) } });
  const kept = async (server: TestServer): Promise<number> =>
    (await server.data(`{ memories(userId: "u") { totalCount } }`)).memories.totalCount;

  test("no more are added by hand than one may have; what is there is still confirmed, and a deleted one makes room", async () => {
    const server = await serverWith({ LIMIT_MEMORIES: "3" });
    expect((await add(server, "User likes tea", "User likes cake")).errors).toBeUndefined();
    const refused = await add(server, "User likes rain", "User likes snow");
    expect(refused.errors?.[0]?.extensions.code).toBe("BUDGET_EXCEEDED");
    expect(refused.errors?.[0]?.message).toMatch(/Delete some/);
    expect(await kept(server)).toBe(2);
    expect((await add(server, "User likes rain")).errors).toBeUndefined();
    expect((await add(server, "User likes tea")).data.addMemories.changes[0].kind).toBe("REINFORCED");
    expect((await add(server, "User likes snow")).errors?.[0]?.extensions.code).toBe("BUDGET_EXCEEDED");
    const { memories } = await server.data(`{ memories(userId: "u", first: 1) { edges { node { memoryId } } } }`);
    await server.data("DeleteMemory", { input: { userId: "u", memoryId: memories.edges[0].node.memoryId } });
    expect((await add(server, "User likes snow")).errors).toBeUndefined();
    expect(await kept(server)).toBe(3);
  });

  test("what is said is learned as far as there is room, and known facts are confirmed", async () => {
    const server = await serverWith({ LIMIT_MEMORIES: "1" });
    const say = (message: string) => server.data("RunAgent", { input: { userId: "u", sessionId: "s", message }, waitFor: "MEMORY" });
    const changes = async (message: string): Promise<string[]> =>
      (await say(message)).runAgent.run.memoryUpdate.changes.map(({ kind }: { kind: string }) => kind);
    expect(await changes("I like tea a lot.")).toEqual(["ADDED"]);
    expect(await changes("I like cake a lot.")).toEqual([]);
    expect(await changes("I like tea a lot.")).toEqual(["REINFORCED"]);
    expect(await kept(server)).toBe(1);
  });
});
