/** One database, the servers on it, the users who talk to them, and what came of it. */

import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { askHolder } from "../../src/stores/folder-lock.ts";
import type { Cluster, Sql } from "./cluster.ts";
import { examine, type Findings, PATIENCE } from "./invariants.ts";
import { createLedger, type Ledger } from "./ledger.ts";
import { type Load, startLoad } from "./load.ts";
import type { RecordedModel } from "./model.ts";
import type { Random } from "./random.ts";
import { type Failpoint, type ServerProcess, startServer, stopServer } from "./server.ts";

/** What all scenarios share. */
export interface World {
  random: Random;
  model: RecordedModel;
  cluster: Cluster;
  /** A migrated database and a migrated folder to copy. */
  template: string;
  folderTemplate: string;
  /** How long the scenarios that may take any time take, in seconds. */
  seconds: number;
  /** The short form, for CI. */
  ci: boolean;
  say(line: string): void;
}

export type Kind = "postgres" | "embedded";

/** Where a server keeps everything. */
export interface Store {
  databaseUrl?: string;
  dataDir?: string;
  /** Where pieces of replies are kept, if not in the database. */
  redisUrl?: string;
  sql: Sql;
  remove(): Promise<void>;
}

/** What a scenario found; `problems` keep it from counting whatever the numbers are. */
export interface Outcome extends Findings {
  problems: string[];
}

/** `empty`: nothing has been there before. */
export async function createStore(world: World, kind: Kind, empty = false): Promise<Store> {
  if (kind === "postgres") {
    const name = await world.cluster.create(empty ? undefined : world.template);
    return { databaseUrl: world.cluster.url(name), sql: world.cluster.sql(name), remove: async () => undefined };
  }
  const dataDir = await mkdtemp(path.join(tmpdir(), "recollect-chaos-folder-"));
  if (!empty) {
    await cp(world.folderTemplate, dataDir, { recursive: true });
  }
  return { dataDir, sql: sqlOfFolder(dataDir), remove: () => rm(dataDir, { recursive: true, force: true }) };
}

/** Asks the server that has the folder, as `npm run sql` does. */
export function sqlOfFolder(dataDir: string): Sql {
  return async <Row extends object>(statement: string) => {
    const answer = await askHolder(dataDir, statement);
    const { rows, error } = JSON.parse(answer ?? '{"error":"Nobody has the folder."}') as { rows?: Row[]; error?: string };
    if (!rows) {
      throw new Error(error);
    }
    return rows;
  };
}

export class Arena {
  readonly ledger: Ledger = createLedger();
  readonly store: Store;
  readonly problems: string[] = [];
  readonly #world: World;
  readonly #servers = new Set<ServerProcess>();
  readonly #modelUrl: string;
  #load: Load | null = null;
  #url: string | null = null;

  constructor(world: World, store: Store, modelUrl = world.model.server.url) {
    this.#world = world;
    this.store = store;
    this.#modelUrl = modelUrl;
  }

  /** The server clients turn to; null while there is none. */
  get url(): string | null {
    return this.#url;
  }

  /** Starts a server that clients turn to once it serves. */
  async start(failpoint?: Failpoint): Promise<ServerProcess> {
    const server = this.launch(failpoint);
    this.#url = await server.url;
    return server;
  }

  /** Starts a server without waiting for it. It may end only by `kill`, `finish`, or at its failpoint. */
  launch(failpoint?: Failpoint): ServerProcess {
    const { databaseUrl, dataDir, redisUrl } = this.store;
    const server = startServer({
      modelUrl: this.#modelUrl,
      ...(databaseUrl !== undefined && { databaseUrl }),
      ...(dataDir !== undefined && { dataDir }),
      ...(redisUrl !== undefined && { redisUrl }),
      ...(failpoint && { failpoint }),
    });
    this.#servers.add(server);
    server.exited.then(({ code, signal, errors }) => {
      if (this.#servers.delete(server) && signal !== "SIGKILL") {
        this.problems.push(`a server ended by itself (${signal ?? code}): ${errors}`);
      }
    });
    return server;
  }

  async kill(server: ServerProcess): Promise<void> {
    this.#servers.delete(server);
    this.#url = null;
    server.signal("SIGKILL");
    await server.exited;
  }

  load(users: number): void {
    this.#load = startLoad({ ledger: this.ledger, random: this.#world.random, users, target: () => this.#url });
  }

  /** Clients turn to another server; null: to none. */
  turnTo(url: string | null): void {
    this.#url = url;
  }

  async stopLoad(): Promise<void> {
    await this.#load?.stop();
    this.#load = null;
  }

  /** Lets things calm down, looks at everything, and ends the servers. */
  async finish(patience = PATIENCE): Promise<Outcome> {
    await this.stopLoad();
    const url = this.#url ?? (await this.start().then(() => this.#url));
    const { ledger, store } = this;
    const findings = await examine({
      ledger,
      model: this.#world.model,
      sql: store.sql,
      url: url ?? "",
      patience,
      piecesElsewhere: store.redisUrl !== undefined,
    });
    for (const server of [...this.#servers]) {
      this.#servers.delete(server);
      await stopServer(server).catch((error: Error) => this.problems.push(error.message));
    }
    await store.remove();
    return { ...findings, problems: this.problems };
  }
}
