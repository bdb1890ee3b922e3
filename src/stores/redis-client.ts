/** The client of Redis, a package that only those need to have who set REDIS_URL, and what its errors mean. */

import { AppError } from "../errors.ts";

/** What is used of it. The package's own types would be needed to compile this server, also by those who do without. */
export interface Client {
  connect(): Promise<void>;
  pipeline(commands: readonly (readonly (string | number)[])[]): { exec(): Promise<[Error | null, unknown][] | null> };
  on(event: "error", listener: (error: unknown) => void): void;
  disconnect(): void;
}

type ClientClass = new (url: string, options: Record<string, unknown>) => Client;

const PACKAGE: string = "ioredis";

/** Throws SERVICE_UNAVAILABLE with the remedy when the package is not installed. */
export async function loadClient(): Promise<ClientClass> {
  try {
    const { Redis } = (await import(PACKAGE)) as { Redis: ClientClass };
    return Redis;
  } catch (cause) {
    const remedy = "Run npm install --include=optional, or leave REDIS_URL out.";
    throw new AppError("SERVICE_UNAVAILABLE", `REDIS_URL is set, and the package ${PACKAGE} is not installed. ${remedy}`, { cause });
  }
}

/** Error words of Redis, and what to do. */
const REMEDIES: [RegExp, string][] = [
  [/^(WRONGPASS|NOAUTH|ERR invalid password|ERR AUTH)/, "refuses this login. Check the user and password in REDIS_URL."],
  [/^NOPERM/, "forbids this login what is needed. Allow it EVAL, XADD, XRANGE, XREVRANGE, EXPIRE and DEL on keys recollect:*."],
  [/^READONLY/, "is a replica, which takes nothing. Name the primary in REDIS_URL."],
  [/^OOM/, "has no memory left. Raise its maxmemory."],
  [/^MISCONF/, "cannot write to its disk and takes nothing. Look at its log."],
  [/^(LOADING|BUSY|MASTERDOWN|TRYAGAIN|CLUSTERDOWN)/, "is busy with itself. Wait a moment, and look at its log if that lasts."],
  [/^(ERR DB index|ERR invalid DB)/, "has no database of that number. Mend the end of REDIS_URL, such as /0."],
];

/**
 * An error of the client as one that may be shown and logged. The client's own is not kept as its cause: it holds the
 * command, with passwords or with what users read.
 */
export function redisError(url: string, cause: unknown): AppError {
  const { hostname, port } = new URL(url);
  const { message, code, name } = (cause ?? {}) as { message?: string; code?: string; name?: string };
  const found = REMEDIES.find(([words]) => words.test(message ?? ""));
  const answered = name === "ReplyError";
  const why = code ?? (answered ? /^\w+/.exec(message ?? "")?.[0] : undefined);
  const advice =
    found?.[1] ??
    (answered
      ? `answers with an error${why ? ` (${why})` : ""}. It has to be Redis 5 or newer, or speak its language; look at its log.`
      : `does not answer${why ? ` (${why})` : ""}. Start it, or correct REDIS_URL, or leave that out.`);
  return new AppError("SERVICE_UNAVAILABLE", `Redis at ${hostname}:${port || 6379} ${advice}`);
}
