import { OpenAI } from "openai";
import { AppError } from "../errors.ts";

/** The longest line, and the longest body, that is read from a model server, in bytes. */
const MAX_LINE_BYTES = 8 * 1024 * 1024;
const MAX_BODY_BYTES = 64 * 1024 * 1024;
const NEWLINE = 10;

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

/** `fetch` with an end to how much a server can make us hold in memory. */
function boundedFetch(inner: typeof globalThis.fetch): typeof globalThis.fetch {
  return async (input, init) => {
    const response = await inner(input, init);
    if (!response.body) {
      return response;
    }
    const { status, statusText, headers } = response;
    return new Response(response.body.pipeThrough(meter()), { status, statusText, headers });
  };
}

function meter(): TransformStream<Uint8Array, Uint8Array> {
  let body = 0;
  let line = 0;
  return new TransformStream({
    transform(bytes, controller) {
      const newline = bytes.lastIndexOf(NEWLINE);
      const first = bytes.indexOf(NEWLINE);
      const longest = line + (first < 0 ? bytes.length : first);
      line = newline < 0 ? longest : bytes.length - newline - 1;
      body += bytes.length;
      if (longest > MAX_LINE_BYTES || body > MAX_BODY_BYTES) {
        throw new AppError(
          "MODEL_BAD_RESPONSE",
          "The model server sent more than a reply can hold. Look at its log, and whether OPENAI_BASE_URL names a model server.",
        );
      }
      controller.enqueue(bytes);
    },
  });
}
