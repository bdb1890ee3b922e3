/**
 * Pieces of replies in Redis: a stream for each run, an entry for each time something is written, named by the number of its
 * last event. An entry is taken only if the stream still ends where its writer left it, so that nothing is written twice,
 * after a loss, or once somebody else has ended the run.
 */

import { createHash } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { Log, PieceProbe } from "../agent/ports.ts";
import type { UserId } from "../agent/types.ts";
import { AppError } from "../errors.ts";
import type { UnnumberedEvent } from "../events/event-store.ts";
import { type Client, loadClient, redisError } from "./redis-client.ts";

export interface RunName {
  userId: UserId;
  runId: string;
}

/** Pieces of one run, the first of them numbered `after` + 1. */
export interface Entry {
  after: number;
  pieces: UnnumberedEvent[];
}

/** "ended": by somebody else. "lost": Redis has lost what came before. "failed": nobody knows whether it is stored. */
export type AppendOutcome = "stored" | "ended" | "lost" | "failed";

export interface PieceStreams {
  /** Begins streams, without waiting: whether that worked shows with the first entry. */
  begin(runs: (RunName & { after: number })[]): void;
  /** Never throws. */
  append(entries: (RunName & Entry)[]): Promise<AppendOutcome[]>;
  /** Entries with events after `after`, at most `limit`, oldest first. Throws SERVICE_UNAVAILABLE. */
  read(run: RunName, after: number, limit: number): Promise<Entry[]>;
  /** Each stream's last number; 0 where there is none. Throws SERVICE_UNAVAILABLE. */
  ends(runs: RunName[]): Promise<number[]>;
  /** From here on nothing is added. What there is; null when the stream is not, or no longer, there. Throws SERVICE_UNAVAILABLE. */
  end(run: RunName): Promise<Entry[] | null>;
  /** Keeps the stream of a run whose end is stored for those only who read it now. Throws SERVICE_UNAVAILABLE. */
  expire(run: RunName): Promise<void>;
  /** Removes what there is; nothing is added from here on. Throws SERVICE_UNAVAILABLE. */
  remove(runs: RunName[]): Promise<void>;
  /** Waits for Redis to answer, at most so many milliseconds. */
  answers(milliseconds: number): Promise<boolean>;
  close(): void;
}

export interface RedisOptions {
  url: string;
  /** Sets this database's keys apart from those of others on the same Redis. */
  database: string;
}

/** Redis is worth no longer wait (ms): Postgres takes the pieces instead. After a failure it is left alone for a while. */
const ANSWER_DEADLINE = 1_000;
const REST = 2_000;
const CONNECT_DEADLINE = 5_000;
const LONGEST_RETRY_DELAY = 2_000;
const LOOK_INTERVAL = 200;
/** How long a stream is kept after its last entry, and after its run has ended (s). */
const KEPT = 7 * 86_400;
const KEPT_ENDED = 3_600;
/** The entry after which none can come. */
const END = "9007199254740991-0";

/** Gives OK, or where the stream ends instead of at the expected entry ('' for no stream). */
const APPEND = `local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
local top = last[1] and last[1][1] or ''
if top ~= ARGV[1] then return top end
redis.call('XADD', KEYS[1], ARGV[2], 'pieces', ARGV[3])
redis.call('EXPIRE', KEYS[1], ARGV[4])
return 'OK'`;

type Command = [name: string, ...words: (string | number)[]];
type StreamRow = [id: string, fields: string[]];

/** Connects, and tries whether this login may do what is needed. Throws SERVICE_UNAVAILABLE with the remedy. */
export async function openRedisStreams({ url, database }: RedisOptions, log: Log): Promise<PieceStreams & PieceProbe> {
  const Redis = await loadClient();
  const client = new Redis(url, {
    lazyConnect: true,
    connectTimeout: CONNECT_DEADLINE,
    commandTimeout: ANSWER_DEADLINE,
    // A connection on which nothing comes back is given up, and made anew.
    socketTimeout: 5 * ANSWER_DEADLINE,
    // What could not be sent, or was not answered, goes to Postgres: it must not reach Redis later on.
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    retryStrategy: (times: number) => Math.min(100 * times, LONGEST_RETRY_DELAY),
    protocol: 2,
    connectionName: "recollect",
  });
  const streams = new RedisStreams(client, url, `recollect:${hash(database)}`, log);
  try {
    await streams.start();
  } catch (error) {
    streams.close();
    throw error;
  }
  return streams;
}

class RedisStreams implements PieceStreams, PieceProbe {
  readonly #client: Client;
  readonly #url: string;
  readonly #prefix: string;
  readonly #log: Log;
  /** The last thing the connection complained of. */
  #complaint: unknown = null;
  #failure: { error: AppError; at: number } | null = null;
  #serving = false;

  constructor(client: Client, url: string, prefix: string, log: Log) {
    this.#client = client;
    this.#url = url;
    this.#prefix = prefix;
    this.#log = log;
    // Without a listener it would be printed, secrets and all.
    client.on("error", (error: unknown) => {
      this.#complaint = error;
    });
  }

  async start(): Promise<void> {
    try {
      await within(this.#client.connect(), CONNECT_DEADLINE);
    } catch (error) {
      throw redisError(this.#url, this.#complaint ?? error);
    }
    const failure = await this.failure();
    if (failure) {
      throw failure;
    }
    this.#serving = true;
  }

  begin(runs: (RunName & { after: number })[]): void {
    this.#send(runs.map((run) => this.#appending(run, "", `${run.after}-0`, []))).catch(() => undefined);
  }

  async append(entries: (RunName & Entry)[]): Promise<AppendOutcome[]> {
    try {
      const tops = await this.#send(
        entries.map((entry) => this.#appending(entry, `${entry.after}-0`, `${entry.after + entry.pieces.length}-0`, entry.pieces)),
      );
      return tops.map((top) => (top === "OK" ? "stored" : top === END ? "ended" : "lost"));
    } catch {
      return entries.map(() => "failed");
    }
  }

  async read(run: RunName, after: number, limit: number): Promise<Entry[]> {
    const [rows] = await this.#send([["xrange", this.#key(run), `${after + 1}-0`, "+", "COUNT", limit]]);
    return toEntries(rows as StreamRow[]);
  }

  async ends(runs: RunName[]): Promise<number[]> {
    // Two, because the last one may be the end.
    const answers = await this.#send(runs.map((run) => ["xrevrange", this.#key(run), "+", "-", "COUNT", 2]));
    return answers.map((rows) => toEntries(rows as StreamRow[]).reduce((last, entry) => Math.max(last, lastOf(entry)), 0));
  }

  async end(run: RunName): Promise<Entry[] | null> {
    const key = this.#key(run);
    const [, , rows] = await this.#send([...ending(key, KEPT), ["xrange", key, "-", "+"]]);
    const entries = toEntries(rows as StreamRow[]);
    return entries.length > 0 ? entries : null;
  }

  async expire(run: RunName): Promise<void> {
    await this.#send([["expire", this.#key(run), KEPT_ENDED]]);
  }

  async remove(runs: RunName[]): Promise<void> {
    const keys = runs.map((run) => this.#key(run));
    await this.#send(keys.flatMap((key) => [["del", key] satisfies Command, ...ending(key, KEPT_ENDED)]));
  }

  async answers(milliseconds: number): Promise<boolean> {
    for (const end = performance.now() + milliseconds; ; await sleep(LOOK_INTERVAL)) {
      if ((await this.failure()) === null) {
        return true;
      }
      if (performance.now() > end) {
        return false;
      }
    }
  }

  failure(): Promise<AppError | null> {
    // Not a PING: a full disk or memory answers that.
    const trial = { userId: "" as UserId, runId: "trial" };
    return this.#ask([["del", this.#key(trial)], this.#appending(trial, "", "1-0", [])]).then(
      () => null,
      (error: AppError) => error,
    );
  }

  close(): void {
    this.#client.disconnect();
  }

  /** As `#ask`, but for a while after a failure nothing is asked. */
  async #send(commands: Command[]): Promise<unknown[]> {
    if (this.#failure && performance.now() - this.#failure.at < REST) {
      throw this.#failure.error;
    }
    return this.#ask(commands);
  }

  /** The answers, in order. Throws SERVICE_UNAVAILABLE when one of them is missing or an error. */
  async #ask(commands: Command[]): Promise<unknown[]> {
    const pipeline = this.#client.pipeline(commands);
    try {
      const results = await within(pipeline.exec(), ANSWER_DEADLINE);
      const answers = (results ?? []).map(([error, answer]) => {
        // The end of a stream that has one already.
        if (error && !/smaller than the target/.test(error.message)) {
          throw error;
        }
        return answer;
      });
      if (this.#failure) {
        this.#failure = null;
        this.#log.info({}, "Redis takes the pieces of replies again");
      }
      return answers;
    } catch (cause) {
      const error = redisError(this.#url, cause);
      if (!this.#failure && this.#serving) {
        this.#log.warn({ reason: error.message }, "Redis failed; the pieces of replies go to Postgres until it is back");
      }
      this.#failure = { error, at: performance.now() };
      throw error;
    }
  }

  #appending(run: RunName, top: string, id: string, pieces: UnnumberedEvent[]): Command {
    return ["eval", APPEND, 1, this.#key(run), top, id, JSON.stringify(pieces), KEPT];
  }

  #key({ userId, runId }: RunName): string {
    return `${this.#prefix}:${hash(userId)}:${runId}`;
  }
}

function ending(key: string, seconds: number): Command[] {
  return [
    ["xadd", key, END, "pieces", "[]"],
    ["expire", key, seconds],
  ];
}

/** Without the mark of the end; what begins a stream is an entry with nothing in it. */
function toEntries(rows: StreamRow[]): Entry[] {
  return rows
    .filter(([id]) => id !== END)
    .map(([id, fields]) => {
      const pieces = (JSON.parse(fields[1] ?? "[]") as (UnnumberedEvent & { at: string })[]).map((piece) => ({
        ...piece,
        at: new Date(piece.at),
      }));
      return { after: Number.parseInt(id, 10) - pieces.length, pieces };
    });
}

function lastOf({ after, pieces }: Entry): number {
  return after + pieces.length;
}

function hash(text: string): string {
  return createHash("sha256").update(text).digest("base64url").slice(0, 16);
}

async function within<T>(work: Promise<T>, milliseconds: number): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Error("no answer in time")), milliseconds);
  return Promise.race([work, late.promise]).finally(() => clearTimeout(timer));
}
