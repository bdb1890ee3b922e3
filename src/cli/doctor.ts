/** `recollect doctor`: what is missing and what to do about it, with the server up or down. */

import { statfs } from "node:fs/promises";
import path from "node:path";
import { Client } from "pg";
import { type Config, ConfigError, loadConfig } from "../config.ts";
import { type Connection, Problem } from "./connection.ts";
import { print, printJson } from "./output.ts";

/** How long a server that is tried may take (ms). */
const PATIENCE = 5_000;
const LITTLE_ROOM = 500 * 1024 * 1024;

interface Finding {
  /** What was looked at. */
  about: string;
  state: "ok" | "warning" | "error";
  message: string;
  /** What to do; null when nothing is to be done. */
  fix: string | null;
}

/** Prints every finding. True when none is an error. */
export async function examine(connection: Connection, environment: NodeJS.ProcessEnv, { json }: { json?: boolean }): Promise<boolean> {
  const findings = (await askServer(connection)) ?? (await lookAround(environment, connection.address));
  if (json) {
    printJson(findings);
  } else {
    for (const { about, state, message, fix } of findings) {
      print(`${state.padEnd(7)}  ${about.padEnd(9)}  ${message}${fix === null ? "" : `\n                    → ${fix}`}`);
    }
  }
  return findings.every(({ state }) => state !== "error");
}

interface Status {
  version: string;
  problems: { severity: "ERROR" | "WARNING"; message: string; fix: string }[];
  models: { role: string; model: string | null; available: boolean; structuredOutput: string | null }[];
  database: { embedded: boolean; available: boolean; version: string | null; vectorSearch: boolean };
  queue: { waiting: number; running: number; failed: number };
}

/** What the server says of itself; null when none answers. */
async function askServer(connection: Connection): Promise<Finding[] | null> {
  let status: Status;
  try {
    ({ serverStatus: status } = await connection.request<{ serverStatus: Status }>(
      `{ serverStatus { version problems { severity message fix } models { role model available structuredOutput }
        database { embedded available version vectorSearch } queue { waiting running failed } } }`,
    ));
  } catch (error) {
    if (error instanceof Problem && error.code === null) {
      return null;
    }
    throw error;
  }
  const { version, problems, models, database, queue } = status;
  const model = (role: string): string => models.find((other) => other.role === role)?.model ?? "none";
  const chat = models.find(({ role }) => role === "CHAT");
  const kind = database.embedded ? "embedded" : "Postgres";
  return [
    fine("server", `version ${version} at ${connection.address}`),
    fine("models", `chat ${model("CHAT")}, memory ${model("MEMORY")}, embeddings ${model("EMBEDDING")}`),
    fine("answers", `structured as ${chat?.structuredOutput ?? "not known yet"}`),
    fine("database", `${kind} ${database.version ?? ""}${database.vectorSearch ? ", with vector search" : ", without a vector extension"}`),
    fine("queue", `${queue.waiting} waiting, ${queue.running} under way, ${queue.failed} given up`),
    ...problems.map(
      ({ severity, message, fix }): Finding => ({ about: "problem", state: severity === "ERROR" ? "error" : "warning", message, fix }),
    ),
  ];
}

/** Without a server: what one would find if it were started here. */
async function lookAround(environment: NodeJS.ProcessEnv, address: string): Promise<Finding[]> {
  const server: Finding = {
    about: "server",
    state: "error",
    message: `none answers at ${address}`,
    fix: "Start one with: npm start. One at another address is named by RECOLLECT_URL or --url.",
  };
  let config: Config;
  try {
    config = loadConfig(environment);
  } catch (error) {
    const faults = error instanceof ConfigError ? error.faults : [String(error)];
    return [
      server,
      ...faults.map(
        (fault): Finding => ({ about: "settings", state: "error", message: fault, fix: "Set it right; the README lists all settings." }),
      ),
    ];
  }
  const { databaseUrl, dataDir, openaiBaseUrl, openaiApiKey } = config;
  const found = await Promise.all([
    databaseUrl === null ? tryFolder(dataDir) : tryPostgres(databaseUrl),
    tryModels(openaiBaseUrl, openaiApiKey ?? null),
  ]);
  return [server, fine("settings", "can be read"), ...found];
}

async function tryPostgres(connectionString: string): Promise<Finding> {
  const client = new Client({ connectionString, connectionTimeoutMillis: PATIENCE, query_timeout: PATIENCE });
  client.on("error", () => undefined);
  try {
    await client.connect();
    const { rows } = await client.query<{ version: string }>("select current_setting('server_version') as version");
    return fine("database", `Postgres ${rows[0]?.version} answers`);
  } catch (error) {
    return {
      about: "database",
      state: "error",
      message: `the Postgres that DATABASE_URL names does not answer: ${messageOf(error)}`,
      fix: "Start it, or correct DATABASE_URL. Without DATABASE_URL the embedded database serves.",
    };
  } finally {
    await client.end().catch(() => undefined);
  }
}

async function tryFolder(dataDir: string): Promise<Finding> {
  // The folder may not be made yet: its nearest ancestor is on the same disk.
  for (let folder = path.resolve(dataDir); ; folder = path.dirname(folder)) {
    const room = await statfs(folder).then(
      ({ bavail, bsize }) => bavail * bsize,
      () => null,
    );
    if (room !== null || folder === path.dirname(folder)) {
      const free = `${Math.round((room ?? 0) / 1024 / 1024)} MB free for ${dataDir}`;
      return (room ?? 0) >= LITTLE_ROOM
        ? fine("disk", free)
        : { about: "disk", state: "warning", message: free, fix: "Make room, or name a folder on another disk with DATA_DIR." };
    }
  }
}

async function tryModels(baseUrl: string, apiKey: string | null): Promise<Finding> {
  try {
    const headers = apiKey === null ? {} : { authorization: `Bearer ${apiKey}` };
    const response = await fetch(`${baseUrl.replace(/\/+$/, "")}/models`, { headers, signal: AbortSignal.timeout(PATIENCE) });
    if (!response.ok) {
      throw new Error(`it answers with ${response.status}`);
    }
    const { data = [] } = (await response.json()) as { data?: { id: string }[] };
    return fine("models", `${baseUrl} lists ${data.map(({ id }) => id).join(", ") || "no model"}`);
  } catch (error) {
    return {
      about: "models",
      state: "warning",
      message: `no model server answers at ${baseUrl}: ${messageOf(error)}`,
      fix: "Start LM Studio or another OpenAI-compatible server, or set OPENAI_BASE_URL. Until then rules answer.",
    };
  }
}

function fine(about: string, message: string): Finding {
  return { about, state: "ok", message, fix: null };
}

function messageOf(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  return cause instanceof Error ? cause.message || (cause as NodeJS.ErrnoException).code || cause.name : String(cause);
}
