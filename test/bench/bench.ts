/**
 * `DATABASE_URL=postgres://… npm run bench`: what one turn costs, beside the least a server could do (bare.ts), in one run.
 * One turn: message accepted, reply of 20 tokens from a model that takes no time, one fact extracted and committed.
 * Times of one machine say little; the ratios of interleaved rounds say more. Without DATABASE_URL only the counts are taken, embedded.
 */

import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { Client } from "pg";

const HERE = path.dirname(fileURLToPath(import.meta.url));
const MAIN = path.join(HERE, "..", "..", "dist", "main.js");
const URL_OF_SERVER = process.env.DATABASE_URL ?? null;
const ROUNDS = 3;
const LEVELS = [1, 16, 64];
const TURNS = { 1: 60, 16: 320, 64: 640 } as Record<number, number>;
/** Clock ticks a second in /proc/<pid>/stat. */
const TICKS = 100;

interface Server {
  url: string;
  child: ChildProcess;
  startMs: number;
}

interface Figures {
  turnsPerSecond: number;
  cpuMsPerTurn: number | null;
}

let turn = 0;

const folder = await mkdtemp(path.join(tmpdir(), "recollect-bench-"));
const model = await start([path.join(HERE, "model.ts")], {}, /^(http:\/\/\S+)/);
try {
  if (URL_OF_SERVER === null) {
    await measureAlone();
  } else {
    await measureBeside(URL_OF_SERVER);
  }
} finally {
  model.child.kill();
  await rm(folder, { recursive: true, force: true });
}

async function measureAlone(): Promise<void> {
  const server = await startRecollect(null);
  await warmUp(recollectTurn(server), 20);
  print([["level", "turns/s", "CPU ms/turn"], ...(await rounds({ recollect: { server, turn: recollectTurn(server) } }, LEVELS)).rows]);
  await printCosts(server);
  await stop(server);
}

async function measureBeside(databaseUrl: string): Promise<void> {
  const name = `recollect_bench_${process.pid}`;
  await sql(databaseUrl, `create database ${name}`);
  const own = new URL(databaseUrl);
  own.pathname = `/${name}`;
  try {
    const bare = await start([path.join(HERE, "bare.ts"), own.href, model.url], {}, /^(http:\/\/\S+)/);
    const recollect = await startRecollect(own.href);
    const contenders = {
      bare: { server: bare, turn: bareTurn(bare) },
      recollect: { server: recollect, turn: recollectTurn(recollect) },
    };
    for (const { turn } of Object.values(contenders)) {
      await warmUp(turn, 300);
    }
    const { rows } = await rounds(contenders, LEVELS);
    print([["", "concurrency", "turns/s", "CPU ms/turn", "ratio of CPU to bare (rounds)"], ...rows]);
    await printIsolation(databaseUrl, { server: recollect, turn: recollectTurn(recollect) });
    await printFirstToken(recollect);
    await printCosts(recollect);
    await stop(recollect);
    await stop(bare);
  } finally {
    await sql(databaseUrl, `drop database if exists ${name} with (force)`);
  }
}

/** What it costs to keep users apart: the same server without row-level security, and one that asks for keys. */
async function printIsolation(databaseUrl: string, recollect: Contenders[string]): Promise<void> {
  const names = ["open", "keys"].map((what) => `recollect_bench_${what}_${process.pid}`);
  const [open = "", keys = ""] = names.map((name) => Object.assign(new URL(databaseUrl), { pathname: `/${name}` }).href);
  for (const name of names) {
    await sql(databaseUrl, `create database ${name}`);
  }
  try {
    const unguarded = await startRecollect(open);
    await sql(
      open,
      `do $$ declare t text; begin
        for t in select relname from pg_class where relrowsecurity loop execute format('alter table %I disable row level security', t); end loop;
      end $$`,
    );
    const key = await makeKey(keys);
    const guarded = await startRecollect(keys, { AUTH: "keys" });
    const contenders = {
      recollect,
      "without row-level security": { server: unguarded, turn: recollectTurn(unguarded) },
      "with AUTH=keys": { server: guarded, turn: recollectTurn(guarded, key) },
    };
    for (const { turn } of Object.values(contenders)) {
      await warmUp(turn, 300);
    }
    const { rows } = await rounds(contenders, [16], "without row-level security");
    print([["", "concurrency", "turns/s", "CPU ms/turn", "ratio of CPU to without row-level security (rounds)"], ...rows]);
    await stop(unguarded);
    await stop(guarded);
  } finally {
    for (const name of names) {
      await sql(databaseUrl, `drop database if exists ${name} with (force)`);
    }
  }
}

/** Makes the tables, and a key that acts for whomever it names. */
async function makeKey(databaseUrl: string): Promise<string> {
  const script = path.join(HERE, "..", "..", "dist", "keys.js");
  const env = { PATH: process.env.PATH, DATABASE_URL: databaseUrl };
  const { stdout } = await promisify(execFile)(process.execPath, [script, "create", "--service"], { env });
  const key = /\brk_\S+/.exec(stdout)?.[0];
  if (!key) {
    throw new Error(`No key in: ${stdout}`);
  }
  return key;
}

type Contenders = Record<string, { server: Server; turn: () => Promise<void> }>;

/** The contenders take turns, so that a slow moment of the machine hits both. */
async function rounds(contenders: Contenders, levels: number[], base = "bare"): Promise<{ rows: string[][] }> {
  const rows: string[][] = [];
  for (const level of levels) {
    const figures = new Map<string, Figures[]>();
    for (let round = 0; round < ROUNDS; round++) {
      for (const [name, { server, turn }] of Object.entries(contenders)) {
        figures.set(name, [...(figures.get(name) ?? []), await load(server, turn, level, TURNS[level] ?? 100)]);
      }
    }
    const least = figures.get(base);
    for (const [name, measured] of figures) {
      const ratios = measured.map((figure, round) => (figure.cpuMsPerTurn ?? Number.NaN) / (least?.[round]?.cpuMsPerTurn ?? Number.NaN));
      rows.push([
        name,
        String(level),
        median(measured.map((figure) => figure.turnsPerSecond)).toFixed(0),
        median(measured.map((figure) => figure.cpuMsPerTurn ?? Number.NaN)).toFixed(2),
        least && name !== base ? ratios.map((ratio) => ratio.toFixed(2)).join(" ") : "",
      ]);
    }
  }
  return { rows };
}

async function load(server: Server, turn: () => Promise<void>, concurrency: number, turns: number): Promise<Figures> {
  const cpu = cpuMs(server);
  const begun = performance.now();
  let left = turns;
  await Promise.all(
    Array.from({ length: concurrency }, async () => {
      while (left-- > 0) {
        await turn();
      }
    }),
  );
  const seconds = (performance.now() - begun) / 1_000;
  const used = cpuMs(server);
  return { turnsPerSecond: turns / seconds, cpuMsPerTurn: cpu === null || used === null ? null : (used - cpu) / turns };
}

/** What a turn asks of the model, and how large the process is. */
async function printCosts(server: Server): Promise<void> {
  await fetch(`${model.url}/stats`, { method: "POST" });
  const turns = 20;
  for (let index = 0; index < turns; index++) {
    const number = `${process.pid}x${++turn}`;
    await ask(server, { userId: `cost-${number}`, sessionId: "s", message: `I like thing${number} a lot.` }, "MEMORY");
  }
  const stats = (await (await fetch(`${model.url}/stats`)).json()) as Record<string, number>;
  print([
    ["cost of a turn of a new user", ""],
    ["model calls", String(((stats.replies ?? 0) + (stats.extractions ?? 0)) / turns)],
    ["prompt tokens of the reply call", ((stats.replyTokens ?? 0) / turns).toFixed(0)],
    ["prompt tokens of the extraction call, schema aside", ((stats.extractionTokens ?? 0) / turns).toFixed(0)],
    ["start-up, ms", server.startMs.toFixed(0)],
    ["resident memory, MB", String(residentMb(server) ?? "unknown")],
  ]);
}

/** How much later than from the model itself the first token arrives, over REST's slower cousin: the subscription's first delta. */
async function printFirstToken(server: Server): Promise<void> {
  const { createClient } = await import("graphql-ws");
  const { WebSocket } = await import("ws");
  const client = createClient({ url: `${server.url.replace("http", "ws")}/graphql`, webSocketImpl: WebSocket });
  const ours: number[] = [];
  const direct: number[] = [];
  const query = "subscription ($input: RunAgentInput!) { runAgent(input: $input) { __typename } }";
  for (let index = 0; index < 60; index++) {
    const number = `${process.pid}x${++turn}`;
    let begun = performance.now();
    const body = JSON.stringify({ stream: true, messages: [{ role: "user", content: "Hello" }] });
    const response = await fetch(`${model.url}/v1/chat/completions`, { method: "POST", body });
    await response.body?.getReader().read();
    direct.push(performance.now() - begun);
    begun = performance.now();
    const input = { userId: `first-${number}`, sessionId: "s", message: "Hello there, how are you today?" };
    for await (const { data } of client.iterate<{ runAgent: { __typename: string } }>({ query, variables: { input } })) {
      if (data?.runAgent.__typename === "TextMessageContent") {
        ours.push(performance.now() - begun);
        break;
      }
    }
  }
  await client.dispose();
  print([
    ["first token, ms (median of 60)", ""],
    ["from the model itself", median(direct).toFixed(1)],
    ["through a subscription", median(ours).toFixed(1)],
    ["added", (median(ours) - median(direct)).toFixed(1)],
  ]);
}

/** `key`: for a server that asks for one. */
function recollectTurn(server: Server, key?: string): () => Promise<void> {
  return () => {
    const number = ++turn;
    return ask(
      server,
      { userId: `user-${number % 200}`, sessionId: `s${number % 1_000}`, message: `I like thing${process.pid}x${number} a lot.` },
      "MEMORY",
      key,
    );
  };
}

async function ask(server: Server, input: object, waitFor: string, key?: string): Promise<void> {
  const query =
    "mutation ($input: RunAgentInput!, $waitFor: RunStage!) { runAgent(input: $input, waitFor: $waitFor) { run { status memoryUpdate { status } } } }";
  const answer = await post(`${server.url}/graphql`, { query, variables: { input, waitFor } }, key);
  if (!JSON.stringify(answer).includes('"status":"DONE"')) {
    throw new Error(`A turn failed: ${JSON.stringify(answer)}`);
  }
}

function bareTurn(server: Server): () => Promise<void> {
  return async () => {
    const number = ++turn;
    await post(server.url, {
      userId: `user-${number % 200}`,
      sessionId: `s${number % 1_000}`,
      message: `I like thing${process.pid}x${number} a lot.`,
    });
  };
}

async function post(url: string, body: object, key?: string): Promise<unknown> {
  const headers = { "content-type": "application/json", ...(key && { authorization: `Bearer ${key}` }) };
  const response = await fetch(url, { method: "POST", headers, body: JSON.stringify(body) });
  return response.json();
}

async function warmUp(turn: () => Promise<void>, turns: number): Promise<void> {
  for (let index = 0; index < turns; index++) {
    await turn();
  }
}

function startRecollect(databaseUrl: string | null, settings: NodeJS.ProcessEnv = {}): Promise<Server> {
  const env = {
    PORT: "0",
    DATABASE_URL: databaseUrl ?? "",
    DATA_DIR: folder,
    OPENAI_BASE_URL: `${model.url}/v1`,
    CHAT_MODEL: "bench",
    ...settings,
  };
  return start([MAIN], env, /serves on (http:\/\/[^/\s]+)/);
}

async function start(command: string[], env: NodeJS.ProcessEnv, ready: RegExp): Promise<Server> {
  const begun = performance.now();
  const child = spawn(process.execPath, command, { env: { PATH: process.env.PATH, ...env }, stdio: ["ignore", "pipe", "inherit"] });
  for await (const line of createInterface({ input: child.stdout })) {
    const url = ready.exec(line)?.[1];
    if (url) {
      child.stdout.resume();
      return { url, child, startMs: performance.now() - begun };
    }
  }
  throw new Error(`${command[0]} ended before it was ready.`);
}

async function stop(server: Server): Promise<void> {
  server.child.kill("SIGTERM");
  await once(server.child, "exit");
}

function cpuMs({ child }: Server): number | null {
  const fields = proc(child, "stat")?.split(") ")[1]?.split(" ");
  return fields ? ((Number(fields[11]) + Number(fields[12])) * 1_000) / TICKS : null;
}

function residentMb({ child }: Server): number | null {
  const kilobytes = /VmRSS:\s+(\d+)/.exec(proc(child, "status") ?? "")?.[1];
  return kilobytes === undefined ? null : Math.round(Number(kilobytes) / 1_024);
}

/** Linux only; elsewhere the figure is left out. */
function proc(child: ChildProcess, file: string): string | null {
  try {
    return readFileSync(`/proc/${child.pid}/${file}`, "utf8");
  } catch {
    return null;
  }
}

async function sql(databaseUrl: string, statement: string): Promise<void> {
  const client = new Client({ connectionString: databaseUrl });
  await client.connect();
  await client.query(statement).finally(() => client.end());
}

function median(values: number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

function print(rows: string[][]): void {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  for (const row of rows) {
    process.stdout.write(`${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join("  ")}\n`);
  }
  process.stdout.write("\n");
}
