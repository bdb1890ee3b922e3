/**
 * Words between the server processes on one Postgres, by LISTEN and NOTIFY on a connection of its own. A NOTIFY never shares
 * a transaction with anything else: its commit waits for every other one in the database cluster.
 *
 * A process says hello when it connects and when one it knew has fallen silent; whoever hears that answers. While nobody
 * answers, nothing is sent.
 */

import { createHash, randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { Client } from "pg";
import { type Log, PEER_WORDS, type Peers } from "../agent/ports.ts";
import { takeAppRole } from "./connections.ts";

/** How long words may gather before they are sent (ms). */
const GATHER_TIME = 5;
/** Words in one message, of at most 17 bytes each: Postgres takes less than 8,000 bytes. */
const WORDS_PER_MESSAGE = 400;
/** How often the others are told that this process lives, or else the connection is tried; after how long they are forgotten (ms). */
const PING_INTERVAL = 4_000;
const FORGET_AFTER = 15_000;
const CONNECT_DEADLINE = 5_000;
const ANSWER_DEADLINE = 5_000;
/** Delays between two attempts to connect (ms). */
const FIRST_DELAY = 100;
const LONGEST_DELAY = 5_000;

/** What a message is: I have come and would know who is there; I am here; I am going; words. */
type Kind = "hello" | "here" | "bye" | "words";

export class PeerNotifications implements Peers {
  readonly #url: string;
  readonly #log: Log;
  readonly #closing = new AbortController();
  readonly #self = randomUUID().slice(0, 8);
  readonly #listeners: ((word: string) => void)[] = [];
  /** When each of the others was last heard (ms). */
  readonly #lastHeard = new Map<string, number>();
  readonly #words = new Set<string>();
  #connection: { client: Client; channel: string } | null = null;
  #connecting: Promise<void> | null = null;
  #gathering: NodeJS.Timeout | null = null;
  #sending: Promise<void> | null = null;
  #lost = false;
  #lastPing = 0;

  /** Goes on by itself when the connection breaks; `close` ends it. */
  constructor(url: string, log: Log) {
    this.#url = url;
    this.#log = log;
  }

  /** Begins to connect; nothing waits for it. */
  start(): void {
    this.#connecting ??= this.#stayConnected();
  }

  get others(): number {
    return this.#lastHeard.size;
  }

  get listening(): boolean {
    return this.#connection !== null;
  }

  tell(word: string): void {
    if (this.others > 0) {
      this.#words.add(word);
      this.#gathering ??= setTimeout(() => void this.#flush(), GATHER_TIME);
    }
  }

  hear(listener: (word: string) => void): void {
    this.#listeners.push(listener);
  }

  /** Sends what has gathered, says that this process is going, and closes the connection. */
  async close(): Promise<void> {
    if (this.others > 0) {
      await this.#flush();
      await this.#send("bye").catch(() => undefined);
    }
    this.#closing.abort();
    await this.#connecting;
  }

  async #stayConnected(): Promise<void> {
    for (let delay = FIRST_DELAY; !this.#closing.signal.aborted; delay = Math.min(2 * delay, LONGEST_DELAY)) {
      const failure = await this.#serve().catch((error: unknown) => error);
      if (failure === null) {
        delay = FIRST_DELAY;
      }
      if (!this.#closing.signal.aborted) {
        this.#reportLoss(failure);
        await sleep(delay * (0.5 + Math.random() / 2), undefined, { signal: this.#closing.signal }).catch(() => undefined);
      }
    }
  }

  /** Connects and stays until the connection is lost or no longer wanted; null then. Throws when it could not connect. */
  async #serve(): Promise<null> {
    const client = new Client({
      connectionString: this.#url,
      connectionTimeoutMillis: CONNECT_DEADLINE,
      query_timeout: ANSWER_DEADLINE,
      keepAlive: true,
      application_name: "recollect notifications",
    });
    const ended = Promise.withResolvers<void>();
    const end = (): void => ended.resolve();
    client.on("error", end);
    client.on("end", end);
    client.on("notification", ({ payload }) => this.#receive(payload ?? ""));
    this.#closing.signal.addEventListener("abort", end, { once: true });
    try {
      const listening = client.connect().then(() => this.#listen(client));
      await Promise.race([listening, ended.promise]);
      const pinging = setInterval(() => void this.#ping().catch(end), PING_INTERVAL);
      await ended.promise;
      clearInterval(pinging);
      return null;
    } finally {
      this.#closing.signal.removeEventListener("abort", end);
      this.#connection = null;
      this.#lastHeard.clear();
      this.#words.clear();
      void client.end().catch(() => undefined);
    }
  }

  async #listen(client: Client): Promise<void> {
    await takeAppRole((sql) => client.query(sql));
    // A word lost in a power cut is no loss.
    await client.query("set synchronous_commit = off");
    const { rows } = await client.query<{ schema: string | null }>("select current_schema() as schema");
    // Processes may share a database and still have tables of their own.
    const channel = `recollect_${createHash("sha256")
      .update(rows[0]?.schema ?? "")
      .digest("hex")
      .slice(0, 16)}`;
    await client.query(`listen ${channel}`);
    this.#connection = { client, channel };
    await this.#send("hello");
    this.#lastPing = performance.now();
    this.#pass(PEER_WORDS.missed);
    if (this.#lost) {
      this.#lost = false;
      this.#log.info({}, "server processes on this database tell each other again what is new");
    }
  }

  async #ping(): Promise<void> {
    if (performance.now() - this.#lastPing > FORGET_AFTER) {
      // This process was stopped for a while, and forgotten by the others.
      this.#pass(PEER_WORDS.missed);
    }
    this.#lastPing = performance.now();
    const known = this.#lastHeard.size;
    for (const [peer, heard] of this.#lastHeard) {
      if (performance.now() - heard > FORGET_AFTER) {
        this.#lastHeard.delete(peer);
      }
    }
    if (this.#lastHeard.size < known) {
      // One that died may have taken words with it.
      this.#pass(PEER_WORDS.missed);
      await this.#send("hello");
    } else if (known > 0) {
      await this.#send("here");
    } else {
      await this.#connection?.client.query("select 1");
    }
  }

  #receive(payload: string): void {
    const [sender = "", kind, ...words] = payload.split(" ") as [string?, Kind?, ...string[]];
    if (sender === this.#self || kind === undefined) {
      return;
    }
    if (kind === "bye") {
      this.#lastHeard.delete(sender);
      return;
    }
    const known = this.#lastHeard.has(sender);
    this.#lastHeard.set(sender, performance.now());
    if (!known || kind === "hello") {
      // What it wrote while it knew nobody was told to nobody.
      this.#pass(PEER_WORDS.missed);
    }
    if (!known) {
      // And what was written here before it was known.
      this.tell(PEER_WORDS.missed);
    }
    if (kind === "hello") {
      // A connection that cannot answer is found at its next ping.
      this.#send("here").catch(() => undefined);
    }
    for (const word of words) {
      this.#pass(word);
    }
  }

  #pass(word: string): void {
    for (const listener of this.#listeners) {
      listener(word);
    }
  }

  /** One at a time: what comes up meanwhile goes together. */
  async #flush(): Promise<void> {
    await this.#sending;
    if (this.#gathering) {
      clearTimeout(this.#gathering);
      this.#gathering = null;
    }
    const words = [...this.#words];
    this.#words.clear();
    this.#sending = this.#sendWords(words).catch(() => this.tell(PEER_WORDS.missed));
    await this.#sending;
  }

  async #sendWords(words: string[]): Promise<void> {
    for (let start = 0; start < words.length; start += WORDS_PER_MESSAGE) {
      await this.#send("words", words.slice(start, start + WORDS_PER_MESSAGE));
    }
  }

  async #send(kind: Kind, words: string[] = []): Promise<void> {
    if (this.#connection) {
      const { client, channel } = this.#connection;
      await client.query("select pg_notify($1, $2)", [channel, [this.#self, kind, ...words].join(" ")]);
    }
  }

  #reportLoss(failure: unknown): void {
    if (!this.#lost) {
      this.#lost = true;
      this.#log.warn(
        { err: failure ?? undefined },
        "the connection for notifications is lost; other server processes are followed once a second until it is back",
      );
    }
  }
}
