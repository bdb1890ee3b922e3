/** What all scenarios stand on: a database server, a model server, templates; and how their outcomes are told. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import type { Outcome, World } from "./arena.ts";
import { startCluster } from "./cluster.ts";
import type { Tally } from "./invariants.ts";
import { startModel } from "./model.ts";
import { createRandom } from "./random.ts";
import { killServers, startServer, stopServer } from "./server.ts";

export interface WorldOptions {
  /** Undefined: by chance. */
  seed: string | undefined;
  seconds: number;
  ci: boolean;
}

const FAULTS = ["lost", "duplicated", "stuck", "leaked"] as const;
const HEAD = ["scenario", ...Object.keys(emptyTally()), "seconds", ""];
const SHOWN_DETAILS = 20;
/** What has to be given back, the latest first. */
const held: (() => Promise<unknown>)[] = [];
const total = emptyTally();
const rows: string[][] = [];
const details: string[] = [];

/** Does `work` in a world of its own; whatever happens, no process is left behind. True when it says so. */
export async function inWorld(options: WorldOptions, work: (world: World) => Promise<boolean>): Promise<boolean> {
  for (const end of ["SIGINT", "SIGTERM", "uncaughtException"]) {
    process.once(end, (reason) => {
      print(`ended by ${reason instanceof Error ? reason.stack : end}`);
      killServers();
      void release().then(() => process.exit(1));
    });
  }
  try {
    return await work(await createWorld(options));
  } finally {
    killServers();
    await release();
  }
}

/** Runs a scenario and tells what became of it. True when nothing is wrong. */
export async function summarize(name: string, run: () => Promise<Outcome[] | null>): Promise<boolean> {
  print(`\n${name}`);
  const begun = Date.now();
  const outcomes = await run().catch((error: Error): Outcome[] => {
    killServers();
    return [{ tally: emptyTally(), details: [], problems: [String(error.stack)] }];
  });
  const tally = (outcomes ?? []).reduce((sum, outcome) => add(sum, outcome.tally), emptyTally());
  const problems = (outcomes ?? []).flatMap((outcome) => outcome.problems);
  const told = [...problems.map((problem) => `problem: ${problem}`), ...(outcomes ?? []).flatMap((outcome) => outcome.details)];
  details.push(...told.map((detail) => `${name}: ${detail}`));
  add(total, tally);
  const good = problems.length === 0 && FAULTS.every((fault) => tally[fault] === 0);
  rows.push([name, ...numbers(tally), seconds(Date.now() - begun), outcomes === null ? "SKIPPED" : good ? "" : "FAILED"]);
  print(table(rows.slice(-1)));
  return good;
}

/** Prints the table of all scenarios, and what is behind its last numbers. */
export function printTotal(): void {
  print(`\n${table([...rows, ["total", ...numbers(total), seconds(performance.now()), ""]])}`);
  for (const detail of details.slice(0, SHOWN_DETAILS)) {
    print(detail);
  }
  if (details.length > SHOWN_DETAILS) {
    print(`… and ${details.length - SHOWN_DETAILS} more`);
  }
  for (const [name] of rows.filter((row) => row.at(-1) === "SKIPPED")) {
    print(`SKIPPED: ${name}, which this user or machine cannot do.`);
  }
}

export function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

async function createWorld({ seed: wanted, seconds, ci }: WorldOptions): Promise<World> {
  const seed = Number(wanted ?? Math.floor(Math.random() * 1_000_000_000));
  print(`seed ${seed} (--seed ${seed} chooses the same moments again)`);
  const cluster = await startCluster();
  if (!cluster) {
    throw new Error("There is no Postgres 15 or newer in /usr/lib/postgresql. Install one: apt-get install postgresql");
  }
  held.push(() => cluster.remove());
  const model = await startModel();
  held.push(() => model.close());
  const folderTemplate = await mkdtemp(path.join(tmpdir(), "recollect-chaos-template-"));
  held.push(() => rm(folderTemplate, { recursive: true, force: true }));
  const template = await cluster.create();
  const servers = [{ databaseUrl: cluster.url(template) }, { dataDir: folderTemplate }].map((store) =>
    startServer({ ...store, modelUrl: model.server.url }),
  );
  await Promise.all(servers.map((server) => server.url));
  await Promise.all(servers.map(stopServer));
  return { random: createRandom(seed), model, cluster, template, folderTemplate, seconds, ci, say: (line) => print(`  ${line}`) };
}

async function release(): Promise<void> {
  for (const give of held.splice(0).reverse()) {
    await give().catch((error: Error) => print(error.message));
  }
}

function emptyTally(): Tally {
  return { accepted: 0, completed: 0, interrupted: 0, failed: 0, lost: 0, duplicated: 0, stuck: 0, leaked: 0 };
}

function add(sum: Tally, more: Tally): Tally {
  for (const key of Object.keys(sum) as (keyof Tally)[]) {
    sum[key] += more[key];
  }
  return sum;
}

function numbers(tally: Tally): string[] {
  return Object.values(tally).map(String);
}

function seconds(milliseconds: number): string {
  return String(Math.round(milliseconds / 1_000));
}

function table(body: string[][]): string {
  const lines = [HEAD, ...body];
  const widths = HEAD.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)));
  const pad = (cell: string, column: number): string => (column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0));
  return lines.map((line) => line.map(pad).join("  ").trimEnd()).join("\n");
}
