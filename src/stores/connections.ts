/** One connection for one unit of work, on either database. Whoever takes one gives it back, also when it is broken. */

import { createHash } from "node:crypto";
import type { Writable } from "node:stream";
import { createPostgreSqlTypeParsers } from "@mikro-orm/sql";
import { Pool, type PoolClient, TypeOverrides } from "pg";
import array from "postgres-array";
import { AppError } from "../errors.ts";
import type { EmbeddedDatabase } from "./embedded.ts";

/** As whom a unit of work acts. */
export type Scope = { user: string } | { role: "recollect_worker" | "recollect_log" | "recollect_keys" | "none" };

/**
 * Statements are sent as they come and answered in their order: who needs no answer in between sends several at once. When
 * `begin` fails, those behind it find no scope, and without one the database shows and takes nothing.
 */
export interface Connection {
  /** Opens a transaction in which every statement has the scope. */
  begin(scope: Scope): Promise<void>;
  query(sql: string, values: readonly unknown[]): Promise<{ rows: unknown[]; affectedRows: number }>;
  /** Gives it back; `broken`: it is closed instead, because nobody knows what state it is in. */
  release(broken: boolean): void;
}

export interface Connections {
  take(): Promise<Connection>;
  close(): Promise<void>;
}

/** The role every connection of the server takes on; it owns nothing and cannot bypass row-level security. */
const APP_ROLE = "recollect_app";
/** What a connection is told before anything else. */
const FIRST_STATEMENTS = [`set role ${APP_ROLE}`, "set timezone to 'UTC'"];

const POOL_SIZE = 10;
const CONNECT_DEADLINE = 5_000;
/** The server ends a statement after this long (ms); the client gives up on a server that does not answer a little later. */
const STATEMENT_DEADLINE = 9_000;
const ANSWER_DEADLINE = 12_000;

/** Connections to a Postgres server; broken ones are replaced. */
export function poolConnections(connectionString: string): Connections {
  const types = new TypeOverrides();
  for (const [type, parser] of Object.entries(createPostgreSqlTypeParsers((text) => array.parse(text)))) {
    types.setTypeParser(Number(type), parser as (text: string) => unknown);
  }
  const settings = {
    connectionString,
    types,
    max: POOL_SIZE,
    connectionTimeoutMillis: CONNECT_DEADLINE,
    statement_timeout: STATEMENT_DEADLINE,
    query_timeout: ANSWER_DEADLINE,
    // A server process that is stopped, or cut off, must not hold its users' rows for long.
    idle_in_transaction_session_timeout: STATEMENT_DEADLINE,
    keepAlive: true,
    pipeline: true,
    application_name: "recollect",
    // Runs on every new connection, before anybody is given it.
    verify: (client: PoolClient, done: (error?: Error) => void) => {
      takeAppRole((sql) => client.query(sql)).then(() => done(), done);
    },
  };
  const pool = new Pool(settings);
  // A connection that breaks is reported by the query under way; without listeners it would end the process.
  pool.on("error", () => undefined);
  pool.on("connect", (client) => client.on("error", () => undefined));
  return {
    async take() {
      const client = await pool.connect();
      const send = together(client);
      return {
        async begin(scope) {
          send();
          // One message to the server instead of two. The user's id is the only value of the code that is quoted, not bound.
          await client.query(
            "user" in scope ? `begin; ${selectUser(client.escapeLiteral(scope.user))}` : `begin; set local role ${scope.role}`,
          );
        },
        async query(sql, values) {
          send();
          const result = await client.query(values.length > 0 ? { name: statementName(sql), text: sql, values: [...values] } : sql);
          return { rows: result.rows, affectedRows: result.rowCount ?? 0 };
        },
        release: (broken) => client.release(broken),
      };
    },
    close: () => pool.end(),
  };
}

/** A function to call before sending: what is sent in one go of the event loop leaves in one write. Each would be a system call of its own. */
function together(client: PoolClient): () => void {
  const { stream } = (client as unknown as { connection: { stream: Writable } }).connection;
  let corked = false;
  return () => {
    if (!corked) {
      corked = true;
      stream.cork();
      process.nextTick(() => {
        corked = false;
        stream.uncork();
      });
    }
  };
}

/** The one connection of the embedded database. Who may have it when is for the gate to say. */
export function embeddedConnections(pglite: EmbeddedDatabase): Connections {
  const connection: Connection = {
    async begin(scope) {
      // One statement at a time is all it takes.
      const begun = pglite.query("begin");
      const scoped = "user" in scope ? pglite.query(selectUser("$1"), [scope.user]) : pglite.query(`set local role ${scope.role}`);
      await Promise.all([begun, scoped]);
    },
    async query(sql, values) {
      const { rows, affectedRows } = await pglite.query(sql, [...values], { rowMode: "object" });
      return { rows, affectedRows: affectedRows ?? 0 };
    },
    release: () => undefined,
  };
  return { take: async () => connection, close: () => pglite.close() };
}

function selectUser(value: string): string {
  return `select set_config('app.user_id', ${value}, true)`;
}

/** Throws SERVICE_UNAVAILABLE with the remedy when the login may not take on the role. */
export async function takeAppRole(query: (sql: string) => Promise<unknown>): Promise<void> {
  for (const sql of FIRST_STATEMENTS) {
    await query(sql).catch((cause: unknown) => {
      if (/permission denied to set role|role .* does not exist/.test(String(cause))) {
        const remedy =
          "Connect as the login that migrated this database, or GRANT recollect_app, recollect_keys, recollect_log, recollect_worker to yours.";
        throw new AppError("SERVICE_UNAVAILABLE", `This login may not take on the role ${APP_ROLE}. ${remedy}`, { cause });
      }
      throw cause;
    });
  }
}

const names = new Map<string, string>();

/** Named statements are parsed once per connection. There are as many as the source has texts. */
function statementName(sql: string): string {
  const name = names.get(sql) ?? createHash("sha1").update(sql).digest("hex").slice(0, 20);
  names.set(sql, name);
  return name;
}
