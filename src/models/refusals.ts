/** What the error answers of model servers mean. Their shapes differ; their words are the best there is to go by. */

import type { APIError } from "openai";
import { AppError, type ErrorCode } from "../errors.ts";
import type { Connection } from "./connection.ts";
import { CHECK_ADDRESS, ModelFault, OPTIONAL_FIELDS, type OptionalField } from "./model-fault.ts";

type Server = Pick<Connection, "address" | "secrets">;

/** The fault behind an HTTP status of 400 or more. */
export function refusal(error: APIError, status: number, server: Server): ModelFault {
  // Without a JSON body the SDK's message is the status and the body as it came.
  const words = wordsOf(error.error ?? error.message.replace(/^\d{3} /, ""));
  const fault = (code: ErrorCode, message: string, more: ConstructorParameters<typeof ModelFault>[1] = {}) =>
    new ModelFault(new AppError(code, message, { cause: error }), more);

  if (status === 401 || status === 403) {
    return fault(
      "MODEL_UNAVAILABLE",
      `The model server at ${server.address} refused our key (${status}). Set OPENAI_API_KEY to one it accepts.`,
    );
  }
  if (OVERFLOW.test(words.all)) {
    return fault("MODEL_BAD_RESPONSE", TOO_LONG);
  }
  if (NO_MODEL.test(words.all) || (status === 404 && words.all.includes("model"))) {
    return fault("MODEL_UNAVAILABLE", missingModel(words.shown(server)), { missingModel: true });
  }
  if (status === 404 || status === 405) {
    return fault("MODEL_UNAVAILABLE", `There is no model server at ${server.address} (${status}). ${CHECK_ADDRESS}`);
  }
  if (status === 408 || status === 409 || status === 429 || status >= 500) {
    return busy(error, status, words, server);
  }
  const message = `The model server refused the request (${status})${words.shown(server)}. Look at its log, or choose another model.`;
  return fault("MODEL_BAD_RESPONSE", message, { refused: refusedFields(words.all) });
}

/** The error behind a report that came with status 200: inside a stream, or in place of a completion. */
export function reported(body: unknown, server: Server): AppError {
  const words = wordsOf(body);
  if (OVERFLOW.test(words.all)) {
    return new AppError("MODEL_BAD_RESPONSE", TOO_LONG);
  }
  if (NO_MODEL.test(words.all)) {
    return new AppError("MODEL_UNAVAILABLE", missingModel(words.shown(server)));
  }
  const remedy = WRONG_PATH.test(words.all) ? CHECK_ADDRESS : "Try again; if it happens often, look at that server's log.";
  return new AppError("MODEL_BAD_RESPONSE", `The model server at ${server.address} reported an error${words.shown(server)}. ${remedy}`);
}

const TOO_LONG =
  "The prompt is longer than the model's context. Load the model with a larger context length, or give the agent fewer prompt tokens.";
const OVERFLOW = /exceed_context_size|context_length_exceeded|context (length|size|window)|maximum context|too many tokens|\bn_ctx\b/;
const NO_MODEL =
  /no models? (is |are )?(currently )?loaded|failed to load model|model_not_found|\bmodel\b.{0,200}?(not found|does not exist|not loaded)/;
const WRONG_PATH = /unexpected endpoint/;
const COMPLAINTS: Record<OptionalField, RegExp> = {
  response_format: /response_format|json_schema|json_object|structured output|grammar|guided/,
  stream_options: /stream_options|include_usage/,
  max_tokens: /max_tokens/,
  temperature: /temperature/,
};
/** How much of a server's own words is searched, and how much passed on. */
const LONGEST_SEARCH = 10_000;
const LONGEST_QUOTE = 200;

interface Words {
  /** All of it in lower case, to be searched. */
  all: string;
  /** The message for people, after a colon: one short line without secrets; "" when there is none. */
  shown(server: Server): string;
}

/** Bodies are texts, objects, flat or under `error`, with codes as text or number. */
function wordsOf(body: unknown): Words {
  const inner = isObject(body) && "error" in body ? body.error : body;
  const message = isObject(inner) ? (inner.message ?? inner.detail) : inner;
  const text = typeof message === "string" ? message : message === undefined ? "" : JSON.stringify(message);
  const all = (isObject(inner) ? JSON.stringify(inner) : text).slice(0, LONGEST_SEARCH).toLowerCase();
  return { all, shown: ({ secrets }) => quote(text, secrets) };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

function quote(text: string, secrets: readonly string[]): string {
  const isPage = /<(!doctype|html)/i.test(text);
  const saysNothing = text === "status code (no body)";
  const plain = secrets.reduce((rest, secret) => rest.replaceAll(secret, "***"), isPage || saysNothing ? "" : text);
  const line = plain.replace(/\s+/g, " ").trim().replace(/\.$/, "");
  const short = line.length > LONGEST_QUOTE ? `${line.slice(0, LONGEST_QUOTE).toWellFormed()}…` : line;
  return short === "" ? "" : `: ${short}`;
}

function missingModel(shown: string): string {
  return `The model is not loaded${shown}. Load it in LM Studio (or the server OPENAI_BASE_URL names), or set CHAT_MODEL to one that is.`;
}

function busy(error: APIError, status: number, words: Words, server: Server): ModelFault {
  const wait = retryAfter(error.headers);
  const spent = words.all.includes("insufficient_quota");
  const what = status === 429 ? (spent ? "has no quota left" : "is busy") : `failed (${status})`;
  const remedy = spent ? "Look at the account's plan." : "Try again in a moment; if it goes on, look at that server's log.";
  const appError = new AppError("MODEL_UNAVAILABLE", `The model server at ${server.address} ${what}${words.shown(server)}. ${remedy}`, {
    cause: error,
    ...(wait === null ? {} : { details: { retryAfterSeconds: Math.ceil(wait / 1_000) } }),
  });
  return new ModelFault(appError, {
    retry: !spent,
    away: status >= 500,
    retryAfter: wait,
    refused: status >= 500 ? refusedFields(words.all) : [],
  });
}

function refusedFields(words: string): OptionalField[] {
  return OPTIONAL_FIELDS.filter((field) => COMPLAINTS[field].test(words));
}

/** Milliseconds the headers ask us to wait; null when they ask for nothing sensible. */
function retryAfter(headers: Headers | undefined): number | null {
  const milliseconds = Number(headers?.get("retry-after-ms") || Number.NaN);
  if (milliseconds >= 0) {
    return milliseconds;
  }
  const value = headers?.get("retry-after")?.trim() ?? "";
  const wait = /^\d+(\.\d+)?$/.test(value) ? Number(value) * 1_000 : Date.parse(value) - Date.now();
  return wait >= 0 ? wait : null;
}
