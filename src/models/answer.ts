import type { OpenAI } from "openai";
import type { AnswerSchema, ChatMessage, ChatRequest, StructuredAnswer } from "../agent/ports.ts";
import { estimateUsage } from "../agent/tokens.ts";
import type { TokenUsage } from "../agent/types.ts";
import { AppError } from "../errors.ts";
import type { Calls, ModelEvent } from "./calls.ts";
import type { Watch } from "./deadlines.ts";
import type { Dialect } from "./dialect.ts";
import { errorIn } from "./model-errors.ts";
import type { OptionalField } from "./model-fault.ts";
import { readJson } from "./read-json.ts";
import { readBody, readCompletion, type Said } from "./wire.ts";

/** Room for an answer, in tokens. */
const MAX_TOKENS = 1_024;
const FIELDS: readonly OptionalField[] = ["response_format", "max_tokens", "temperature"];

export interface AnswerOptions {
  client: OpenAI;
  calls: Calls;
  watch: Watch;
  log: (event: ModelEvent) => void;
}

/**
 * Asks for one answer in JSON: by schema where the server takes one, else with the schema written into the prompt. An
 * answer that cannot be read is asked for once more, with the reason. Throws MODEL_BAD_RESPONSE when that fails as well.
 */
export async function askForJson(request: ChatRequest, schema: AnswerSchema, options: AnswerOptions): Promise<StructuredAnswer> {
  const first = await ask(request, schema, options);
  if (first.value !== undefined) {
    return first;
  }
  options.log({ type: "answer-unreadable", model: first.model, final: false });
  const messages = extend(request.messages, `Your last answer could not be used: ${first.flaw}. Answer with one JSON value only.`);
  const second = await ask({ ...request, messages }, schema, options);
  if (second.value !== undefined) {
    return { ...second, usage: sum(first.usage, second.usage) };
  }
  options.log({ type: "answer-unreadable", model: second.model, final: true });
  throw new AppError(
    "MODEL_BAD_RESPONSE",
    `The model did not answer in the form it was asked for: ${second.flaw}. Choose a larger model, or switch its thinking off.`,
  );
}

interface Attempt extends StructuredAnswer {
  /** What is wrong with the answer when its value is undefined; completes "…: it". */
  flaw: string;
}

async function ask(request: ChatRequest, schema: AnswerSchema, { client, calls, watch }: AnswerOptions): Promise<Attempt> {
  return calls.call(request.model, FIELDS, watch, async (model, dialect) => {
    const messages = dialect.accepts("response_format") ? request.messages : extend(request.messages, inWords(schema));
    const body = { model, messages, ...optionalFields(schema, dialect) };
    const said = read(await client.chat.completions.create(body, { signal: watch.signal }));
    const value = answerIn(said);
    if (value !== undefined) {
      dialect.structuredOutput = dialect.accepts("response_format") ? "STRICT_SCHEMA" : "TEXT";
    }
    return {
      value,
      flaw: value === undefined ? flawOf(said) : "",
      usage: said.usage ?? estimateUsage(messages, said.reasoning + said.content),
      model: said.model ?? model,
    };
  });
}

function optionalFields(schema: AnswerSchema, dialect: Dialect) {
  return {
    ...(dialect.accepts("response_format")
      ? { response_format: { type: "json_schema" as const, json_schema: { ...schema, strict: true } } }
      : {}),
    ...(dialect.accepts("max_tokens") ? { max_tokens: MAX_TOKENS } : {}),
    ...(dialect.accepts("temperature") ? { temperature: 0 } : {}),
  };
}

/** Adds to the last message: many prompt templates refuse a second system message, or two messages of the user in a row. */
function extend(messages: readonly ChatMessage[], text: string): ChatMessage[] {
  const last = messages.at(-1);
  return last?.role === "user"
    ? [...messages.slice(0, -1), { role: "user", content: `${last.content}\n\n${text}` }]
    : [...messages, { role: "user", content: text }];
}

function inWords({ name, schema }: AnswerSchema): string {
  return `Answer with JSON only, nothing before or after it, that keeps to the schema "${name}":\n${JSON.stringify(schema)}`;
}

function read(answer: unknown): Said {
  const body = readBody(answer);
  const error = errorIn(body);
  if (error) {
    throw error;
  }
  const said = readCompletion(body);
  if (said.finish === "content_filter") {
    throw new AppError("MODEL_BAD_RESPONSE", "The model server withheld its answer (content filter). Choose another model.");
  }
  return said;
}

/** Some servers put the whole answer of a thinking model where its reasoning goes. */
function answerIn(said: Said): unknown {
  return readJson(said.content.trim() === "" ? said.reasoning : said.content);
}

function flawOf(said: Said): string {
  if (said.content.trim() === "" && said.reasoning.trim() === "") {
    return "it was empty";
  }
  return said.finish === "length" ? "it was too long and was cut off" : "it was not JSON";
}

function sum(first: TokenUsage, second: TokenUsage): TokenUsage {
  return {
    inputTokens: first.inputTokens + second.inputTokens,
    outputTokens: first.outputTokens + second.outputTokens,
    estimated: first.estimated || second.estimated,
  };
}
