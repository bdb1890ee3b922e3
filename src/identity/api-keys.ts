/** API keys: random, shown once, stored as a hash. */

import { createHash, randomBytes } from "node:crypto";
import type { Log } from "../agent/ports.ts";
import type { UserId } from "../agent/types.ts";
import { AppError } from "../errors.ts";
import type { Access, Identity, Scope } from "./identity.ts";

/** A key that is good at this moment. */
export interface ApiKey {
  keyId: string;
  scope: Scope;
  /** Whom it acts for; null unless the scope is `user`. */
  userId: UserId | null;
}

/** Where keys are looked up. */
export interface ApiKeyStore {
  /** The key with this hash, unless it has expired or is revoked; null then. Notes that it was used. */
  find(secretHash: string): Promise<ApiKey | null>;
  /** Which of these keys are not good any more. */
  ended(keyIds: readonly string[]): Promise<string[]>;
}

/** What a key is: `rk_`, its id, and 256 random bits. The id is no secret: it tells which key to revoke when one turned up in a log. */
const FORM = /^rk_[0-9a-f]{16}_[A-Za-z0-9_-]{43}$/;
const PREFIX = "rk_";
/** How often the keys of open connections are looked at (ms). */
const LOOK_EVERY = 1_000;

export function isApiKey(token: string): boolean {
  return token.startsWith(PREFIX);
}

/** A new key. `token` is for its owner alone, and nowhere else. */
export function makeApiKey(): { keyId: string; token: string; secretHash: string } {
  const keyId = randomBytes(8).toString("hex");
  const token = `${PREFIX}${keyId}_${randomBytes(32).toString("base64url")}`;
  return { keyId, token, secretHash: hashOf(token) };
}

/** One round of SHA-256 is enough: slow hashes protect what people make up, and nobody guesses 256 random bits. */
function hashOf(token: string): string {
  return createHash("sha256").update(token).digest("hex");
}

/** Knows keys by their hashes, and notices within 2 s when one of an open connection ends, whichever process revoked it. */
export class ApiKeys {
  readonly #store: ApiKeyStore;
  readonly #log: Log;
  /** Whom to tell when a key ends, by its id. */
  readonly #watchers = new Map<string, Set<(reason: AppError) => void>>();
  #timer: NodeJS.Timeout | null = null;

  constructor(store: ApiKeyStore, log: Log) {
    this.#store = store;
    this.#log = log;
  }

  /** Throws UNAUTHENTICATED. */
  async identify(token: string): Promise<Access> {
    const key = FORM.test(token) ? await this.#store.find(hashOf(token)) : null;
    if (!key) {
      throw new AppError("UNAUTHENTICATED", "This key is not good: it is unknown, expired or revoked. Get a new one.");
    }
    return { identity: identityOf(key), watch: (end) => this.#watch(key.keyId, end) };
  }

  close(): void {
    this.#watchers.clear();
    this.#rest();
  }

  #watch(keyId: string, end: (reason: AppError) => void): () => void {
    const ends = this.#watchers.get(keyId) ?? new Set();
    this.#watchers.set(keyId, ends.add(end));
    this.#timer ??= setTimeout(() => void this.#look(), LOOK_EVERY);
    return () => {
      ends.delete(end);
      if (ends.size === 0 && this.#watchers.get(keyId) === ends) {
        this.#watchers.delete(keyId);
      }
      if (this.#watchers.size === 0) {
        this.#rest();
      }
    };
  }

  async #look(): Promise<void> {
    try {
      for (const keyId of await this.#store.ended([...this.#watchers.keys()])) {
        const ends = this.#watchers.get(keyId) ?? [];
        this.#watchers.delete(keyId);
        for (const end of ends) {
          end(new AppError("UNAUTHENTICATED", "This key is not good any more: it has expired or is revoked. Get a new one."));
        }
      }
    } catch (error) {
      // Connections stay as they are until the database says who may go on.
      this.#log.debug({ err: error }, "the keys of open connections could not be looked at");
    }
    this.#timer = this.#watchers.size > 0 ? setTimeout(() => void this.#look(), LOOK_EVERY) : null;
  }

  #rest(): void {
    if (this.#timer) {
      clearTimeout(this.#timer);
      this.#timer = null;
    }
  }
}

function identityOf({ scope, userId }: ApiKey): Identity {
  if (scope !== "user") {
    return { kind: scope };
  }
  if (userId === null) {
    throw new Error("A key of scope user names no user");
  }
  return { kind: "user", userId };
}
