import type { IncomingMessage, ServerResponse } from "node:http";
import { AppError, badInput, httpStatus } from "./errors.ts";
import type { Report } from "./report-failure.ts";

/** The largest request body and WebSocket frame, in bytes. */
export const MAX_BODY_BYTES = 256 * 1024;
/** A client that sends too much is listened to up to here, so that it gets to read the answer. */
const MAX_IGNORED_BYTES = 4 * 1024 * 1024;

/** A refusal with an HTTP status that its code does not imply. */
export class HttpError extends AppError {
  readonly status: number;
  readonly headers: Record<string, string>;

  constructor(status: number, code: AppError["code"], message: string, headers: Record<string, string> = {}) {
    super(code, message);
    this.status = status;
    this.headers = headers;
  }
}

/** What a body says it is, such as application/json; "" when it does not say. */
export function mediaType(request: IncomingMessage): string {
  return (request.headers["content-type"] ?? "").split(";", 1)[0]?.trim().toLowerCase() ?? "";
}

/**
 * Reads a JSON body of at most `most` bytes. Throws PAYLOAD_TOO_LARGE, or BAD_USER_INPUT when it is not JSON or not sent as JSON:
 * browsers send forms and plain text to any site without asking, JSON they do not.
 */
export async function readJson(request: IncomingMessage, most = MAX_BODY_BYTES): Promise<unknown> {
  if (mediaType(request) !== "application/json") {
    throw new HttpError(415, "BAD_USER_INPUT", "The body must be plain JSON. Send the header content-type: application/json.");
  }
  const body = await readBody(request, most);
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(body));
  } catch (error) {
    throw new AppError("BAD_USER_INPUT", "The body is not valid JSON in UTF-8. Check quotes, commas and brackets.", { cause: error });
  }
}

/**
 * Reads a body of at most `most` bytes. Throws PAYLOAD_TOO_LARGE, or BAD_USER_INPUT when it is compressed. The server's request
 * timeout ends the wait for a slow one.
 */
export async function readBody(request: IncomingMessage, most = MAX_BODY_BYTES): Promise<Buffer> {
  if ((request.headers["content-encoding"] ?? "identity") !== "identity") {
    throw new HttpError(415, "BAD_USER_INPUT", "The body is compressed. Send it as it is, without the header content-encoding.");
  }
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size <= most) {
      chunks.push(chunk);
    } else if (size > most + MAX_IGNORED_BYTES) {
      break;
    }
  }
  if (size > most) {
    throw new AppError("PAYLOAD_TOO_LARGE", `The body is larger than ${most / 1024} KB. Send less at once.`);
  }
  return Buffer.concat(chunks);
}

/** Answers with JSON. Does nothing when the client has gone. */
export function sendJson(response: ServerResponse, status: number, body: unknown, headers: Record<string, string> = {}): void {
  if (response.headersSent || response.destroyed) {
    return;
  }
  const text = JSON.stringify(body);
  response.writeHead(status, {
    "content-type": "application/json; charset=utf-8",
    "content-length": Buffer.byteLength(text),
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    ...headers,
  });
  response.end(text);
}

/** The body of a refusal over REST, in snake_case like everything there. */
export function errorBody({ failure, fields, currentVersion, retryAfterSeconds }: Report): { error: Record<string, unknown> } {
  const { code, message, retryable, errorId } = failure;
  return {
    error: {
      code,
      message,
      retryable,
      error_id: errorId ?? undefined,
      fields,
      current_version: currentVersion,
      retry_after_seconds: retryAfterSeconds,
    },
  };
}

/** The HTTP status of any failure, and headers that go with it. */
export function statusOf(error: unknown, report: Report): { status: number; headers: Record<string, string> } {
  const headers: Record<string, string> = report.retryAfterSeconds === undefined ? {} : { "retry-after": String(report.retryAfterSeconds) };
  return error instanceof HttpError
    ? { status: error.status, headers: { ...headers, ...error.headers } }
    : { status: httpStatus(report.failure.code), headers };
}

/** Refuses every method but these. Throws BAD_USER_INPUT with status 405. */
export function allowMethods(request: IncomingMessage, ...methods: string[]): void {
  if (!methods.includes(request.method ?? "")) {
    const allow = methods.join(", ");
    throw new HttpError(405, "BAD_USER_INPUT", `This address takes ${allow} only.`, { allow });
  }
}

/** A whole number in a query string. Throws BAD_USER_INPUT. */
export function numberParameter(query: URLSearchParams, name: string, fallback: number, max: number): number {
  const text = query.get(name);
  if (text === null) {
    return fallback;
  }
  const value = /^\d{1,9}$/.test(text) ? Number(text) : 0;
  if (value < 1 || value > max) {
    throw badInput(name, `must be a whole number from 1 to ${max}.`);
  }
  return value;
}
