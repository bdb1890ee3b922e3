import { OpenAI } from "openai";
import { AppError } from "../errors.ts";
import { MAX_BODY_BYTES, tooMuch } from "./event-stream.ts";

export interface ConnectionOptions {
  /** Address of an OpenAI-compatible server; ends in /v1 as a rule. A user and password in it become a Basic header. */
  baseUrl: string;
  /** Null for servers that ask for none. */
  apiKey: string | null;
  fetch?: typeof globalThis.fetch;
}

export interface Connection {
  client: OpenAI;
  /** The server's address as it may be shown: without user, password and query. */
  address: string;
  /** What must not appear in any message. */
  secrets: readonly string[];
}

/**
 * Sets up the client of a model server; nothing is sent yet. The SDK's own retries, its logging (it prints stream chunks)
 * and its environment variables are switched off, OPENAI_CUSTOM_HEADERS excepted. Throws MODEL_UNAVAILABLE when the
 * address is not one.
 */
export function connect(options: ConnectionOptions, timeout: number): Connection {
  const url = parseAddress(options.baseUrl);
  const [user, password] = [decodeURIComponent(url.username), decodeURIComponent(url.password)];
  const basic = user || password ? Buffer.from(`${user}:${password}`).toString("base64") : null;
  url.username = "";
  url.password = "";
  url.hash = "";
  const client = new OpenAI({
    baseURL: url.href.replace(/\/+$/, ""),
    apiKey: options.apiKey || "not-needed",
    adminAPIKey: null,
    organization: null,
    project: null,
    webhookSecret: null,
    maxRetries: 0,
    timeout,
    logLevel: "off",
    fetch: boundedFetch(options.fetch ?? globalThis.fetch),
    ...(basic !== null && !options.apiKey ? { defaultHeaders: { Authorization: `Basic ${basic}` } } : {}),
  });
  return {
    client,
    address: `${url.origin}${url.pathname.replace(/\/+$/, "")}`,
    secrets: [options.apiKey ?? "", password || user, basic ?? ""].filter((secret) => secret !== ""),
  };
}

function parseAddress(baseUrl: string): URL {
  const url = URL.parse(baseUrl);
  if (url?.protocol !== "http:" && url?.protocol !== "https:") {
    throw new AppError(
      "MODEL_UNAVAILABLE",
      "OPENAI_BASE_URL is not an http or https address. Set it to one such as http://localhost:1234/v1.",
    );
  }
  return url;
}

/** `fetch` with an end to how much a server can make us hold in memory. Streams of events have theirs where they are read. */
function boundedFetch(inner: typeof globalThis.fetch): typeof globalThis.fetch {
  return async (input, init) => {
    const response = await inner(input, init);
    if (!response.body || isEventStream(response)) {
      return response;
    }
    const { status, statusText, headers } = response;
    return new Response(response.body.pipeThrough(meter()), { status, statusText, headers });
  };
}

/** Whether an answer is a stream of events. Some servers leave the header out. */
export function isEventStream(response: Response): boolean {
  return response.ok && /\bevent-stream\b/.test(response.headers.get("content-type") ?? "");
}

function meter(): TransformStream<Uint8Array, Uint8Array> {
  let size = 0;
  return new TransformStream({
    transform(bytes, controller) {
      size += bytes.length;
      if (size > MAX_BODY_BYTES) {
        throw tooMuch();
      }
      controller.enqueue(bytes);
    },
  });
}
