/**
 * A database of its own for each test file: a copied folder of the embedded one, or with DATABASE_URL a new database on
 * that Postgres server. Both start from a template that the run's global set-up makes once.
 */

import { createHash, randomUUID } from "node:crypto";
import { cp, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { Client } from "pg";
import type { DatabaseOptions } from "../../src/stores/open-database.ts";

/** The Postgres server the suite runs against; null: the embedded database. */
export const POSTGRES_URL = process.env.DATABASE_URL || null;

export interface TestDatabase {
  options: DatabaseOptions;
  remove(): Promise<void>;
}

export async function createTestDatabase(): Promise<TestDatabase> {
  if (POSTGRES_URL === null) {
    const dataDir = await mkdtemp(path.join(tmpdir(), "recollect-test-"));
    await cp(await templateFolder(), dataDir, { recursive: true });
    return { options: { databaseUrl: null, dataDir }, remove: () => rm(dataDir, { recursive: true, force: true }) };
  }
  const name = `recollect_test_${randomUUID().replaceAll("-", "")}`;
  await asOwner(`create database ${name} template ${await templateName()}`);
  return {
    options: { databaseUrl: databaseUrl(name), dataDir: "" },
    remove: () => asOwner(`drop database if exists ${name} with (force)`),
  };
}

/** The same server, another database. */
export function databaseUrl(name: string): string {
  const url = new URL(POSTGRES_URL ?? "postgres://localhost");
  url.pathname = `/${name}`;
  return url.href;
}

/** Runs one statement as the login of DATABASE_URL, outside any test database. */
export async function asOwner(sql: string): Promise<void> {
  const client = new Client({ connectionString: databaseUrl("postgres"), connectionTimeoutMillis: 5_000 });
  await client.connect();
  try {
    await client.query(sql);
  } finally {
    await client.end();
  }
}

export async function templateFolder(): Promise<string> {
  return fileURLToPath(new URL(`../../node_modules/.cache/recollect/template-${await schemaHash()}`, import.meta.url));
}

export async function templateName(): Promise<string> {
  return `recollect_template_${await schemaHash()}`;
}

/** Changes with the schema and with the embedded database's version. */
async function schemaHash(): Promise<string> {
  const files = ["../../src/stores/migrations/0001-initial.ts", "../../src/stores/migrations/list.ts", "../../package-lock.json"];
  const hash = createHash("sha256");
  for (const file of files) {
    hash.update(await readFile(new URL(file, import.meta.url)));
  }
  return hash.digest("hex").slice(0, 16);
}
