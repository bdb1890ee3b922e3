/** Opens the database the configuration names and brings its schema up to date. */

import { MikroORM as AnyOrm } from "@mikro-orm/core";
import { Migrator } from "@mikro-orm/migrations";
import { PgliteDriver } from "@mikro-orm/pglite";
import { PostgreSqlDriver } from "@mikro-orm/postgresql";
import type { MikroORM } from "@mikro-orm/sql";
import { CompiledQuery } from "kysely";
import { Client } from "pg";
import { AppError } from "../errors.ts";
import { step } from "../step.ts";
import { answerKeyCommand, readKeyCommand } from "./api-keys.ts";
import { embeddedConnections, poolConnections, takeAppRole } from "./connections.ts";
import { Database } from "./database.ts";
import { databaseError } from "./database-error.ts";
import { openEmbedded } from "./embedded.ts";
import { ENTITIES } from "./entities.ts";
import { MIGRATIONS } from "./migrations/list.ts";

export interface DatabaseOptions {
  /** A postgres:// URL; null: the embedded database in `dataDir`. */
  databaseUrl: string | null;
  dataDir: string;
}

const MIGRATION_TABLE = "recollect_migrations";
/** Key of the advisory lock that lets one process migrate at a time: "recollect" in bytes, cut to 48 bits. */
const MIGRATION_LOCK = 125_779_819_292_515;
const CONNECT_DEADLINE = 5_000;
/** How long another process may take to migrate (ms). */
const LOCK_DEADLINE = 60_000;

type Run = (sql: string, values?: unknown[]) => Promise<{ rows: Record<string, unknown>[] }>;

/** Throws SERVICE_UNAVAILABLE, CONFLICT (folder in use) or BAD_USER_INPUT (a database that cannot serve), each with the remedy. */
export function openDatabase(options: DatabaseOptions): Promise<Database> {
  return options.databaseUrl === null ? openEmbeddedDatabase(options.dataDir) : openPostgres(options.databaseUrl);
}

async function openEmbeddedDatabase(dataDir: string): Promise<Database> {
  const pglite = await openEmbedded(dataDir);
  const driver = { driver: PgliteDriver, dbName: "postgres", driverOptions: { pglite } };
  try {
    await migrateWhenNeeded((sql, values) => pglite.query(sql, values), driver);
    await takeAppRole((sql) => pglite.query(sql));
    const database = new Database(await createOrm(driver), embeddedConnections(pglite), true);
    pglite.onQuestion((question) => answerQuestion(database, question));
    return database;
  } catch (error) {
    await pglite.close();
    throw error;
  }
}

async function openPostgres(url: string): Promise<Database> {
  const driver = { driver: PostgreSqlDriver, clientUrl: url, driverOptions: { connectionTimeoutMillis: CONNECT_DEADLINE } };
  const owner = new Client({ connectionString: url, connectionTimeoutMillis: CONNECT_DEADLINE, application_name: "recollect migrations" });
  // A connection that breaks is reported by the query under way; without a listener it would end the process.
  owner.on("error", () => undefined);
  try {
    await owner.connect();
    await owner.query(`set lock_timeout = ${LOCK_DEADLINE}`);
    await owner.query("select pg_advisory_lock($1)", [MIGRATION_LOCK]).catch(explainLock);
    await migrateWhenNeeded((sql, values) => owner.query(sql, values), driver);
  } catch (error) {
    throw databaseError(error);
  } finally {
    // Closing the session gives the lock back.
    await owner.end().catch(() => undefined);
  }
  // Statements only ever run on the pool's connections: the ORM's own stay closed, and would have the role too.
  const orm = await createOrm({ ...driver, onCreateConnection: (connection) => takeAppRole((sql) => execute(connection, sql)) });
  const database = new Database(orm, poolConnections(url), false);
  await database
    .asWorker((transaction) => transaction.query("select 1"))
    .catch(async (error: unknown) => {
      await database.close();
      throw error;
    });
  return database;
}

interface OrmOptions {
  driver: typeof PgliteDriver | typeof PostgreSqlDriver;
  onCreateConnection?: (connection: unknown) => Promise<void>;
  [option: string]: unknown;
}

async function createOrm(options: OrmOptions): Promise<MikroORM> {
  const settings = {
    ...options,
    entities: ENTITIES,
    extensions: [Migrator],
    // Columns are snake_case of the properties; statements may hold users' text, so the ORM logs nothing.
    debug: false,
    logger: () => undefined,
    migrations: { tableName: MIGRATION_TABLE, migrationsList: MIGRATIONS, snapshot: false, disableForeignKeys: false },
  };
  // The two drivers' option types exclude each other; what is used here is common to both.
  return (await AnyOrm.init(settings as unknown as Parameters<typeof AnyOrm.init>[0])) as unknown as MikroORM;
}

function execute(connection: unknown, sql: string): Promise<unknown> {
  return (connection as { executeQuery(query: CompiledQuery): Promise<unknown> }).executeQuery(CompiledQuery.raw(sql));
}

async function migrateWhenNeeded(run: Run, driver: OrmOptions): Promise<void> {
  await checkServerVersion(run);
  const executed = await executedMigrations(run);
  const known = new Set(MIGRATIONS.map((migration) => migration.name));
  const unknown = executed.filter((name) => !known.has(name));
  if (unknown.length > 0) {
    throw new AppError(
      "BAD_USER_INPUT",
      `The database was migrated by a newer version of this server (${unknown.join(", ")}). Start that version.`,
    );
  }
  if (executed.length === known.size) {
    return;
  }
  if (executed.length === 0) {
    await refuseForeignTables(run);
  }
  const orm = await createOrm(driver);
  try {
    step("migrating");
    await orm.migrator.up();
    step("migrated");
  } finally {
    await orm.close();
  }
}

function explainLock(cause: unknown): never {
  const message = "Another server has been bringing this database's schema up to date for a minute. Look what keeps it, then start again.";
  throw (cause as { code?: string }).code === "55P03" ? new AppError("SERVICE_UNAVAILABLE", message, { cause }) : cause;
}

async function checkServerVersion(run: Run): Promise<void> {
  const { rows } = await run("select current_setting('server_version_num')::int as version");
  const version = Number(rows[0]?.version);
  if (version < 150_000) {
    throw new AppError("BAD_USER_INPUT", `DATABASE_URL names Postgres ${Math.floor(version / 10_000)}; this server needs 15 or newer.`);
  }
}

async function executedMigrations(run: Run): Promise<string[]> {
  const { rows } = await run("select to_regclass($1)::text as name", [MIGRATION_TABLE]);
  if (!rows[0]?.name) {
    return [];
  }
  return (await run(`select name from ${MIGRATION_TABLE}`)).rows.map((row) => String(row.name));
}

/** Agno makes tables of the same names and another shape; changing somebody's data unasked is not for us. */
async function refuseForeignTables(run: Run): Promise<void> {
  const { rows } = await run("select to_regclass('agno_memories')::text as memories, to_regclass('agno_sessions')::text as sessions");
  const found = [rows[0]?.memories, rows[0]?.sessions].filter(Boolean);
  if (found.length > 0) {
    throw new AppError(
      "BAD_USER_INPUT",
      `DATABASE_URL names a database that already has ${found.join(" and ")}, not made by this server. Name an empty database.`,
    );
  }
}

/** Answers `npm run sql` and `npm run keys` while the server has the folder. */
async function answerQuestion(database: Database, question: string): Promise<string> {
  const command = readKeyCommand(question);
  return database.inBackground(() =>
    (command ? answerKeyCommand(database, command) : database.inspect(question)).then(
      (rows) => JSON.stringify({ rows }, (_, value: unknown) => (typeof value === "bigint" ? String(value) : value)),
      (error: unknown) => JSON.stringify({ error: error instanceof Error ? error.message : String(error) }),
    ),
  );
}
