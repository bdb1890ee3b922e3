/** Decides who answers: a model server, or rules while there is none and nobody has configured one. */

import type { ChatModel, Log } from "../agent/ports.ts";
import type { AppError } from "../errors.ts";
import { createOfflineModel } from "./offline.ts";
import type { OpenAiModel } from "./openai.ts";

/** How long the start waits for a model server, and how long later probes do, in milliseconds. */
const START_PATIENCE_MS = 500;
const PROBE_PATIENCE_MS = 5_000;
const PROBE_EVERY_MS = 30_000;

export interface ServedModelOptions {
  server: ChatModel & Pick<OpenAiModel, "probe">;
  /** True: the server was chosen by somebody, and is asked whether it answers or not. */
  configured: boolean;
  log: Log;
  /** Time between two probes, in milliseconds. */
  probeEvery?: number | undefined;
}

/**
 * The chat model of this process. Each call goes to the server, or to rules from a start at which an unconfigured server did
 * not answer until a probe finds that it does; from then on for good to the server. A call under way is not moved.
 */
export class ServedModel implements ChatModel {
  readonly #options: ServedModelOptions;
  readonly #rules = createOfflineModel();
  readonly #closing = new AbortController();
  #missing: AppError | null = null;
  #timer: NodeJS.Timeout | undefined;
  #probing: Promise<void> = Promise.resolve();

  constructor(options: ServedModelOptions) {
    this.#options = options;
  }

  /** Why rules serve, in words for people with the remedy; null while the server does. */
  get missing(): AppError | null {
    return this.#missing;
  }

  /** Decides who serves at the start; takes half a second at most. */
  async choose(): Promise<void> {
    if (!this.#options.configured) {
      this.#missing = await this.#options.server.probe(START_PATIENCE_MS, this.#closing.signal);
    }
  }

  /** Says so when rules serve, and looks for the server until it answers. */
  start(): void {
    if (this.#missing) {
      this.#options.log.warn({}, `Rules, not a language model, answer and remember: ${this.#missing.message} It is then used by itself.`);
      this.#schedule();
    }
  }

  async close(): Promise<void> {
    this.#closing.abort();
    clearTimeout(this.#timer);
    await this.#probing;
  }

  stream: ChatModel["stream"] = (request, signal) => this.#current.stream(request, signal);

  answer: ChatModel["answer"] = (request, schema, signal) => this.#current.answer(request, schema, signal);

  get #current(): ChatModel {
    return this.#missing ? this.#rules : this.#options.server;
  }

  #schedule(): void {
    this.#timer = setTimeout(() => {
      this.#probing = this.#probe();
    }, this.#options.probeEvery ?? PROBE_EVERY_MS);
  }

  async #probe(): Promise<void> {
    this.#missing = await this.#options.server.probe(PROBE_PATIENCE_MS, this.#closing.signal);
    if (!this.#missing) {
      this.#options.log.info({}, "A model server answers: it is used from now on, and rules no more.");
    } else if (!this.#closing.signal.aborted) {
      this.#schedule();
    }
  }
}
