/**
 * The embedded Postgres, in a thread of its own: in the main thread a query would stop timers, sockets and streams.
 * Plain TypeScript without imports from `src`, because the tests let Node run this file as it is.
 */

import { parentPort, workerData } from "node:worker_threads";
import { PGlite } from "@electric-sql/pglite";
import { createPostgreSqlTypeParsers } from "@mikro-orm/sql";
import array from "postgres-array";

interface Request {
  id: number;
  sql: string;
  values: unknown[] | undefined;
  options: { rowMode?: "object" } | undefined;
}

const port = parentPort;
if (!port) {
  throw new Error("This file runs as a worker thread.");
}

const database = await PGlite.create({
  dataDir: workerData.dataDir,
  parsers: createPostgreSqlTypeParsers((text) => array.parse(text)),
});
port.postMessage({ ready: true });

port.on("message", async (message: Request | { close: true }) => {
  if ("close" in message) {
    await database.close();
    port.postMessage({ closed: true });
    port.close();
    return;
  }
  try {
    const result = await database.query(message.sql, message.values, message.options);
    port.postMessage({ id: message.id, result: { rows: result.rows, affectedRows: result.affectedRows, fields: result.fields } });
  } catch (error) {
    port.postMessage({ id: message.id, error: describe(error) });
  }
});

/** An error keeps what MikroORM and we look at; its class does not survive the way between threads. */
function describe(error: unknown): Record<string, unknown> {
  if (!(error instanceof Error)) {
    return { message: String(error) };
  }
  const described: Record<string, unknown> = { message: error.message };
  for (const key of ["code", "detail", "constraint", "table", "column", "schema", "severity", "hint"]) {
    const value = (error as unknown as Record<string, unknown>)[key];
    if (value !== undefined) {
      described[key] = value;
    }
  }
  return described;
}
