/** A database that goes away, a network that swallows everything, and a process that was believed dead. */

import { setTimeout as sleep } from "node:timers/promises";
import { TcpProxy } from "../support/proxy.ts";
import { HAS_REDIS, startRedis } from "../support/redis.ts";
import { Arena, createStore, type Outcome, type World } from "./arena.ts";
import { newFact, newUser, userName } from "./facts.ts";
import type { SentRun } from "./ledger.ts";
import { follow } from "./load.ts";

/** Postgres stops and starts every few seconds, gracefully or as in a crash, under two servers. */
export async function restartDatabase(world: World): Promise<Outcome[]> {
  const { random, cluster } = world;
  const arena = new Arena(world, await createStore(world, "postgres"));
  const urls = await Promise.all([arena.launch().url, arena.launch().url]);
  arena.turnTo(urls[0] ?? null);
  arena.load(6);
  const until = Date.now() + world.seconds * 1_000;
  while (Date.now() < until) {
    await sleep(random.between(5_000, 10_000));
    const mode = random.below(2) === 0 ? "immediate" : "fast";
    await cluster.stop(mode);
    const down = Math.round(random.between(0, 2_000));
    await sleep(down);
    await cluster.start();
    world.say(`Postgres was stopped (${mode}) and away for ${down} ms`);
    arena.turnTo(urls[random.below(urls.length)] ?? null);
  }
  await sleep(1_000);
  return [await arena.finish()];
}

/** Between server and database everything vanishes for a while, or on the connections there are for ever. */
export async function blackHoleDatabase(world: World): Promise<Outcome[]> {
  const { random, cluster } = world;
  const store = await createStore(world, "postgres");
  const proxy = await TcpProxy.start("127.0.0.1", cluster.port);
  const databaseUrl = new URL(store.databaseUrl ?? "");
  databaseUrl.port = String(proxy.port);
  const arena = new Arena(world, { ...store, databaseUrl: databaseUrl.href });
  try {
    await arena.start();
    arena.load(5);
    await spoil(world, proxy, "database", async () => {
      proxy.set(random.below(2) === 0 ? "half-open" : "black-hole");
      await sleep(random.between(2_000, 8_000));
      proxy.set("pass");
    });
    return [await arena.finish()];
  } finally {
    await proxy.close();
  }
}

/** The same between server and model. What vanished is cut off in the end: a silent model is waited for a long time. */
export async function blackHoleModel(world: World): Promise<Outcome[]> {
  const { random, model } = world;
  const target = new URL(model.server.url);
  const proxy = await TcpProxy.start("127.0.0.1", Number(target.port));
  target.port = String(proxy.port);
  const arena = new Arena(world, await createStore(world, "postgres"), target.href);
  try {
    await arena.start();
    arena.load(5);
    await spoil(world, proxy, "model", async () => {
      proxy.set(random.below(2) === 0 ? "half-open" : "black-hole");
      await sleep(random.between(1_000, 4_000));
      proxy.set("pass");
      proxy.cut();
    });
    return [await arena.finish()];
  } finally {
    await proxy.close();
  }
}

/** Redis dies with all it holds, or stands still, and comes back, while two servers keep the pieces of replies there. */
export async function stopRedis(world: World): Promise<Outcome[] | null> {
  if (!HAS_REDIS) {
    return null;
  }
  const { random } = world;
  const redis = await startRedis();
  try {
    const arena = new Arena(world, { ...(await createStore(world, "postgres")), redisUrl: redis.url });
    const urls = await Promise.all([arena.launch().url, arena.launch().url]);
    arena.turnTo(urls[0] ?? null);
    arena.load(5);
    const until = Date.now() + world.seconds * 500;
    for (let turn = 0; turn === 0 || Date.now() < until; turn++) {
      await sleep(random.between(1_000, 4_000));
      const dies = random.below(2) === 0;
      await (dies ? redis.kill() : redis.freeze());
      await sleep(random.between(0, 4_000));
      await (dies ? redis.start() : redis.thaw());
      world.say(dies ? "Redis died and came back empty" : "Redis stood still for a while");
      arena.turnTo(urls[random.below(urls.length)] ?? null);
    }
    await sleep(1_000);
    return [await arena.finish()];
  } finally {
    await redis.remove();
  }
}

/** Cuts, delays and holes by turns, for as long as the scenario takes. */
async function spoil(world: World, proxy: TcpProxy, whom: string, swallow: () => Promise<void>): Promise<void> {
  const until = Date.now() + world.seconds * 500;
  for (let turn = 0; turn === 0 || Date.now() < until; turn++) {
    await sleep(world.random.between(1_000, 3_000));
    proxy.cut();
    await sleep(world.random.between(500, 1_500));
    proxy.set("pass", 50);
    await sleep(1_000);
    proxy.set("pass");
    await swallow();
    world.say(`${whom}: cut, late, swallowed`);
  }
  await sleep(2_000);
}

/** Longer than a lease and the looks at leases. */
const TAKEOVER_DEADLINE = 40_000;

/** A server is stopped in the middle of its work, another takes it over, and the first one goes on as if nothing had been. */
export async function resumeStaleWorker(world: World): Promise<Outcome[]> {
  const arena = new Arena(world, await createStore(world, "postgres"));
  const stale = await arena.start();
  const other = arena.launch();
  const staleUrl = arena.url ?? "";
  const user = newUser();
  arena.ledger.users.push(user);
  const extraction = world.model.server.hold(0, "extraction");
  const learned = say(arena, user, "learning", "");
  await learned.read(staleUrl);
  await Promise.race([extraction.reached, sleep(10_000)]);
  const spoken = say(arena, user, "talking", " Answer slowly.");
  const reading = spoken.read(staleUrl);
  await until(() => spoken.run.seen.size >= 3);
  stale.signal("SIGSTOP");
  world.say("a server was stopped in the middle of a reply and of an extraction");
  const url = await other.url;
  arena.turnTo(url);
  const events = `select r.status, r.last_sequence, (select count(*)::int from recollect_run_events e where e.run_id = r.run_id) as events
    from recollect_runs r where r.idempotency_key = '${spoken.run.key}'`;
  await until(async () => (await arena.store.sql<{ status: string }>(events))[0]?.status === "INTERRUPTED");
  await until(async () => (await arena.store.sql("select 1 from recollect_jobs")).length === 0);
  const before = JSON.stringify(await arena.store.sql(events));
  stale.signal("SIGCONT");
  extraction.release();
  // It had the rest of the reply waiting in its socket, and would write it at once.
  await sleep(6_000);
  const after = JSON.stringify(await arena.store.sql(events));
  if (after !== before) {
    arena.problems.push(`a server without a lease wrote: ${before} became ${after}`);
  }
  await reading;
  return [await arena.finish()];

  async function until(reached: () => boolean | Promise<boolean>): Promise<void> {
    for (const end = Date.now() + TAKEOVER_DEADLINE; Date.now() < end; await sleep(200)) {
      if (await reached()) {
        return;
      }
    }
    arena.problems.push(`not reached in ${TAKEOVER_DEADLINE / 1_000} s: ${reached}`);
  }
}

/** A server stands still for good while it holds locks in an open transaction: the others must get them all the same. */
export async function stopInTransaction(world: World): Promise<Outcome[]> {
  const arena = new Arena(world, await createStore(world, "postgres"));
  await arena.start({ step: "batch-written", pass: 1, signal: "SIGSTOP" });
  const other = arena.launch();
  arena.load(3);
  const url = await other.url;
  await sleep(5_000);
  arena.turnTo(url);
  world.say("a server stands still, perhaps in the middle of a transaction");
  await sleep(15_000);
  const held = "select 1 from pg_stat_activity where state = 'idle in transaction' and now() - state_change > interval '12 seconds'";
  if ((await arena.store.sql(held)).length > 0) {
    arena.problems.push("a server that stands still keeps its transaction open, and whatever that has locked");
  }
  return [await arena.finish()];
}

function say(arena: Arena, user: number, sessionId: string, more: string) {
  const fact = newFact(user);
  const run: SentRun = { user, fact, key: `key-${fact}`, runIds: new Set(), seen: new Map(), contradictions: [] };
  arena.ledger.runs.push(run);
  const input = { userId: userName(user), sessionId, message: `I like ${fact}.${more}`, idempotencyKey: run.key };
  // A reader whose server stands still loses patience; what it saw until then counts.
  return { run, read: (url: string) => follow(url, ["SendMessage", { input, until: "REPLY" }], run).catch(() => false) };
}
