/** A Postgres server of the harness's own, in a temporary folder, which may be stopped and started. */

import { execFile } from "node:child_process";
import { chmod, chown, mkdtemp, readdir, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { Client } from "pg";

const HOME = "/usr/lib/postgresql";
const OLDEST = 15;
const LOGIN = "recollect_chaos";
const run = promisify(execFile);

/** Runs one statement as the operator, over everybody's rows. */
export type Sql = <Row extends object>(statement: string) => Promise<Row[]>;

export interface Cluster {
  port: number;
  /** Makes a database, as a copy of another one when that is named; its name. */
  create(template?: string): Promise<string>;
  /** The address of a database for the login; at another port when there is something in between. */
  url(name: string, port?: number): string;
  sql(name: string): Sql;
  /** Returns when it is down. "immediate" is what a crash of the database is. */
  stop(mode: "fast" | "immediate"): Promise<void>;
  start(): Promise<void>;
  remove(): Promise<void>;
}

/** Null when there is no Postgres on this machine. */
export async function startCluster(): Promise<Cluster | null> {
  const bin = await newestPostgres();
  if (bin === null) {
    return null;
  }
  const folder = await mkdtemp(path.join(tmpdir(), "recollect-chaos-"));
  const asOwner = await ownerOf(folder);
  const data = path.join(folder, "data");
  const port = await freePort();
  await asOwner(path.join(bin, "initdb"), ["-D", data, "--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C"]);
  const control = async (...words: string[]): Promise<void> => {
    await asOwner(path.join(bin, "pg_ctl"), ["-D", data, "-w", "-s", "-l", path.join(folder, "log"), ...words]);
  };
  const start = (): Promise<void> => control("-o", `-p ${port} -k ${folder} -c listen_addresses=127.0.0.1 -c max_connections=200`, "start");
  const stop = (mode: string): Promise<void> => control("-m", mode, "stop");
  const sql = (name: string): Sql => {
    return async <Row extends object>(statement: string) => {
      const client = new Client({ host: "127.0.0.1", port, user: "postgres", database: name, connectionTimeoutMillis: 5_000 });
      client.on("error", () => undefined);
      await client.connect();
      return client
        .query(statement)
        .then((result) => result.rows as Row[])
        .finally(() => client.end());
    };
  };
  await start();
  await sql("postgres")(`create role ${LOGIN} login createdb createrole`);
  let made = 0;
  return {
    port,
    async create(template) {
      const name = `chaos_${++made}`;
      await sql("postgres")(`create database ${name} owner ${LOGIN}${template ? ` template ${template}` : ""}`);
      return name;
    },
    url: (name, at = port) => `postgres://${LOGIN}@127.0.0.1:${at}/${name}`,
    sql,
    stop,
    start,
    async remove() {
      await stop("immediate").catch(() => undefined);
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function newestPostgres(): Promise<string | null> {
  const versions = (await readdir(HOME).catch(() => [])).map(Number).filter((version) => version >= OLDEST);
  return versions.length > 0 ? path.join(HOME, String(Math.max(...versions)), "bin") : null;
}

/** How to run programs as the folder's owner: Postgres refuses to be root. */
async function ownerOf(folder: string): Promise<(file: string, words: string[]) => Promise<unknown>> {
  if (process.getuid?.() !== 0) {
    return (file, words) => run(file, words, { cwd: folder });
  }
  const { stdout } = await run("id", ["-u", "postgres"]);
  await chown(folder, Number(stdout), -1);
  await chmod(folder, 0o755);
  // Output that the server keeps open would never end.
  return (file, words) => run("runuser", ["-u", "postgres", "--", file, ...words], { cwd: folder });
}

export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === "object" && address ? address.port : 0;
}
