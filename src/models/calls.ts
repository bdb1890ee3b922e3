import { AppError, type ErrorCode } from "../errors.ts";
import type { ModelBreaker } from "./breaker.ts";
import type { Connection } from "./connection.ts";
import type { Deadlines, Watch } from "./deadlines.ts";
import { type Dialect, Dialects } from "./dialect.ts";
import { explain } from "./model-errors.ts";
import { ModelFault, type OptionalField } from "./model-fault.ts";
import { readBody, readModelIds } from "./wire.ts";

/** How often a request is sent before its failure is final. */
const MOST_TRIES = 4;
/** A server that asks for a longer wait is not waited for, in milliseconds: the caller is told when to come back. */
const LONGEST_WAIT = 30_000;
/** Words in the names of models that do not chat. */
const NOT_FOR_CHAT = /embed|rerank|whisper|(^|[^a-z0-9])(bge|e5|gte|minilm|nomic|mxbai|labse|sbert|colbert|tts)([^a-z0-9]|$)/i;

/** Something to log. None of them holds anything a user or a model wrote. */
export type ModelEvent =
  | { type: "retrying"; try: number; waitMs: number; code: ErrorCode }
  | { type: "model-chosen"; model: string }
  | { type: "fields-refused"; model: string; fields: OptionalField[] }
  | { type: "answer-unreadable"; model: string; final: boolean };

export interface CallsOptions {
  connection: Connection;
  /** The model to ask when a request names none; null: the first one listed that chats. */
  model: string | null;
  deadlines: Pick<Deadlines, "backoff" | "list">;
  breaker: ModelBreaker;
  log: (event: ModelEvent) => void;
}

/** Sends a request and brings back what the model server gave, or throws what its SDK or a reader throws. */
export type Send<T> = (model: string, dialect: Dialect) => Promise<T>;

/**
 * Requests to one model server, each seen through: the model is chosen, a failure that may pass is tried again, and what
 * the server refuses is left out. Throws AppError; mistakes of ours come through as they are.
 */
export class Calls {
  readonly #options: CallsOptions;
  readonly #dialects = new Dialects();
  #chosen: string | null = null;

  constructor(options: CallsOptions) {
    this.#options = options;
  }

  /** Asks `asked`, or the model there is. `fields`: the optional ones `send` puts into its request unless the dialect says no. */
  async call<T>(asked: string | null, fields: readonly OptionalField[], watch: Watch, send: Send<T>): Promise<T> {
    try {
      return await this.#options.breaker.run(() => this.#call(asked, fields, watch, send), watch.signal);
    } catch (thrown) {
      throw this.failure(thrown, watch);
    }
  }

  /** The ids of all models the server lists, those for embeddings included. */
  async list(watch: Watch, mostTries = MOST_TRIES): Promise<string[]> {
    try {
      return await this.#list(watch, mostTries);
    } catch (thrown) {
      throw this.failure(thrown, watch);
    }
  }

  /** Which of the models it lists answers requests that name none; null when none of them chats. */
  chosen(listed: readonly string[]): string | null {
    return this.#options.model ?? this.#chosen ?? listed.find((id) => !NOT_FOR_CHAT.test(id)) ?? null;
  }

  /** What was learned about a model by asking. */
  dialectOf(model: string): Dialect {
    return this.#dialects.of(model);
  }

  /** The error to throw for what was thrown while `watch` was on. Throws `thrown` itself when it is a mistake of ours. */
  failure(thrown: unknown, watch: Watch): AppError {
    return this.#explain(thrown, watch).error;
  }

  async #call<T>(asked: string | null, fields: readonly OptionalField[], watch: Watch, send: Send<T>): Promise<T> {
    const named = asked ?? this.#options.model;
    let mayChooseAgain = named === null && this.#chosen !== null;
    for (;;) {
      const model = named ?? (await this.#choose(watch));
      const dialect = this.#dialects.of(model);
      try {
        return await this.#retrying(watch, MOST_TRIES, () => send(model, dialect));
      } catch (thrown) {
        const fault = this.#explain(thrown, watch);
        if (dialect.learn(fault.refused, fields)) {
          this.#options.log({ type: "fields-refused", model, fields: dialect.refused() });
          continue;
        }
        if (fault.missingModel && named === null) {
          this.#chosen = null;
          if (mayChooseAgain) {
            mayChooseAgain = false;
            continue;
          }
        }
        throw fault;
      }
    }
  }

  async #list(watch: Watch, mostTries: number): Promise<string[]> {
    const { connection, deadlines } = this.#options;
    return this.#retrying(watch, mostTries, async () => {
      watch.arm(deadlines.list, "did not list its models");
      const body: unknown = await connection.client.get("/models", { signal: watch.signal });
      watch.disarm();
      return readModelIds(readBody(body));
    });
  }

  async #choose(watch: Watch): Promise<string> {
    if (this.#chosen === null) {
      const model = (await this.#list(watch, MOST_TRIES)).find((id) => !NOT_FOR_CHAT.test(id));
      if (model === undefined) {
        throw new AppError(
          "MODEL_UNAVAILABLE",
          `No model is loaded at ${this.#options.connection.address}. Load a chat model in LM Studio (or the server OPENAI_BASE_URL names), or set CHAT_MODEL.`,
        );
      }
      this.#chosen = model;
      this.#options.log({ type: "model-chosen", model });
    }
    return this.#chosen;
  }

  async #retrying<T>(watch: Watch, mostTries: number, attempt: () => Promise<T>): Promise<T> {
    for (let tries = 1; ; tries++) {
      try {
        watch.check();
        return await attempt();
      } catch (thrown) {
        const fault = this.#explain(thrown, watch);
        const wait = fault.retryAfter ?? this.#options.deadlines.backoff * 2 ** (tries - 1) * (1 - Math.random() / 2);
        if (!fault.retry || tries >= mostTries || wait > LONGEST_WAIT) {
          throw fault;
        }
        watch.disarm();
        this.#options.log({ type: "retrying", try: tries + 1, waitMs: Math.round(wait), code: fault.error.code });
        await watch.pause(wait).catch((stopped: unknown) => {
          throw this.#explain(stopped, watch);
        });
      }
    }
  }

  /** A watch that stopped the work is the reason, whatever was thrown because of it. */
  #explain(thrown: unknown, watch: Watch): ModelFault {
    const fault = watch.stopped
      ? new ModelFault(watch.stopped, { away: watch.stopped.code === "MODEL_TIMEOUT" })
      : explain(thrown, this.#options.connection);
    if (!fault) {
      throw thrown;
    }
    return fault;
  }
}
