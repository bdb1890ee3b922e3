/** With REDIS_URL the pieces of replies are in Redis while they are written. Whatever becomes of it, nothing of a reply is lost, doubled or stuck. */

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createTestDatabase, POSTGRES_URL, type TestDatabase } from "./support/database.ts";
import { says } from "./support/model-answers.ts";
import { type ModelServer, startModelServer } from "./support/model-server.ts";
import { runProgram, startServerProcess } from "./support/processes.ts";
import { HAS_REDIS, type RedisServer, startRedis } from "./support/redis.ts";
import { postGraphQL, serverEnvironment, startTestServer, type TestServer } from "./support/server.ts";

const WORDS = Array.from({ length: 60 }, (_, index) => `word${index}`);
const STORY = WORDS.join(" ");
/** Words told before the model is held, which makes several writes. */
const HELD_AFTER = 40;

let redis: RedisServer;
let database: TestDatabase;
let model: ModelServer;
let a: TestServer;
let b: TestServer;

// biome-ignore lint/suspicious/noExplicitAny: events of every kind.
type AnyEvent = any;

describe.skipIf(POSTGRES_URL === null || !HAS_REDIS)("on Postgres with Redis (an embedded database needs none)", () => {
  beforeAll(async () => {
    redis = await startRedis();
    database = await createTestDatabase();
    model = await startModelServer();
    model.respond(({ purpose }) => (purpose === "reply" ? says(STORY, { pause: 4 }) : undefined));
    a = await start();
    b = await start();
  });

  afterAll(async () => {
    await a?.close();
    await b?.close();
    await model?.close();
    await database?.remove();
    await redis?.remove();
  });

  test("a reply is followed live and elsewhere, and Postgres gets its beginning and its end", async () => {
    const { userId, runId, gate } = await held(a, "live");
    const elsewhere = b.subscribe("FollowRun", { userId, runId });
    const begun = await readUntil(elsewhere, (seen) => textOf(seen) === told());
    const runs = await Promise.all([a, b].map(async (server) => (await server.data("Run", { userId, runId })).run));
    const rests = [a, b].map((server, index) => server.subscribe("FollowRun", { userId, runId, after: runs[index].lastSequence }));
    gate.release();
    for (const [index, run] of runs.entries()) {
      expect(run).toMatchObject({ status: "RUNNING", reply: told(), lastSequence: begun.at(-1).sequence });
      expect(run.reply + textOf(await readUntil(rests[index] as AsyncGenerator<AnyEvent, void>, ended))).toBe(STORY);
    }
    const whole = [...begun, ...(await readUntil(elsewhere, ended))];
    expectWhole(whole);
    const stored = await storedTypes(runId);
    expect(stored.slice(0, 2)).toEqual(["RunStarted", "MemoriesRecalled"]);
    expect(stored.slice(-2)).toEqual(["TextMessageEnd", "RunFinished"]);
    expect(stored.filter((type) => type === "TextMessageContent").length).toBeLessThan(
      whole.filter((event) => event.__typename === "TextMessageContent").length,
    );
    for (const after of [1, 3, 7]) {
      expect(await readUntil(b.subscribe("FollowRun", { userId, runId, after }), ended)).toEqual(whole.slice(after));
    }
    expect((await keys()).every((key) => !key.includes(userId))).toBe(true);
  });

  test("a reply is cancelled from the other process, with what was told", async () => {
    const { userId, runId } = await held(a, "cancelled");
    const { run } = (await b.data("CancelRun", { input: { userId, runId } })).cancelRun;
    expect(run).toMatchObject({ status: "CANCELLED", reply: told() });
    const seen = await readUntil(b.subscribe("FollowRun", { userId, runId }), ended);
    expect(seen.map((event) => event.sequence)).toEqual(seen.map((_, index) => index + 1));
    expect(textOf(seen)).toBe(told());
  });

  test("kill -9 of the process that writes: the run ends INTERRUPTED with its text, once", async () => {
    const killed = await startServerProcess(serverEnvironment(database, model, { REDIS_URL: redis.url, LOG_LEVEL: "info" }));
    try {
      const { userId, runId } = await held(b, "killed", killed.url);
      const following = b.subscribe("FollowRun", { userId, runId });
      const seen = await readUntil(following, (events) => textOf(events) === told());
      await killed.kill("SIGKILL");
      await endLease(runId);
      seen.push(...(await readUntil(following, ended)));
      expect(seen.map((event) => event.sequence)).toEqual(seen.map((_, index) => index + 1));
      expect(seen.at(-1).__typename).toBe("RunError");
      const { run } = await a.data("Run", { userId, runId });
      expect(run).toMatchObject({ status: "INTERRUPTED", reply: told(), error: { code: "RUN_INTERRUPTED" } });
      expect(await readUntil(a.subscribe("FollowRun", { userId, runId, after: 4 }), ended)).toEqual(seen.slice(4));
    } finally {
      await killed.kill("SIGKILL");
    }
  }, 60_000);

  test("when Redis has lost a reply whose process is gone, the run ends with what Postgres has, and no number is given twice", async () => {
    const killed = await startServerProcess(serverEnvironment(database, model, { REDIS_URL: redis.url, LOG_LEVEL: "info" }));
    try {
      const { userId, runId } = await held(a, "lost", killed.url);
      const following = a.subscribe("FollowRun", { userId, runId });
      const seen = await readUntil(following, (events) => textOf(events) === told());
      await killed.kill("SIGKILL");
      await redis.ask("flushall");
      await endLease(runId);
      const more = await readUntil(following, ended);
      expect(more.map((event) => event.__typename)).toEqual(["RunSnapshot", "RunError"]);
      expect(more[0].sequence).toBeGreaterThan(seen.at(-1).sequence);
      const { run } = await a.data("Run", { userId, runId });
      expect(run.status).toBe("INTERRUPTED");
      expect(run.reply).not.toBe("");
      expect(told().startsWith(run.reply)).toBe(true);
      expect(more[0].run.reply).toBe(run.reply);
    } finally {
      await killed.kill("SIGKILL");
    }
  }, 60_000);

  test("Redis is killed and comes back empty while many replies are written: every one arrives whole, here and elsewhere", async () => {
    const runs: Awaited<ReturnType<typeof held>>[] = [];
    for (let number = 0; number < 12; number++) {
      runs.push(await held(number % 2 ? a : b, `outage-${number}`));
    }
    const followers = runs.map(({ userId, runId }, number) => (number % 3 ? a : b).subscribe("FollowRun", { userId, runId }));
    const before = await Promise.all(followers.map((follower) => readUntil(follower, (seen) => textOf(seen) === told())));
    await redis.kill();
    const { problems } = (await a.data("Doctor")).serverStatus;
    expect(problems).toContainEqual(expect.objectContaining({ severity: "WARNING", message: expect.stringContaining("Redis") }));
    expect((await fetch(`${a.url}/ready`)).status).toBe(200);
    for (const { gate } of runs.slice(0, 6)) {
      gate.release();
    }
    const whileAway = await Promise.all(followers.slice(0, 6).map((follower) => readUntil(follower, ended)));
    await redis.start();
    await redisBack();
    for (const { gate } of runs) {
      gate.release();
    }
    const after = [...whileAway, ...(await Promise.all(followers.slice(6).map((follower) => readUntil(follower, ended))))];
    for (const [number, { userId, runId }] of runs.entries()) {
      expectWhole([...(before[number] ?? []), ...(after[number] ?? [])]);
      const { run } = await a.data("Run", { userId, runId });
      expect(run).toMatchObject({ status: "COMPLETED", reply: STORY });
      // Its pieces are all in Postgres now: Redis has forgotten them.
      expectWhole(await readUntil(b.subscribe("FollowRun", { userId, runId }), ended));
    }
    await redisBack();
    const { userId, runId, gate } = await held(a, "back");
    expect(await redis.ask("exists", (await keys()).find((name) => name.includes(runId)) ?? "")).toBe("1");
    gate.release();
    expectWhole(await readUntil(b.subscribe("FollowRun", { userId, runId }), ended));
  }, 60_000);

  test("a stream that has lost its end is left: nothing of the reply is missing", async () => {
    const { userId, runId, gate } = await held(a, "cut");
    const key = (await keys()).find((name) => name.includes(runId)) ?? "";
    const [last = ""] = (await redis.ask("xrevrange", key, "+", "-", "count", "1")).split("\n");
    expect(await redis.ask("xdel", key, last)).toBe("1");
    gate.release();
    expectWhole(await readUntil(a.subscribe("FollowRun", { userId, runId }), ended));
    expectWhole(await readUntil(b.subscribe("FollowRun", { userId, runId }), ended));
  });

  test("a Redis that answers nothing holds no reply up", async () => {
    const { userId, runId, gate } = await held(a, "frozen");
    const follower = a.subscribe("FollowRun", { userId, runId });
    const seen = await readUntil(follower, (events) => textOf(events) === told());
    redis.freeze();
    try {
      gate.release();
      seen.push(...(await readUntil(follower, ended)));
      expectWhole(seen);
      expect((await b.data("Run", { userId, runId })).run).toMatchObject({ status: "COMPLETED", reply: STORY });
    } finally {
      redis.thaw();
    }
    await redisBack();
    expectWhole(await readUntil(b.subscribe("FollowRun", { userId, runId }), ended));
  }, 60_000);

  test("Redis and then Postgres fail one run's write: what was told and what was not come out once", async () => {
    const { userId, runId, gate } = await held(a, "both");
    const follower = a.subscribe("FollowRun", { userId, runId });
    const seen = await readUntil(follower, (events) => textOf(events) === told());
    await redis.kill();
    await sql(
      "create function full_disk() returns trigger language plpgsql as $$ begin raise exception 'full' using errcode = '53100'; end $$",
    );
    await sql("create trigger full_disk before insert on recollect_run_events for each row execute function full_disk()");
    gate.release();
    await model.asked("reply").at(-1)?.closed;
    await sql("drop function full_disk cascade");
    await redis.start();
    seen.push(...(await readUntil(follower, ended)));
    expect(seen.map((event) => event.sequence)).toEqual(seen.map((_, index) => index + 1));
    const { run } = await b.data("Run", { userId, runId });
    expect(textOf(seen)).toBe(run.reply);
    expect(run).toMatchObject({ status: "FAILED", error: { code: "STORAGE_FULL" } });
    expect(run.reply.startsWith(told())).toBe(true);
    await redisBack();
  }, 60_000);

  test("of a deleted conversation nothing stays in Redis", async () => {
    const { userId, runId, gate } = await held(a, "deleted");
    gate.release();
    await readUntil(a.subscribe("FollowRun", { userId, runId }), ended);
    const key = (await keys()).find((name) => name.includes(runId)) ?? "";
    expect(await redis.ask("xrange", key, "-", "+")).toContain("word");
    await b.data("DeleteSession", { input: { userId, sessionId: "s" } });
    expect(await redis.ask("xrange", key, "-", "+")).not.toContain("word");
  });

  test("without the optional package the server says what to do", async () => {
    const hook = `import { registerHooks } from "node:module";
      registerHooks({ resolve: (name, context, next) => next(name === "ioredis" ? "not-installed" : name, context) });`;
    const env = serverEnvironment(database, model, { REDIS_URL: redis.url, LOG_LEVEL: "info" });
    const loader = `data:text/javascript,${encodeURIComponent(hook)}`;
    const { code, output, errors } = await runProgram("main", [], { ...env, NODE_OPTIONS: `--import=${loader}` });
    expect(code).toBe(1);
    expect(`${output}${errors.join()}`).toMatch(
      /the package ioredis is not installed\. Run npm install --include=optional, or leave REDIS_URL out/,
    );
  });

  test("a Redis that cannot be used is refused at the start, with what to do and without the password", async () => {
    const locked = await startRedis(["--requirepass", "right-secret"]);
    const { port } = new URL(locked.url);
    const failure = async (url: string): Promise<string> => {
      const error = await start({}, url).then(
        () => null,
        (cause: unknown) => cause,
      );
      return JSON.stringify(error, Object.getOwnPropertyNames(error ?? {}));
    };
    const wrong = await failure(`redis://:wrong-secret@127.0.0.1:${port}`);
    expect(wrong).toMatch(/refuses this login\. Check the user and password in REDIS_URL/);
    expect(wrong).not.toMatch(/secret/);
    expect(await failure(locked.url)).toMatch(/refuses this login/);
    const right = await start({}, `redis://:right-secret@127.0.0.1:${port}/3`);
    await right.close();
    locked.freeze();
    expect(await failure(locked.url)).toMatch(/does not answer/);
    locked.thaw();
    await locked.remove();
    expect(await failure(locked.url)).toMatch(/does not answer \(ECONNREFUSED\)\. Start it, or correct REDIS_URL/);
  });
});

function start(overrides: object = {}, url = redis.url): Promise<TestServer> {
  return startTestServer({ database, model, env: { REDIS_URL: url, MODEL_CONCURRENCY: "100" }, overrides });
}

/** What is told of the story before the model is held. */
function told(): string {
  return WORDS.slice(0, HELD_AFTER).join(" ");
}

/** A run whose model is held in the middle of the story; all it has told is stored. */
async function held(server: TestServer, name: string, url = server.url) {
  const gate = model.hold(HELD_AFTER);
  const userId = `redis-${name}`;
  const input = { userId, sessionId: "s", message: "Tell me a story.", memory: "ON" };
  const { runAgent } = await postData(url, "RunAgent", { input, waitFor: "ACCEPTED" });
  const { runId } = runAgent.run;
  await expect.poll(async () => (await server.data("Run", { userId, runId })).run.reply, { timeout: 20_000 }).toBe(told());
  return { userId, runId, gate };
}

async function postData(url: string, operation: string, variables: object): Promise<AnyEvent> {
  const { data, errors } = await postGraphQL(url, operation, variables);
  expect(errors).toBeUndefined();
  return data;
}

/** The events up to where it is enough, which must come; the rest can be read on. */
async function readUntil(events: AsyncGenerator<AnyEvent, void>, enough: (seen: AnyEvent[]) => boolean): Promise<AnyEvent[]> {
  const seen: AnyEvent[] = [];
  while (!enough(seen)) {
    const next = await events.next();
    if (next.done) {
      throw new Error(`The events ended early: ${seen.map((event) => event.__typename).join(", ")}.`);
    }
    seen.push(next.value);
  }
  return seen;
}

function ended(seen: AnyEvent[]): boolean {
  return ["RunFinished", "RunError", "RunCancelled"].includes(seen.at(-1)?.__typename);
}

function expectWhole(events: AnyEvent[]): void {
  expect(events.map((event) => event.sequence)).toEqual(events.map((_, index) => index + 1));
  expect(textOf(events)).toBe(STORY);
  expect(events.at(-1).__typename).toBe("RunFinished");
}

function textOf(events: AnyEvent[]): string {
  return events.map((event) => (event.__typename === "TextMessageContent" ? event.delta : "")).join("");
}

/** Waits until the processes use Redis again. */
async function redisBack(): Promise<void> {
  for (const server of [a, b]) {
    const problems = async () => (await server.data("Doctor")).serverStatus.problems.map(({ message }: { message: string }) => message);
    await expect.poll(async () => (await problems()).join(), { timeout: 20_000 }).not.toMatch(/Redis/);
  }
}

async function keys(): Promise<string[]> {
  return (await redis.ask("keys", "recollect:*")).split("\n");
}

async function storedTypes(runId: string): Promise<string[]> {
  const rows = await sql<{ type: string }>("select type from recollect_run_events where run_id = $1 order by sequence", [runId]);
  return rows.map(({ type }) => type);
}

/** Spares the wait for the lease of a process that is gone. */
async function endLease(runId: string): Promise<void> {
  await sql("update recollect_runs set lease_until = now() where run_id = $1", [runId]);
}

/** A statement over everybody's rows. */
function sql<Row extends object>(statement: string, values: unknown[] = []): Promise<Row[]> {
  return a.context.database.asOperator((transaction) => transaction.query<Row>(statement, values));
}
