/** `npm run keys -- create --user ada`: API keys, made, listed and revoked by whoever runs the server, also while it runs. */

import { existsSync } from "node:fs";
import path from "node:path";
import { parseArgs } from "node:util";
import { checkText, userId } from "./agent/input.ts";
import { type Config, loadConfig } from "./config.ts";
import { AppError } from "./errors.ts";
import { makeApiKey } from "./identity/api-keys.ts";
import type { Scope } from "./identity/identity.ts";
import { answerKeyCommand, type KeyCommand, type ListedKey } from "./stores/api-keys.ts";
import { askHolder } from "./stores/folder-lock.ts";
import { openDatabase } from "./stores/open-database.ts";

const USAGE = `Say what to do:
  npm run keys -- create --user <id> [--name <text>] [--expires <when>]   a key that acts for one user
  npm run keys -- create --service [--name <text>] [--expires <when>]     one that acts for any user it names
  npm run keys -- create --admin [--name <text>] [--expires <when>]       as --service, and sees how the server is doing
  npm run keys -- list
  npm run keys -- revoke <id of the key>
<when> is a day or time such as 2027-01-31 or 2027-01-31T12:00:00Z, or how long from now: 90d, 12h, 30m.`;

const UNITS: Record<string, number> = { d: 86_400_000, h: 3_600_000, m: 60_000 };
const LONGEST_NAME = 200;

try {
  await main(process.argv.slice(2));
} catch (error) {
  const expected = error instanceof AppError || (error as NodeJS.ErrnoException).code?.startsWith("ERR_PARSE_ARGS");
  process.stderr.write(`${expected && error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}

async function main([action, ...words]: string[]): Promise<void> {
  const config = loadConfig(process.env);
  switch (action) {
    case "create":
      return create(words, config);
    case "list":
      print(await ask({ do: "list" }, config));
      return;
    case "revoke": {
      const [keyId = ""] = words;
      const [key] = await ask({ do: "revoke", keyId }, config);
      if (!key) {
        throw new AppError("NOT_FOUND", "There is no key with this id. Look it up with: npm run keys -- list");
      }
      process.stderr.write(`Revoked. Nobody gets in with it any more; connections it opened end within 2 s.\n`);
      return;
    }
    default:
      throw new AppError("BAD_USER_INPUT", USAGE);
  }
}

/** Prints the key alone on standard output, so that it can be passed on without being seen. */
async function create(words: string[], config: Config): Promise<void> {
  const { values } = parseArgs({
    args: words,
    options: {
      user: { type: "string" },
      service: { type: "boolean" },
      admin: { type: "boolean" },
      name: { type: "string" },
      expires: { type: "string" },
    },
  });
  const scopes = (["user", "service", "admin"] as const).filter((scope) => values[scope] !== undefined);
  const [scope] = scopes;
  if (!scope || scopes.length > 1) {
    throw new AppError("BAD_USER_INPUT", `Say whom the key acts for: one of --user <id>, --service and --admin.\n${USAGE}`);
  }
  const { keyId, token, secretHash } = makeApiKey();
  const subject = subjectOf(scope, values.user);
  const name = values.name === undefined ? null : checkText(values.name, "--name").slice(0, LONGEST_NAME);
  const expiresAt = values.expires === undefined ? null : timeOf(values.expires).toISOString();
  await ask({ do: "create", keyId, secretHash, scope, subject, name, expiresAt }, config);
  const whom = subject === null ? `of scope ${scope}` : `for the user ${subject}`;
  process.stderr.write(`Key ${keyId} ${whom}${expiresAt === null ? "" : `, good until ${expiresAt}`}. It is shown this once:\n`);
  process.stdout.write(`${token}\n`);
  if (!config.authentication.keys) {
    process.stderr.write("The server does not ask for keys yet. Start it with AUTH=keys.\n");
  }
}

function subjectOf(scope: Scope, user: string | undefined): string | null {
  return scope === "user" ? userId(user ?? "", "--user") : null;
}

/** Throws BAD_USER_INPUT for what is no time, or over. */
function timeOf(text: string): Date {
  const [, count, unit = ""] = /^(\d{1,5})([dhm])$/.exec(text) ?? [];
  const time = new Date(count === undefined ? text : Date.now() + Number(count) * (UNITS[unit] ?? 0));
  if (Number.isNaN(time.getTime()) || time.getTime() <= Date.now()) {
    throw new AppError("BAD_USER_INPUT", "--expires must be a time to come, such as 2027-01-31, or how long from now: 90d, 12h, 30m.");
  }
  return time;
}

async function ask(command: KeyCommand, { databaseUrl, dataDir }: Config): Promise<ListedKey[]> {
  if (databaseUrl === null && existsSync(dataDir)) {
    // A running server has the folder, and carries it out.
    const answer = await askHolder(path.resolve(dataDir), JSON.stringify(command));
    if (answer !== null) {
      const { rows, error } = JSON.parse(answer) as { rows?: ListedKey[]; error?: string };
      if (rows === undefined) {
        throw new AppError("SERVICE_UNAVAILABLE", error ?? "The server that has the folder gave no answer. Try again.");
      }
      return rows;
    }
  }
  const database = await openDatabase({ databaseUrl, dataDir });
  try {
    return await answerKeyCommand(database, command);
  } finally {
    await database.close();
  }
}

function print(keys: ListedKey[]): void {
  for (const { id, scope, subject, name, state, created_at, expires_at, last_used_at } of keys) {
    const whom = subject === null ? scope : `user ${subject}`;
    const times = [`made ${created_at}`, expires_at && `expires ${expires_at}`, last_used_at ? `used ${last_used_at}` : "never used"];
    process.stdout.write(`${id}  ${state.padEnd(7)}  ${whom}${name === null ? "" : `  "${name}"`}  ${times.filter(Boolean).join(", ")}\n`);
  }
  process.stdout.write(`${keys.length} ${keys.length === 1 ? "key" : "keys"}\n`);
}
