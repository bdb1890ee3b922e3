import { APIConnectionError, APIConnectionTimeoutError, APIError, OpenAIError } from "openai";
import { ZodError } from "zod";
import { AppError } from "../errors.ts";
import type { Connection } from "./connection.ts";
import { garbled, ModelFault, truncated } from "./model-fault.ts";
import { refusal, reported } from "./refusals.ts";

/** Makes a fault of anything the SDK, `fetch` or the readers here throw; null for what is none of these: a mistake of ours. */
export function explain(thrown: unknown, server: Pick<Connection, "address" | "secrets">): ModelFault | null {
  const chain = causes(thrown);
  const typed = chain.find((error) => error instanceof ModelFault || error instanceof AppError);
  if (typed) {
    return typed instanceof ModelFault ? typed : new ModelFault(typed);
  }
  if (thrown instanceof APIConnectionTimeoutError || chain.some((error) => TIMEOUTS.has(codeOf(error)))) {
    return new ModelFault(timedOut(server.address, thrown), { away: true });
  }
  if (thrown instanceof APIConnectionError) {
    return unreachable(chain, server.address);
  }
  if (thrown instanceof APIError) {
    return thrown.status ? refusal(thrown, thrown.status, server) : new ModelFault(reported(thrown.error ?? thrown.message, server));
  }
  if (thrown instanceof ReportedError) {
    return new ModelFault(reported(thrown.body, server));
  }
  if (chain.some((error) => CUTS.has(codeOf(error))) || (thrown instanceof TypeError && thrown.message === "terminated")) {
    return new ModelFault(truncated(server.address, thrown), { retry: true });
  }
  if (thrown instanceof SyntaxError || thrown instanceof ZodError || thrown instanceof OpenAIError) {
    return new ModelFault(garbled(server.address));
  }
  return null;
}

/** The error a body reports that came with status 200, to be thrown; null when it reports none. */
export function errorIn(body: unknown): Error | null {
  return typeof body === "object" && body !== null && "error" in body && body.error != null ? new ReportedError(body) : null;
}

/** An error report in a body that came with status 200. */
class ReportedError extends Error {
  override readonly name = "ReportedError";
  readonly body: unknown;

  constructor(body: unknown) {
    super("The model server reported an error with status 200.");
    this.body = body;
  }
}

const TIMEOUTS: ReadonlySet<unknown> = new Set(["UND_ERR_HEADERS_TIMEOUT", "UND_ERR_BODY_TIMEOUT"]);
const CUTS: ReadonlySet<unknown> = new Set(["UND_ERR_SOCKET", "ECONNRESET", "EPIPE", "UND_ERR_RES_CONTENT_LENGTH_MISMATCH"]);
/** Trying again at once cannot help: `fetch` has waited 10 s already, the name is wrong, or the certificate is. */
const HOPELESS = /^(UND_ERR_CONNECT_TIMEOUT|ENOTFOUND|CERT_.*|.*SELF_SIGNED.*|UNABLE_TO_.*|ERR_TLS_.*)$/;

function causes(thrown: unknown): unknown[] {
  const chain: unknown[] = [];
  for (let error = thrown; error instanceof Error && chain.length < 8; error = error.cause) {
    chain.push(error);
  }
  return chain;
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : "";
}

function timedOut(address: string, cause: unknown): AppError {
  return new AppError("MODEL_TIMEOUT", `The model server at ${address} did not answer in time. Try again, or choose a smaller model.`, {
    cause,
  });
}

function unreachable(chain: unknown[], address: string): ModelFault {
  const code = chain.map(codeOf).find((each) => each !== "") ?? "";
  const what = CUTS.has(code) ? "closed the connection before it answered" : "does not answer";
  const message = `The model server at ${address} ${what}${code && code !== "ECONNREFUSED" ? ` (${code})` : ""}. Start LM Studio (or the server OPENAI_BASE_URL names), load a model and start its local server.`;
  return new ModelFault(new AppError("MODEL_UNAVAILABLE", message, { cause: chain[0] }), { away: true, retry: !HOPELESS.test(code) });
}
