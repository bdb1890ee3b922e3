/**
 * `DATABASE_URL=postgres://… node test/bench/streams.ts [--minutes 10] [--sockets 10000] [--alone] [paced] [saturated] [idle] [slow]`: streams at scale, each beside
 * a bare graphql-ws server in the same run (streams/bare.ts: events made in memory, nothing stored). Needs a built dist.
 * `--alone` leaves the bare server out of the paced part.
 *
 * - paced: 200 replies at 50 tokens a second; how much later a token arrives than the model sent it, what an event costs, whether memory is flat.
 * - saturated: 200 replies as fast as the model gives them, and 200 stored ones read again.
 * - idle: memory of 10,000 subscriptions on which nothing happens.
 * - slow: 20,000 events of 10 KB for a client that stops reading.
 *
 * Prints a table, and the same as JSON.
 */

import { readFileSync } from "node:fs";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { Client } from "pg";
import { follow, type Stream, type Subscription, Tally } from "./streams/client.ts";
import { cpuMs, heldKib, residentKib, type Served, serve, stop } from "./streams/process.ts";

const STREAMS = 200;
const RATE = 50;
/** A minute is a long reply; a longer stream is several, one after the other (s). */
const LONGEST_REPLY = 60;
/** The streams of the paced part begin within this time: who asks two hundred times in one moment measures a burst. */
const SPREAD_MS = 2_000;
const BURST_TOKENS = 2_000;
/** Short enough that reading the model does not take longer than a wait for the database may. */
const BURST_REPLY = 250;
/** Sockets that are opened at a time. */
const OPENING = 100;
const SLOW_EVENTS = 20_000;
const SLOW_SIZE = 10 * 1_024;
const EVENT = "__typename runId sequence at ... on TextMessageContent { messageId delta }";

type Row = Record<string, string | number>;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { minutes: { type: "string" }, sockets: { type: "string" }, alone: { type: "boolean", default: false } },
});
const seconds = values.minutes === undefined ? 10 : Number(values.minutes) * 60;
const parts = positionals.length > 0 ? positionals : ["paced", "saturated", "idle", "slow"];
const databaseUrl = process.env.DATABASE_URL;
if (!databaseUrl) {
  throw new Error("Set DATABASE_URL to a Postgres server: postgres://user@127.0.0.1:5432/postgres");
}
/** The runs of the latest paced round. */
let lastRuns: [runId: string, userId: string][] = [];
let users = 0;
const results: Record<string, Row[]> = {};
const name = `recollect_streams_${process.pid}`;
const own = new URL(databaseUrl);
own.pathname = `/${name}`;

await sql(databaseUrl, `create database ${name}`);
const model = await serve("./model.ts");
try {
  if (parts.includes("paced") || parts.includes("saturated")) {
    await beside(async (recollect, bare) => {
      await paced(recollect, bare);
      if (parts.includes("saturated")) {
        await saturated(recollect, bare);
      }
    });
  }
  if (parts.includes("idle")) {
    await idle();
  }
  if (parts.includes("slow")) {
    await slow();
  }
  process.stdout.write(`${JSON.stringify(results)}\n`);
} finally {
  await stop(model);
  await sql(databaseUrl, `drop database if exists ${name} with (force)`);
}

async function beside(measure: (recollect: Served, bare: Served) => Promise<void>): Promise<void> {
  const recollect = await startRecollect();
  const bare = await serve("./bare.ts");
  try {
    // The first replies of a process cost more than any later one.
    await run(recollect, () => newReply(50, RATE), 20);
    await measure(recollect, bare);
  } finally {
    await stop(recollect);
    await stop(bare);
  }
}

async function paced(recollect: Served, bare: Served): Promise<void> {
  const replies = Math.ceil(seconds / LONGEST_REPLY);
  const tokens = Math.round((seconds / replies) * RATE);
  const contenders = [
    ...(values.alone ? [] : [{ server: bare, label: "bare", subscribe: () => fromMemory(tokens, RATE) }]),
    { server: recollect, label: "recollect", subscribe: () => newReply(tokens, RATE) },
  ];
  const rows: Row[] = [];
  for (const { server, label, subscribe } of contenders) {
    const { tally, cpu, took, resident } = await run(server, subscribe, STREAMS, { spread: SPREAD_MS, replies });
    lastRuns = [...tally.runs];
    rows.push({
      [`${STREAMS} × ${RATE} tokens/s, ${seconds} s`]: label,
      "tokens/s": Math.round(tally.tokens / took),
      lost: STREAMS * replies * tokens - tally.tokens,
      gaps: tally.gaps,
      "added p50 ms": tally.late(0.5),
      "p99 ms": tally.late(0.99),
      events: tally.events,
      "CPU µs/event": Math.round((cpu * 1_000) / tally.events),
      "CPU µs/token": Math.round((cpu * 1_000) / tally.tokens),
      "CPU %": Math.round(cpu / took / 10),
      "RSS MB": Math.round(Math.max(...resident) / 1_024),
      "last third / middle": Number((mean(resident.slice((-resident.length / 3) | 0)) / mean(middle(resident))).toFixed(3)),
    });
  }
  show("paced", rows);
}

async function saturated(recollect: Served, bare: Served): Promise<void> {
  const replayed = lastRuns;
  const rounds: { label: string; server: Served; subscribe: (index: number) => Subscription }[] = [
    { label: "bare: from memory", server: bare, subscribe: () => fromMemory(BURST_TOKENS, 0) },
    { label: "recollect: new replies", server: recollect, subscribe: () => newReply(BURST_REPLY, 0, STREAMS) },
    { label: "bare: from memory, again", server: bare, subscribe: () => fromMemory(BURST_TOKENS, 0) },
    { label: "recollect: stored replies", server: recollect, subscribe: (index) => storedReply(replayed[index]) },
  ];
  const rows: Row[] = [];
  for (const { label, server, subscribe } of rounds) {
    const { tally, cpu, took } = await run(server, subscribe, STREAMS);
    rows.push({
      [`${STREAMS} streams, as fast as can be`]: label,
      "events/s": Math.round(tally.events / took),
      "tokens/s": Math.round(tally.tokens / took),
      gaps: tally.gaps,
      "CPU µs/event": Math.round((cpu * 1_000) / tally.events),
      "CPU µs/token": Math.round((cpu * 1_000) / tally.tokens),
      "CPU %": Math.round(cpu / took / 10),
    });
  }
  show("saturated", rows);
}

async function idle(): Promise<void> {
  const wanted = Number(values.sockets ?? 10_000);
  const limit = openFiles();
  const count = Math.min(wanted, Math.max(0, limit - 500));
  const silence: Subscription = { query: "subscription { silence { runId } }" };
  const contenders: [string, () => Promise<Served>, (index: number) => Subscription | null][] = [
    ["raw ws", () => serve("./bare.ts", ["raw"]), () => null],
    ["bare graphql-ws", () => serve("./bare.ts"), () => silence],
    [
      "recollect",
      startRecollect,
      (index) => ({
        query: "subscription ($userId: ID) { memoryEvents(userId: $userId) { sequence } }",
        variables: { userId: `idle-${index}` },
      }),
    ],
  ];
  const rows: Row[] = [];
  for (const [place, [label, start, subscribe]] of contenders.entries()) {
    const server = await start();
    const sockets = await open(server, subscribe, OPENING, place);
    const before = await heldKib(server);
    sockets.push(...(await open(server, subscribe, count, place)));
    await sleep(3_000);
    const after = await heldKib(server);
    const cpu = cpuMs(server);
    await sleep(5_000);
    rows.push({
      [`${count} idle subscriptions${count < wanted ? ` (ulimit -n is ${limit})` : ""}`]: label,
      "KiB each": Number(((after - before) / count).toFixed(1)),
      "CPU %": Math.round((cpuMs(server) - cpu) / 50),
    });
    for (const { socket } of sockets) {
      socket.terminate();
    }
    await stop(server);
  }
  show("idle", rows);
}

async function slow(): Promise<void> {
  const recollect = await startRecollect();
  const prepared = new Tally();
  await follow(recollect.url, newReply(1, 0), prepared).ended;
  const [stored] = prepared.runs;
  await sql(
    own.href,
    `with run as (update recollect_runs set last_sequence = last_sequence + ${SLOW_EVENTS} where run_id = '${stored?.[0]}' returning *)
    insert into recollect_run_events (user_id, run_id, sequence, type, data)
    select user_id, run_id, run.last_sequence - ${SLOW_EVENTS} + position, 'ReasoningDelta', jsonb_build_object('delta', rpad(position || ' ', ${SLOW_SIZE}, 'thinking '))
    from run, generate_series(1, ${SLOW_EVENTS}) as position`,
  );
  const everything = storedReply(stored, "MEMORY");
  // Once for a reader that reads: what the process needs for that is not the slow one's doing.
  await follow(recollect.url, everything, new Tally()).ended;
  const before = residentKib(recollect);
  const taken = new Tally();
  const paused = follow(recollect.url, everything, taken);
  await paused.begun;
  paused.socket.pause();
  const closed = paused.ended.catch((error: Error) => error.message);
  const beside = new Tally();
  await follow(recollect.url, everything, beside).ended;
  let most = 0;
  for (let second = 0; second < 20; second++) {
    most = Math.max(most, residentKib(recollect));
    await sleep(1_000);
  }
  paused.socket.resume();
  await Promise.race([closed, sleep(60_000)]);
  show("slow", [
    {
      [`${SLOW_EVENTS} × ${SLOW_SIZE / 1_024} KB to a client that stops reading`]: "recollect",
      "RSS added, MB": Math.round((most - before) / 1_024),
      "events of another reader meanwhile": beside.events,
      "of its own once it reads on": taken.events,
      gaps: beside.gaps + taken.gaps,
    },
  ]);
  await stop(recollect);
}

interface Outcome {
  tally: Tally;
  /** Processor time of the server, in milliseconds. */
  cpu: number;
  /** Seconds. */
  took: number;
  /** Resident memory each second, in KiB. */
  resident: number[];
}

/**
 * Follows so many streams at once to their end. `spread`: over how many milliseconds they begin; `replies`: how many follow each
 * other on each.
 */
async function run(
  server: Served,
  subscribe: (index: number) => Subscription,
  streams: number,
  { spread = 0, replies = 1 } = {},
): Promise<Outcome> {
  const tally = new Tally();
  const start = Promise.withResolvers<void>();
  const followed = Array.from({ length: streams }, (_, index) => {
    const begin = start.promise.then(() => sleep((spread * index) / streams));
    const first = follow(server.url, subscribe(index), tally, { start: begin });
    const rest = async (): Promise<void> => {
      await first.ended;
      for (let reply = 1; reply < replies; reply++) {
        await follow(server.url, subscribe(index), tally).ended;
      }
    };
    return { accepted: first.accepted, ended: rest() };
  });
  await Promise.all(followed.map(({ accepted }) => accepted));
  const resident = [residentKib(server)];
  const sampler = setInterval(() => resident.push(residentKib(server)), 1_000);
  const cpu = cpuMs(server);
  const begun = performance.now();
  start.resolve();
  try {
    await Promise.all(followed.map(({ ended }) => ended));
  } finally {
    clearInterval(sampler);
  }
  return { tally, cpu: cpuMs(server) - cpu, took: (performance.now() - begun) / 1_000, resident };
}

/** Opens sockets, some at a time, from addresses of this machine's own: one address has too few ports. */
async function open(server: Served, subscribe: (index: number) => Subscription | null, count: number, place: number): Promise<Stream[]> {
  const streams: Stream[] = [];
  const tally = new Tally();
  while (streams.length < count) {
    const some = Array.from({ length: Math.min(OPENING, count - streams.length) }, (_, index) => {
      const subscription = subscribe(streams.length + index);
      const localAddress = process.platform === "linux" ? `127.0.0.${2 + place}` : undefined;
      const stream = follow(server.url, subscription ?? { query: "" }, tally, { localAddress });
      stream.ended.catch(() => undefined);
      return { stream, ready: subscription ? stream.begun : opened(stream) };
    });
    await Promise.all(some.map(({ ready }) => ready));
    streams.push(...some.map(({ stream }) => stream));
  }
  return streams;
}

function opened({ socket }: Stream): Promise<void> {
  return new Promise((resolve) => socket.once("open", () => resolve()));
}

function newReply(tokens: number, rate: number, together = 1): Subscription {
  // A user each: what one user's runs wait for each other is not what is measured.
  const userId = `bench-${++users}`;
  const input = { userId, sessionId: "s", message: `tokens=${tokens} rate=${rate} together=${together}`, memory: "OFF" };
  return {
    query: `subscription ($input: RunAgentInput!) { runAgent(input: $input, until: REPLY) { ${EVENT} } }`,
    variables: { input },
    userId,
  };
}

function storedReply(stored: [runId: string, userId: string] | undefined, until = "REPLY"): Subscription {
  const [runId, userId] = stored ?? [];
  const query = `subscription ($userId: ID, $runId: ID!, $until: FollowUntil!) { runEvents(userId: $userId, runId: $runId, until: $until) { ${EVENT} ... on ReasoningDelta { thought: delta } } }`;
  return { query, variables: { userId, runId, until } };
}

function fromMemory(tokens: number, rate: number): Subscription {
  return {
    query: `subscription ($tokens: Int!, $rate: Int!) { events(tokens: $tokens, rate: $rate) { ${EVENT} } }`,
    variables: { tokens, rate },
  };
}

function startRecollect(): Promise<Served> {
  const env = {
    PORT: "0",
    DATABASE_URL: own.href,
    OPENAI_BASE_URL: `${model.url}/v1`,
    CHAT_MODEL: "bench",
    MODEL_CONCURRENCY: "999",
    LOG_LEVEL: "info",
    LIMIT_OPEN_RUNS: "none",
    LIMIT_TOKENS_PER_DAY: "none",
    LIMIT_SOCKET_OPERATIONS: "none",
    LIMIT_USER_SOCKETS: "none",
    LIMIT_ADDRESS_SOCKETS: "none",
    LIMIT_ADDRESS_REQUESTS_PER_MINUTE: "none",
  };
  return serve("../../../dist/main.js", [], env);
}

async function sql(url: string, statement: string): Promise<void> {
  const client = new Client({ connectionString: url });
  await client.connect();
  await client.query(statement).finally(() => client.end());
}

/** How many files a process may open. */
function openFiles(): number {
  try {
    return Number(/Max open files\s+(\d+)/.exec(readFileSync("/proc/self/limits", "utf8"))?.[1] ?? 1_024);
  } catch {
    return 1_024;
  }
}

function middle(values: number[]): number[] {
  return values.slice(Math.floor(values.length / 3), Math.ceil((values.length * 2) / 3));
}

function mean(values: number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function show(part: string, rows: Row[]): void {
  results[part] = rows;
  const columns = Object.keys(rows[0] ?? {});
  const lines = [columns, ...rows.map((row) => columns.map((column) => String(row[column] ?? "")))];
  const widths = columns.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)));
  for (const line of lines) {
    process.stdout.write(`${line.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join("  ")}\n`);
  }
  process.stdout.write("\n");
}
