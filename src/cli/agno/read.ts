/**
 * Reads a database that Agno made: version 2, whose sessions hold their runs, and version 3, where runs have a table of their own.
 * Columns that a version does not have are read as null; nothing is written.
 */

import { Client } from "pg";
import { Problem } from "../connection.ts";

const PATIENCE = 30_000;

/** Rows as Agno wrote them; times are seconds since 1970. */
export interface AgnoMemory {
  memory_id: string;
  user_id: string | null;
  memory: unknown;
  topics: unknown;
  agent_id: string | null;
  input: string | null;
  feedback: string | null;
  created_at: number | null;
  updated_at: number | null;
}

export interface AgnoSession {
  session_id: string;
  user_id: string | null;
  session_type: string | null;
  agent_id: string | null;
  session_data: unknown;
  summary: unknown;
  runs: unknown;
  created_at: number | null;
  updated_at: number | null;
}

export interface AgnoDatabase {
  memories: AgnoMemory[];
  sessions: AgnoSession[];
}

const MEMORY_COLUMNS = ["memory_id", "user_id", "memory", "topics", "agent_id", "input", "feedback", "created_at", "updated_at"];
const SESSION_COLUMNS = [
  "session_id",
  "user_id",
  "session_type",
  "agent_id",
  "session_data",
  "summary",
  "runs",
  "created_at",
  "updated_at",
];
const TIMES = new Set(["created_at", "updated_at"]);

/** Everything there is, from one snapshot. Throws Problem when it is no database of Agno's. */
export async function readAgno(connectionString: string, schema: string): Promise<AgnoDatabase> {
  const client = new Client({ connectionString, connectionTimeoutMillis: PATIENCE, query_timeout: PATIENCE });
  client.on("error", () => undefined);
  try {
    await client.connect();
    await client.query("begin isolation level repeatable read read only");
    const memories = await readTable<AgnoMemory>(client, schema, "agno_memories", MEMORY_COLUMNS);
    const sessions = await readTable<AgnoSession>(client, schema, "agno_sessions", SESSION_COLUMNS);
    const runs = await readTable<{ session_id: string; run_data: unknown }>(
      client,
      schema,
      "agno_runs",
      ["session_id", "run_data"],
      "run_index",
    );
    if (!memories && !sessions) {
      throw new Problem(`The schema ${schema} has neither agno_memories nor agno_sessions. Name the one Agno writes to with --schema.`);
    }
    return { memories: memories ?? [], sessions: withRuns(sessions ?? [], runs ?? []) };
  } catch (error) {
    throw error instanceof Problem ? error : new Problem(`Agno's database cannot be read: ${(error as Error).message}`);
  } finally {
    await client.end().catch(() => undefined);
  }
}

/** The rows of a table, in a fixed order; null when there is no such table. */
async function readTable<Row>(client: Client, schema: string, table: string, wanted: string[], orderBy?: string): Promise<Row[] | null> {
  const { rows: found } = await client.query<{ column_name: string }>(
    "select column_name from information_schema.columns where table_schema = $1 and table_name = $2",
    [schema, table],
  );
  const columns = new Set(found.map(({ column_name }) => column_name));
  if (columns.size === 0) {
    return null;
  }
  const list = wanted.map((column) => {
    const name = client.escapeIdentifier(column);
    return !columns.has(column) ? `null as ${name}` : TIMES.has(column) ? `${name}::float8 as ${name}` : name;
  });
  const order = [orderBy, "created_at", wanted[0]].filter((column) => column !== undefined && columns.has(column));
  const { rows } = await client.query(
    `select ${list.join(", ")} from ${client.escapeIdentifier(schema)}.${client.escapeIdentifier(table)} order by ${order.join(", ")}`,
  );
  return rows as Row[];
}

function withRuns(sessions: AgnoSession[], runs: { session_id: string; run_data: unknown }[]): AgnoSession[] {
  const bySession = Map.groupBy(runs, ({ session_id }) => session_id);
  return sessions.map((session) => {
    const own = bySession.get(session.session_id);
    return own ? { ...session, runs: own.map(({ run_data }) => run_data) } : session;
  });
}
