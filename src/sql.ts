/** `npm run sql -- "SELECT * FROM agno_memories"`: the embedded folder's tables as a person sees them. */

import { existsSync } from "node:fs";
import path from "node:path";
import { loadConfig } from "./config.ts";
import { AppError } from "./errors.ts";
import { askHolder } from "./stores/folder-lock.ts";
import { openDatabase } from "./stores/open-database.ts";

interface Answer {
  rows?: Record<string, unknown>[];
  error?: string;
}

try {
  const sql = process.argv.slice(2).join(" ").trim();
  if (sql === "") {
    throw new AppError("BAD_USER_INPUT", 'Say what to ask: npm run sql -- "SELECT * FROM agno_memories"');
  }
  const { rows, error } = await ask(sql);
  if (error !== undefined) {
    throw new AppError("BAD_USER_INPUT", error);
  }
  print(rows ?? []);
} catch (error) {
  process.stderr.write(`${error instanceof AppError ? error.message : String(error)}\n`);
  process.exitCode = 1;
}

async function ask(sql: string): Promise<Answer> {
  const { databaseUrl, dataDir } = loadConfig(process.env);
  if (databaseUrl !== null) {
    throw new AppError("BAD_USER_INPUT", "DATABASE_URL names a Postgres server: ask it with psql.");
  }
  // A running server has the folder, and answers for it.
  const answer = existsSync(dataDir) ? await askHolder(path.resolve(dataDir), sql) : null;
  if (answer !== null) {
    return JSON.parse(answer) as Answer;
  }
  const database = await openDatabase({ databaseUrl, dataDir });
  try {
    return { rows: await database.inspect(sql) };
  } catch (error) {
    return { error: error instanceof Error ? error.message : String(error) };
  } finally {
    await database.close();
  }
}

/** One block a row, one line a column: memories are too long for a table. */
function print(rows: Record<string, unknown>[]): void {
  const width = Math.max(0, ...rows.flatMap((row) => Object.keys(row).map((column) => column.length)));
  for (const [index, row] of rows.entries()) {
    const lines = Object.entries(row).map(([column, value]) => `${column.padEnd(width)} | ${text(value)}`);
    process.stdout.write(`─ ${index + 1} ${"─".repeat(width)}\n${lines.join("\n")}\n`);
  }
  process.stdout.write(`${rows.length} ${rows.length === 1 ? "row" : "rows"}\n`);
}

function text(value: unknown): string {
  if (value === null) {
    return "";
  }
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}
