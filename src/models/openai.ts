import type { OpenAI } from "openai";
import type { ChatModel, ChatPart, ChatRequest, StructuredOutput } from "../agent/ports.ts";
import { AppError } from "../errors.ts";
import { askForJson } from "./answer.ts";
import { ModelBreaker } from "./breaker.ts";
import { Calls, type ModelEvent } from "./calls.ts";
import { type ConnectionOptions, connect } from "./connection.ts";
import { DEFAULT_DEADLINES, type Deadlines, Watch } from "./deadlines.ts";
import type { Dialect } from "./dialect.ts";
import { readEvents } from "./event-stream.ts";
import { errorIn } from "./model-errors.ts";
import { garbled, ModelFault } from "./model-fault.ts";
import { readReply } from "./reply.ts";

export interface OpenAiOptions extends ConnectionOptions {
  /** The model for requests that name none. Null: the first one the server lists that is not for embeddings. */
  model: string | null;
  deadlines?: Partial<Deadlines>;
  /** How long a server that fails again and again is left alone, in milliseconds. */
  rest?: number | undefined;
  /** Told what happens inside, never what anybody wrote. */
  log?: (event: ModelEvent) => void;
}

export interface OpenAiModel extends ChatModel {
  /** The ids of all models the server lists, those for embeddings included. Throws as the other methods do. */
  list(signal: AbortSignal): Promise<string[]>;
  /** Asks once whether a model server is there, and waits `milliseconds` at most: null when it lists its models, else why not. */
  probe(milliseconds: number, signal: AbortSignal): Promise<AppError | null>;
  /** Keeps requests from a server that fails again and again. */
  readonly breaker: ModelBreaker;
  /** The server's address as it may be shown. */
  readonly address: string;
  /** Which of the models it lists answers requests that name none; null when none of them chats. */
  chosen(listed: readonly string[]): string | null;
  /** How a model's last readable answer in JSON was asked for; null before the first. */
  structuredOutput(model: string): StructuredOutput | null;
}

/**
 * A server that speaks OpenAI's protocol: LM Studio, Ollama, llama.cpp, vLLM, OpenAI. Nothing is sent before the first call.
 * Throws MODEL_UNAVAILABLE when `baseUrl` is not an address.
 */
export function createOpenAiModel(options: OpenAiOptions): OpenAiModel {
  const deadlines = { ...DEFAULT_DEADLINES, ...options.deadlines };
  const log = options.log ?? (() => undefined);
  // The watch is what ends a request; the SDK's clock only has to be slower.
  const connection = connect(options, Math.max(deadlines.total, deadlines.answer) + 1_000);
  const { client, address } = connection;
  const breaker = new ModelBreaker(options.rest);
  const calls = new Calls({ connection, model: options.model, deadlines, breaker, log });

  async function guarded<T>(signal: AbortSignal, totalMs: number, work: (watch: Watch) => Promise<T>): Promise<T> {
    const watch = new Watch(signal, totalMs);
    try {
      return await work(watch);
    } finally {
      watch.dispose();
    }
  }

  /** Sends a request and waits for the first part of its reply: until then it may be tried again. */
  async function begin(request: ChatRequest, watch: Watch, model: string, dialect: Dialect) {
    watch.arm(deadlines.firstToken, "did not begin to answer");
    const chunks = await openStream(client, request, model, dialect, watch.signal, address);
    const parts = readReply(chunks, { messages: request.messages, model, dialect, address, watch, deadlines });
    return { first: await parts.next(), parts };
  }

  async function* stream(request: ChatRequest, signal: AbortSignal): AsyncGenerator<ChatPart, void> {
    const watch = new Watch(signal, deadlines.total);
    try {
      const { first, parts } = await calls.call(request.model, ["stream_options"], watch, (model, dialect) =>
        begin(request, watch, model, dialect),
      );
      if (!first.done) {
        yield first.value;
        yield* parts;
      }
    } catch (thrown) {
      throw calls.failure(thrown, watch);
    } finally {
      watch.dispose();
    }
  }

  return {
    stream,
    answer: (request, schema, signal) =>
      guarded(signal, deadlines.answer, (watch) => askForJson(request, schema, { client, calls, watch, log })),
    list: (signal) => guarded(signal, deadlines.list, (watch) => calls.list(watch)),
    probe: (milliseconds, signal) => guarded(signal, milliseconds, (watch) => calls.list(watch, 1)).then(() => null, expected),
    breaker,
    address,
    chosen: (listed) => calls.chosen(listed),
    structuredOutput: (model) => calls.dialectOf(model).structuredOutput,
  };
}

/** A failure as a value; mistakes of ours are thrown. */
function expected(error: unknown): AppError {
  if (error instanceof AppError) {
    return error;
  }
  throw error;
}

/** The chunks of a reply. Read without the SDK's own reader, which costs more than all the rest of a turn's requests. */
async function openStream(
  client: OpenAI,
  { messages }: ChatRequest,
  model: string,
  dialect: Dialect,
  signal: AbortSignal,
  address: string,
): Promise<AsyncIterable<unknown>> {
  const usage = dialect.accepts("stream_options") ? { stream_options: { include_usage: true } } : {};
  const response = await client.chat.completions.create({ model, messages, stream: true, ...usage }, { signal }).asResponse();
  const type = response.headers.get("content-type") ?? "";
  if (/\bhtml\b/.test(type) || !response.body) {
    await response.body?.cancel();
    throw new ModelFault(garbled(address));
  }
  if (/\bjson\b/.test(type)) {
    throw errorIn(await response.json()) ?? new ModelFault(garbled(address));
  }
  return chunksOf(response.body);
}

/** Throws the error that a chunk reports. */
async function* chunksOf(body: ReadableStream<Uint8Array>): AsyncGenerator<unknown, void> {
  for await (const chunk of readEvents(body)) {
    const error = errorIn(chunk);
    if (error) {
      throw error;
    }
    yield chunk;
  }
}
