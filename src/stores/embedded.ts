/** The embedded database: a folder on disk, one connection, opened by one process at a time. */

import { mkdir } from "node:fs/promises";
import path from "node:path";
import { Worker } from "node:worker_threads";
import { AppError } from "../errors.ts";
import { step } from "../step.ts";
import { type FolderLock, lockFolder } from "./folder-lock.ts";

interface QueryResult {
  rows: Record<string, unknown>[];
  affectedRows?: number;
  fields: unknown[];
}

type Query = (sql: string, values?: unknown[], options?: { rowMode?: "object" }) => Promise<QueryResult>;

/** The part of PGlite's interface that MikroORM's driver uses, carried out in a worker thread. */
export interface EmbeddedDatabase {
  query: Query;
  transaction<T>(work: (transaction: { query: Query }) => Promise<T>): Promise<T>;
  /** Answers what other processes of this machine ask through the folder's lock; see `folder-lock.ts`. */
  onQuestion(answer: (question: string) => Promise<string>): void;
  close(): Promise<void>;
  readonly closed: boolean;
  readonly ready: boolean;
  readonly waitReady: Promise<void>;
}

/** How long a new folder may take to be made, in ms; about 5 s here. */
const OPEN_DEADLINE = 120_000;
const CLOSE_DEADLINE = 10_000;

interface WorkerMessage {
  ready?: true;
  closed?: true;
  id?: number;
  result?: QueryResult;
  error?: Record<string, unknown>;
}

/**
 * Opens (and on first use makes) the database in `dataDir`. Throws CONFLICT when another process has it, and
 * SERVICE_UNAVAILABLE when it cannot be opened.
 */
export async function openEmbedded(dataDir: string): Promise<EmbeddedDatabase> {
  const folder = path.resolve(dataDir);
  await mkdir(folder, { recursive: true }).catch((cause: unknown) => {
    throw new AppError("SERVICE_UNAVAILABLE", `The folder ${folder} cannot be made. Set DATA_DIR to one this user may write to.`, {
      cause,
    });
  });
  const lock = await lockFolder(folder);
  step("folder-locked");
  try {
    return await start(path.join(folder, "postgres"), lock);
  } catch (error) {
    await lock.release();
    throw error;
  }
}

async function start(clusterDir: string, lock: FolderLock): Promise<EmbeddedDatabase> {
  // Under vitest this module is TypeScript itself, and so is its neighbour.
  const file = import.meta.url.endsWith(".ts") ? "./embedded-worker.ts" : "./embedded-worker.js";
  const worker = new Worker(new URL(file, import.meta.url), { workerData: { dataDir: clusterDir }, name: "postgres" });
  const pending = new Map<number, { resolve: (result: QueryResult) => void; reject: (error: Error) => void }>();
  const opened = Promise.withResolvers<void>();
  const exited = Promise.withResolvers<void>();
  let lastId = 0;
  let closed = false;

  worker.on("message", (message: WorkerMessage) => {
    if (message.ready) {
      opened.resolve();
    }
    const waiting = message.id === undefined ? undefined : pending.get(message.id);
    if (!waiting || message.id === undefined) {
      return;
    }
    pending.delete(message.id);
    if (message.result) {
      waiting.resolve(message.result);
    } else {
      waiting.reject(Object.assign(new Error(), message.error));
    }
  });
  worker.on("error", (error) => fail(new AppError("SERVICE_UNAVAILABLE", openingRemedy(clusterDir), { cause: error })));
  worker.on("exit", () => {
    fail(new AppError("SERVICE_UNAVAILABLE", "The embedded database has stopped. Restart the server."));
    exited.resolve();
  });

  function fail(error: AppError): void {
    closed = true;
    opened.reject(error);
    for (const waiting of pending.values()) {
      waiting.reject(error);
    }
    pending.clear();
  }

  const query: Query = (sql, values, options) => {
    if (closed) {
      return Promise.reject(new AppError("SERVICE_UNAVAILABLE", "The embedded database has stopped. Restart the server."));
    }
    const id = ++lastId;
    return new Promise<QueryResult>((resolve, reject) => {
      pending.set(id, { resolve, reject });
      worker.postMessage({ id, sql, values, options });
    });
  };

  const timer = setTimeout(() => fail(new AppError("SERVICE_UNAVAILABLE", openingRemedy(clusterDir))), OPEN_DEADLINE);
  try {
    await opened.promise;
    step("folder-opened");
  } catch (error) {
    await worker.terminate();
    throw error;
  } finally {
    clearTimeout(timer);
  }

  return {
    query,
    async transaction(work) {
      await query("BEGIN");
      try {
        const result = await work({ query });
        await query("COMMIT");
        return result;
      } catch (error) {
        await query("ROLLBACK");
        throw error;
      }
    },
    onQuestion: (answer) => lock.onQuestion(answer),
    async close() {
      if (!closed) {
        worker.postMessage({ close: true });
        const deadline = setTimeout(() => void worker.terminate(), CLOSE_DEADLINE);
        await exited.promise;
        clearTimeout(deadline);
      }
      await lock.release();
    },
    get closed() {
      return closed;
    },
    get ready() {
      return !closed;
    },
    waitReady: Promise.resolve(),
  };
}

function openingRemedy(clusterDir: string): string {
  return (
    `The embedded database in ${clusterDir} cannot be opened. Make sure the disk has room and this user may write there; ` +
    "if the folder was made by another version or is damaged, restore a backup or name a new folder with DATA_DIR."
  );
}
