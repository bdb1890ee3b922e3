import { setTimeout as sleep } from "node:timers/promises";
import { AppError } from "../errors.ts";

/**
 * How long a model server is waited for, in milliseconds. Connecting has no figure of its own: `fetch` cannot be told one
 * and gives up by itself after 10 s. A server sends its headers when it starts to answer, so they count for the first token.
 */
export interface Deadlines {
  /** From a request to the first piece of its reply. Long: a local server may have to load the model first. */
  firstToken: number;
  /** Between two pieces of a reply. The time its reader takes does not count. */
  idle: number;
  /** A whole streamed reply, every try and wait included. */
  total: number;
  /** A whole answer in JSON, every try and wait included. */
  answer: number;
  /** The list of models. */
  list: number;
  /** The wait before the second try; it doubles for the third. Up to half of it is left off at random. */
  backoff: number;
}

export const DEFAULT_DEADLINES: Deadlines = {
  firstToken: 120_000,
  idle: 60_000,
  total: 600_000,
  answer: 120_000,
  list: 10_000,
  backoff: 250,
};

/**
 * Guards one piece of work: stops it when the caller does, when its time is up, or when a single wait takes too long.
 * Whoever makes one disposes of it.
 */
export class Watch {
  readonly #controller = new AbortController();
  readonly #caller: AbortSignal;
  readonly #total: NodeJS.Timeout;
  readonly #onAbort = () => this.#stop(new AppError("CANCELLED", "The request to the model was cancelled."));
  #wait: NodeJS.Timeout | undefined;
  #stopped: AppError | null = null;

  /** `totalMs` bounds the whole work. */
  constructor(caller: AbortSignal, totalMs: number) {
    this.#caller = caller;
    this.#total = setTimeout(() => this.#stop(timeout(`The model took longer than ${seconds(totalMs)} in all.`)), totalMs);
    caller.addEventListener("abort", this.#onAbort, { once: true });
    if (caller.aborted) {
      this.#onAbort();
    }
  }

  /** For the work to watch. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Why the work was stopped; null when it was not. CANCELLED or MODEL_TIMEOUT. */
  get stopped(): AppError | null {
    return this.#stopped;
  }

  /** Throws `stopped`. */
  check(): void {
    if (this.#stopped) {
      throw this.#stopped;
    }
  }

  /** Starts the clock of one wait; an earlier one stops. `what` completes "The model server …". */
  arm(milliseconds: number, what: string): void {
    this.disarm();
    this.#wait = setTimeout(() => this.#stop(timeout(`The model server ${what} within ${seconds(milliseconds)}.`)), milliseconds);
  }

  disarm(): void {
    clearTimeout(this.#wait);
  }

  /** Sleeps. Throws `stopped`. */
  async pause(milliseconds: number): Promise<void> {
    await sleep(milliseconds, undefined, { signal: this.signal }).catch(() => undefined);
    this.check();
  }

  /** Ends the watch and whatever still listens to its signal. */
  dispose(): void {
    clearTimeout(this.#total);
    this.disarm();
    this.#caller.removeEventListener("abort", this.#onAbort);
    this.#controller.abort(OVER);
  }

  #stop(error: AppError): void {
    this.#stopped ??= error;
    this.#controller.abort(error);
  }
}

/** Why a watch that has done its duty aborts its signal. Without a reason each would make an exception with a stack of its own. */
const OVER = new Error("The request is over.");

function timeout(what: string): AppError {
  return new AppError(
    "MODEL_TIMEOUT",
    `${what} It may be loading, busy or too large for this machine: try again, or choose a smaller model.`,
  );
}

function seconds(milliseconds: number): string {
  return `${Math.round(milliseconds / 100) / 10} s`;
}
