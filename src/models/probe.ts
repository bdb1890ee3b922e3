/** Asks a model server now and then how it is, for those who want to know; nobody else waits for it. */

import type { ModelProbe, ModelServerState } from "../agent/ports.ts";
import { AppError } from "../errors.ts";
import type { OpenAiModel } from "./openai.ts";

/** How long an answer is good for, and how long one is waited for (ms). */
const FRESH = 10_000;
const DEADLINE = 2_000;

export interface ProbeOptions {
  server: Pick<OpenAiModel, "list" | "address" | "chosen" | "structuredOutput" | "breaker">;
  /** The name of the rules while they answer; null while the server does. */
  rules: () => string | null;
  /** How long an answer is good for, in milliseconds. */
  freshness?: number | undefined;
}

export function createModelProbe({ server, rules, freshness = FRESH }: ProbeOptions): ModelProbe {
  let latest: { at: number; state: Promise<ModelServerState> } | null = null;
  return {
    look() {
      const now = performance.now();
      if (!latest || now - latest.at >= freshness) {
        latest = { at: now, state: ask(server) };
      }
      return latest.state;
    },
    chosen: (listed) => server.chosen(listed),
    structuredOutput: (name) => server.structuredOutput(name),
    rules,
    breaker: () => server.breaker.status,
  };
}

async function ask({ list, address }: Pick<OpenAiModel, "list" | "address">): Promise<ModelServerState> {
  const deadline = AbortSignal.timeout(DEADLINE);
  try {
    return { address, listed: await list(deadline), failure: null, checkedAt: new Date() };
  } catch (error) {
    return { address, listed: null, failure: failureOf(error, address, deadline), checkedAt: new Date() };
  }
}

function failureOf(error: unknown, address: string, deadline: AbortSignal): AppError {
  if (deadline.aborted) {
    return new AppError(
      "MODEL_TIMEOUT",
      `The model server at ${address} did not list its models within ${DEADLINE / 1_000} s. Wait until it has loaded its model, or restart it.`,
    );
  }
  return error instanceof AppError
    ? error
    : new AppError("MODEL_UNAVAILABLE", `The model server at ${address} cannot be asked. Look at its log.`, { cause: error });
}
