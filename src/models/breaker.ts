/** Leaves a model server alone that fails again and again: who asks is told at once, and one request at a time tries it again. */

import { type CircuitBreakerPolicy, CircuitState, ConsecutiveBreaker, circuitBreaker, handleWhen } from "cockatiel";
import { type BreakerState, type BreakerStatus, ModelResting } from "../agent/ports.ts";
import { AppError } from "../errors.ts";
import { ModelFault } from "./model-fault.ts";

/** Requests that fail one after the other, retries included, before the server is left alone. */
const FAILURES = 5;
/** How long it is left alone, and how long others wait for what becomes of the request that tries it again (ms). */
const REST = 5_000;
const VERDICT_PATIENCE = 10_000;

const STATES: Record<CircuitState, BreakerState> = {
  [CircuitState.Closed]: "CLOSED",
  [CircuitState.HalfOpen]: "HALF_OPEN",
  [CircuitState.Open]: "OPEN",
  [CircuitState.Isolated]: "OPEN",
};

export class ModelBreaker {
  readonly #policy: CircuitBreakerPolicy;
  readonly #rest: number;
  #since = new Date();
  #nextTry = 0;
  #failure: AppError | null = null;

  /** `rest`: how long a server is left alone, in milliseconds. */
  constructor(rest = REST) {
    this.#rest = rest;
    // What ends a trial without an answer, a cancelled one too, shows nothing good of the server.
    const counts = (error: unknown): boolean => isAway(error) || this.#state === "HALF_OPEN";
    this.#policy = circuitBreaker(handleWhen(counts), { breaker: new ConsecutiveBreaker(FAILURES), halfOpenAfter: rest });
    this.#policy.onBreak((reason) => this.#open("error" in reason ? reason.error : null));
    this.#policy.onReset(() => {
      this.#since = new Date();
      this.#failure = null;
    });
  }

  get status(): BreakerStatus {
    const state = this.#state;
    return { state, since: this.#since, nextTryAt: state === "CLOSED" ? null : new Date(this.#nextTry), failure: this.#failure };
  }

  /** Why nothing is sent now; null when something may be. */
  get resting(): ModelResting | null {
    return this.#state === "OPEN" && Date.now() < this.#nextTry ? this.#refusal() : null;
  }

  /** How many requests are worth making now: all, one that shows how the server is, or none. */
  get room(): number {
    return this.#state === "CLOSED" ? Number.POSITIVE_INFINITY : this.#state === "OPEN" && !this.resting ? 1 : 0;
  }

  /** Does `work`, which throws ModelFault for what the server does wrong. Throws that, or ModelResting when nothing was sent. */
  async run<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    if (this.#state === "HALF_OPEN") {
      await this.#verdict(signal);
    }
    if (this.resting || this.#state === "HALF_OPEN") {
      throw this.#refusal();
    }
    const outcome = await this.#policy.execute(() => answered(work));
    if ("refused" in outcome) {
      throw outcome.refused;
    }
    return outcome.value;
  }

  get #state(): BreakerState {
    return STATES[this.#policy.state];
  }

  #open(error: unknown): void {
    this.#nextTry = Date.now() + this.#rest;
    if (this.#failure === null) {
      this.#since = new Date();
    }
    // A cancelled trial says nothing new.
    if (error instanceof ModelFault && error.error.code !== "CANCELLED") {
      this.#failure = error.error;
    }
  }

  /** Waits until the request that tries the server has ended, for a while. */
  async #verdict(signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const change = this.#policy.onStateChange(() => resolve());
    const timer = setTimeout(resolve, VERDICT_PATIENCE);
    const leave = (): void => resolve();
    signal.addEventListener("abort", leave, { once: true });
    await promise;
    change.dispose();
    clearTimeout(timer);
    signal.removeEventListener("abort", leave);
  }

  #refusal(): ModelResting {
    const seconds = Math.max(1, Math.ceil((this.#nextTry - Date.now()) / 1_000));
    const why = this.#failure?.message ?? "The model server does not answer.";
    return new ModelResting("MODEL_UNAVAILABLE", `${why} It has failed again and again: it is asked again in ${seconds} s.`, {
      details: { retryAfterSeconds: seconds },
    });
  }
}

/** What came back. An error that shows the server at work is as good as an answer. */
async function answered<T>(work: () => Promise<T>): Promise<{ value: T } | { refused: unknown }> {
  try {
    return { value: await work() };
  } catch (error) {
    if (isAway(error) || isCancelled(error)) {
      throw error;
    }
    return { refused: error };
  }
}

function isAway(error: unknown): boolean {
  return error instanceof ModelFault && error.away;
}

function isCancelled(error: unknown): boolean {
  return error instanceof ModelFault && error.error.code === "CANCELLED";
}
