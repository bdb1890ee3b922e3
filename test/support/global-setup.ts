/** Makes the template databases once per schema: a new embedded database takes seconds, a copy of one does not. */

import { access, mkdir, mkdtemp, rename, rm } from "node:fs/promises";
import path from "node:path";
import { Client } from "pg";
import { openDatabase } from "../../src/stores/open-database.ts";
import { databaseUrl, POSTGRES_URL, templateFolder, templateName } from "./database.ts";

export async function setup(): Promise<void> {
  if (POSTGRES_URL === null) {
    await makeTemplateFolder();
  } else {
    await makeTemplateDatabase();
  }
}

async function makeTemplateFolder(): Promise<void> {
  const folder = await templateFolder();
  if (await exists(folder)) {
    return;
  }
  await mkdir(path.dirname(folder), { recursive: true });
  const unfinished = await mkdtemp(`${folder}-`);
  await (await openDatabase({ databaseUrl: null, dataDir: unfinished })).close();
  await rename(unfinished, folder).catch(() => rm(unfinished, { recursive: true, force: true }));
}

async function makeTemplateDatabase(): Promise<void> {
  const name = await templateName();
  const client = new Client({ connectionString: databaseUrl("postgres"), connectionTimeoutMillis: 5_000 });
  await client.connect();
  try {
    const found = await client.query("select 1 from pg_database where datname = $1", [name]);
    if (found.rowCount === 0) {
      await client.query(`create database ${name}_unfinished`);
      await (await openDatabase({ databaseUrl: databaseUrl(`${name}_unfinished`), dataDir: "" })).close();
      await client.query(`alter database ${name}_unfinished rename to ${name}`);
    }
  } finally {
    await client.end();
  }
}

async function exists(folder: string): Promise<boolean> {
  return access(folder).then(
    () => true,
    () => false,
  );
}
