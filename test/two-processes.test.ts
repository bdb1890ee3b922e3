/**
 * Several server processes on one Postgres are one server. What is repeated here is repeated so often that processes which
 * only looked once a second, as they do when a word is lost, would not be done in time.
 */

import { createHash } from "node:crypto";
import { once } from "node:events";
import { Client } from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createTestDatabase, POSTGRES_URL, type TestDatabase } from "./support/database.ts";
import { says } from "./support/model-answers.ts";
import { type ModelServer, startModelServer } from "./support/model-server.ts";
import { type ServerProcess, startServerProcess } from "./support/processes.ts";
import { createSocketClient, documentOf, postGraphQL, serverEnvironment, startTestServer, type TestServer } from "./support/server.ts";

const TIMES = 40;

let database: TestDatabase;
let model: ModelServer;
let a: TestServer;
let b: TestServer;

describe.skipIf(POSTGRES_URL === null)("on Postgres (an embedded database belongs to one process)", () => {
  beforeAll(async () => {
    database = await createTestDatabase();
    model = await startModelServer();
    a = await startTestServer({ database, model });
    b = await startTestServer({ database, model });
  });

  afterAll(async () => {
    await a.close();
    await b.close();
    await model.close();
    await database.remove();
  });

  test("a run started on one is followed on the other as it is written", async () => {
    for (let time = 0; time < TIMES; time++) {
      const gate = model.hold(2);
      const { runId } = await accepted(a, { userId: "followed", sessionId: `s-${time}`, message: "Say something." });
      const events = b.subscribe("FollowRun", { userId: "followed", runId });
      const seen = await readUntil(events, "TextMessageContent");
      gate.release();
      seen.push(...(await readUntil(events, "RunFinished")));
      expect(seen.map((event) => event.sequence)).toEqual(seen.map((_, index) => index + 1));
      expect(textOf(seen)).toBe(seen.at(-1).reply);
    }
  });

  test("a run is cancelled on the other: what was written stays, the model server is told, and the answer shows it ended", async () => {
    for (let time = 0; time < TIMES; time++) {
      model.hold(2);
      const message = `Tell me story ${time}.`;
      const { runId } = await accepted(a, { userId: "cancelled", sessionId: `s-${time}`, message });
      const events = a.subscribe("FollowRun", { userId: "cancelled", runId });
      const seen = await readUntil(events, "TextMessageContent");
      const { run } = (await b.data("CancelRun", { input: { userId: "cancelled", runId } })).cancelRun;
      seen.push(...(await readUntil(events, "RunCancelled")));
      expect(run).toMatchObject({ status: "CANCELLED", reply: textOf(seen) });
      const request = await model.waitFor(({ purpose, prompt }) => purpose === "reply" && prompt.includes(message));
      await request.closed;
      expect(request.aborted).toBe(true);
    }
  });

  test("a message sent to the other with INTERRUPT ends the reply that is being written, and is answered", async () => {
    for (let time = 0; time < TIMES / 2; time++) {
      model.hold(1);
      const first = await accepted(a, { userId: "interrupt", sessionId: `s-${time}`, message: "Tell me a story." });
      await readUntil(a.subscribe("FollowRun", { userId: "interrupt", runId: first.runId }), "TextMessageContent");
      const input = { userId: "interrupt", sessionId: `s-${time}`, message: "Stop.", onBusy: "INTERRUPT" };
      const { run } = (await b.data("RunAgent", { input })).runAgent;
      expect(run.status).toBe("COMPLETED");
      expect((await a.data("Run", { userId: "interrupt", runId: first.runId })).run.status).toBe("CANCELLED");
    }
  });

  test("memory changes and session changes made on one are seen on the other", async () => {
    const input = { userId: "changes", sessionId: "s" };
    await a.data("RunAgent", { input: { ...input, message: "Hello." } });
    const memories = b.subscribe("WatchMemories", { userId: "changes", after: 0 });
    const session = b.subscribe("WatchSession", input);
    expect((await session.next()).value).toMatchObject({ kind: "CURRENT" });
    for (let time = 0; time < TIMES; time++) {
      await a.data("AddMemory", { input: { userId: "changes", memory: `User likes number ${time}` } });
      expect((await memories.next()).value).toMatchObject({ sequence: time + 1, kind: "ADDED" });
      await a.data("RenameSession", { input: { ...input, name: `name ${time}` } });
      expect((await session.next()).value).toMatchObject({ kind: "RENAMED", session: { name: `name ${time}` } });
    }
    await a.data("DeleteSession", { input });
    expect((await session.next()).value).toMatchObject({ kind: "DELETED" });
    await memories.return();
  });

  test("20 messages sent at once to two processes make 20 turns, each answered after all before it", async () => {
    model.respond(({ purpose }) => (purpose === "reply" ? says("Noted.") : undefined));
    const where = { userId: "parallel", sessionId: "s" };
    const numbers = Array.from({ length: 20 }, (_, index) => index);
    const runs = await Promise.all(
      numbers.map(async (number) => {
        const input = { ...where, message: `This is message #${number}#.`, memory: "OFF" };
        return (await (number % 2 ? a : b).data("RunAgent", { input })).runAgent.run;
      }),
    );
    expect(runs.map((run) => run.status)).toEqual(numbers.map(() => "COMPLETED"));
    const { session } = await b.data("OpenSession", { ...where, last: 50 });
    const messages = session.messages.edges.map((edge: { node: { role: string; content: string } }) => edge.node);
    expect(messages.map((message: { role: string }) => message.role)).toEqual(numbers.flatMap(() => ["USER", "ASSISTANT"]));
    const said: string[] = messages
      .filter(({ role }: { role: string }) => role === "USER")
      .map(({ content }: { content: string }) => content);
    expect(new Set(said).size).toBe(20);
    // What each reply's prompt had of the conversation, besides a summary of it.
    const prompts = model
      .asked("reply")
      .map(({ body }) => (body.messages ?? []).map(({ content }) => content).filter((content) => /^This is message #\d+#\.$/.test(content)))
      .filter((known) => known.length > 0);
    expect(prompts).toEqual(said.map((_, turn) => said.slice(0, turn + 1)));
    model.respond(() => undefined);
  });

  test("a job is done by the other when the process that ended its run is busy", async () => {
    const own = await createTestDatabase();
    const busy = await startTestServer({ database: own, model, env: { MODEL_CONCURRENCY: "1" } });
    const extraction = model.hold(0, "extraction");
    await busy.data("RunAgent", { input: { userId: "busy", sessionId: "s", message: "I like tea." } });
    await extraction.reached;
    const other = await startTestServer({ database: own, model });
    for (let time = 0; time < 1.5 * TIMES; time++) {
      // Its reply has to wait for the only place; cancelled, it ends here and leaves its message to learn from.
      const userId = `busy-${time}`;
      const { runId } = await accepted(busy, { userId, sessionId: "s", message: "I like chess." });
      const following = busy.subscribe("FollowRun", { userId, runId, until: "MEMORY" });
      const events = await readUntil(following, "RunStarted");
      await busy.data("CancelRun", { input: { userId, runId } });
      events.push(...(await readUntil(following, "MemoryUpdate")));
      expect(events.at(-2).__typename).toBe("RunCancelled");
      expect(events.at(-1).changes).toHaveLength(1);
    }
    extraction.release();
    await busy.drain();
    await other.close();
    await busy.close();
    await own.remove();
  });

  test("kill -9 of the process that writes a reply: its follower elsewhere sees the rest, and the run ends INTERRUPTED with its text", async () => {
    const killed = await startServerProcess(serverEnvironment(database, model, { LOG_LEVEL: "info" }));
    try {
      model.hold(3);
      const runId = await startRun(killed, { userId: "killed", sessionId: "s", message: "Tell me a story." });
      const following = b.subscribe("FollowRun", { userId: "killed", runId });
      const seen = await readUntil(following, "TextMessageContent");
      await killed.kill("SIGKILL");
      seen.push(...(await readUntil(following, "RunError")));
      expect(seen.map((event) => event.sequence)).toEqual(seen.map((_, index) => index + 1));
      const { run } = await a.data("Run", { userId: "killed", runId });
      expect(run).toMatchObject({ status: "INTERRUPTED", reply: textOf(seen), error: { code: "RUN_INTERRUPTED" } });
      expect(run.reply).not.toBe("");
      const resumed = await readUntil(a.subscribe("FollowRun", { userId: "killed", runId, after: 2 }), "RunError");
      expect(resumed).toEqual(seen.slice(2));
    } finally {
      await killed.kill("SIGKILL");
    }
  }, 60_000);

  test("a run waiting behind another goes on elsewhere when its process stops", async () => {
    const stopping = await startServerProcess(serverEnvironment(database, model, { LOG_LEVEL: "info" }));
    try {
      const gate = model.hold(1);
      const where = { userId: "stopping", sessionId: "s" };
      await startRun(stopping, { ...where, message: "First." });
      const { runAgent } = (await postGraphQL(stopping.url, "RunAgent", { input: { ...where, message: "Second." }, waitFor: "ACCEPTED" }))
        .data;
      expect(runAgent.run.status).toBe("QUEUED");
      const exited = stopping.kill("SIGTERM");
      gate.release();
      const events = await readUntil(b.subscribe("FollowRun", { userId: "stopping", runId: runAgent.run.runId }), "RunFinished");
      expect(events[0]).toMatchObject({ __typename: "RunStarted", sequence: 1 });
      expect(await exited).toBe(0);
    } finally {
      await stopping.kill("SIGKILL");
    }
  });

  test("connections for notifications that break come back by themselves", async () => {
    const listener = await listen(database);
    await listener.client.query(
      "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name = 'recollect notifications'",
    );
    const back = new Set<string>();
    while (back.size < 2) {
      const [sender = "", kind] = (await listener.next()).split(" ");
      if (kind === "hello") {
        back.add(sender);
      }
    }
    const memories = b.subscribe("WatchMemories", { userId: "back", after: 0 });
    for (let time = 0; time < TIMES; time++) {
      await a.data("AddMemory", { input: { userId: "back", memory: `User likes number ${time}` } });
      expect((await memories.next()).value).toMatchObject({ sequence: time + 1 });
    }
    await memories.return();
    await listener.client.end();
  });
});

describe.skipIf(POSTGRES_URL === null)("of a process alone on Postgres", () => {
  test("nothing is sent until there is another one, and then nothing of users can be read", async () => {
    const own = await createTestDatabase();
    const first = await startTestServer({ database: own });
    const listener = await listen(own);
    try {
      const input = { userId: "alone-user", sessionId: "alone-session", message: "I like tea." };
      const talk = async (server: TestServer): Promise<void> => {
        const { run } = (await server.data("RunAgent", { input, waitFor: "MEMORY" })).runAgent;
        expect(run.status).toBe("COMPLETED");
      };
      await talk(first);
      const second = await startTestServer({ database: own, model: first.model });
      // The first one's answer comes over the connection that everything of it came over before.
      const before = [await listener.next()];
      while (!before.some((payload) => payload.split(" ")[1] === "here")) {
        before.push(await listener.next());
      }
      expect(before.map((payload) => payload.split(" ")[1]).filter((kind) => kind !== "hello")).toEqual(["here"]);
      await talk(first);
      const payload = await listener.next();
      expect(payload).toMatch(/^\S{8} words( [\w-]{1,16})+$/);
      await second.close();
    } finally {
      await listener.client.end();
      await first.close();
      await own.remove();
    }
  });
});

// biome-ignore lint/suspicious/noExplicitAny: events of every kind.
type AnyEvent = any;

async function accepted(server: TestServer, input: object): Promise<{ runId: string }> {
  return (await server.data("RunAgent", { input, waitFor: "ACCEPTED" })).runAgent.run;
}

/** The events up to the first of this type, which must come; the rest can be read on. */
async function readUntil(events: AsyncGenerator<AnyEvent, void>, type: string): Promise<AnyEvent[]> {
  const seen: AnyEvent[] = [];
  while (seen.at(-1)?.__typename !== type) {
    const next = await events.next();
    if (next.done) {
      throw new Error(`The events ended before ${type}: ${seen.map((event) => event.__typename).join(", ")}.`);
    }
    seen.push(next.value);
  }
  return seen;
}

function textOf(events: AnyEvent[]): string {
  return events.map((event) => (event.__typename === "TextMessageContent" ? event.delta : "")).join("");
}

/** Sends a message to a server process and waits for the first words of the reply. */
async function startRun(server: ServerProcess, input: object): Promise<string> {
  const client = createSocketClient(server.url);
  try {
    for await (const { data } of client.iterate({ query: documentOf("SendMessage"), variables: { input } })) {
      const event: AnyEvent = Object.values(data ?? {})[0];
      if (event.__typename === "TextMessageContent") {
        return event.runId;
      }
    }
  } finally {
    await client.dispose();
  }
  throw new Error("The run ended before its first words.");
}

/** Hears what server processes say to each other. */
async function listen(where: TestDatabase): Promise<{ client: Client; next(): Promise<string> }> {
  const client = new Client({ connectionString: where.options.databaseUrl ?? "" });
  await client.connect();
  await client.query(`listen recollect_${createHash("sha256").update("public").digest("hex").slice(0, 16)}`);
  const heard: string[] = [];
  client.on("notification", ({ payload }) => heard.push(payload ?? ""));
  return {
    client,
    async next() {
      while (heard.length === 0) {
        await once(client, "notification", { signal: AbortSignal.timeout(20_000) });
      }
      return heard.shift() ?? "";
    },
  };
}
