/**
 * Structured logs: an object of fields, then a sentence. One JSON object a line; on a terminal a line a person can read.
 * At info and above there is no text of users: no message, memory, token or key.
 */

import { type DestinationStream, destination, type Logger as PinoLogger, pino } from "pino";
import type { LogLevel } from "./config.ts";

export type Logger = Pick<PinoLogger, "debug" | "info" | "warn" | "error" | "child">;

const LONGEST_MESSAGE = 500;
const MOST_FRAMES = 12;
const MOST_CAUSES = 4;

/** Five characters, one of them a digit: what Postgres and its drivers call an error. */
const SQLSTATE = /^(?=.*\d)[0-9A-Z]{5}$/;

/** Fields that would hold what users wrote, or secrets. Nobody should log them; whoever does by mistake logs their names alone. */
const PRIVATE = [
  ...["message", "messages", "memory", "memories", "content", "text", "reply", "prompt", "summary", "query", "parameters", "params"],
  ...["token", "apiKey", "openaiApiKey", "password", "secret", "authorization", "cookie", "databaseUrl", "headers"],
];

/** `output` is where lines go: by default standard output, as JSON or, on a terminal, as text. */
export function createLogger(level: LogLevel, output: DestinationStream = standardOutput()): Logger {
  const redact = { paths: PRIVATE, censor: "[redacted]" };
  return pino({ level, base: null, timestamp: pino.stdTimeFunctions.isoTime, serializers: { err: describeError }, redact }, output);
}

function standardOutput(): DestinationStream {
  return process.stdout.isTTY ? { write: (line) => process.stdout.write(readable(line)) } : destination({ dest: 1, sync: true });
}

/**
 * What is logged of an error: its kind, its code, the start of its message, where it was thrown, and the same of its causes. Errors of
 * drivers carry whole statements, and those what users wrote: nothing else of them is taken.
 */
function describeError(error: unknown, depth = 0): unknown {
  if (!(error instanceof Error)) {
    return { message: String(error).slice(0, LONGEST_MESSAGE) };
  }
  const { code, cause } = error as Error & { code?: unknown };
  return {
    type: error.name,
    ...(code !== undefined && { code }),
    message: messageOf(error, code).slice(0, LONGEST_MESSAGE),
    stack: framesOf(error),
    ...(cause !== undefined && depth < MOST_CAUSES && { cause: describeError(cause, depth + 1) }),
  };
}

/** The message without the values that Postgres, MikroORM and JSON.parse put into it. */
function messageOf({ message, name }: Error, code: unknown): string {
  const isDatabase = typeof code === "string" && SQLSTATE.test(code);
  // MikroORM appends "detail: Key (id)=(what the user wrote) already exists".
  const [line = ""] = isDatabase ? message.split("\n") : [message];
  // Class 22 is data that does not fit, 42601 a syntax error: both quote it, in the marks of the server's language. Elsewhere quotes hold
  // the names of tables.
  const quotesInput = (isDatabase && (/^22/.test(code) || code === "42601")) || name === "SyntaxError";
  return quotesInput ? line.replace(/["„“«»].*/s, "…") : line;
}

/** The frames alone. A stack repeats the message, and the message may hold lines that look like frames. */
function framesOf({ stack = "", message }: Error): string[] {
  const lines = stack.split("\n").map((line) => line.trim());
  return lines.filter((line) => line.startsWith("at ") && !message.includes(line)).slice(0, MOST_FRAMES);
}

/** A line for a person. Control characters could move the cursor or forge a line. */
function readable(line: string): string {
  const { level, time, msg, ...fields } = JSON.parse(line) as Record<string, unknown>;
  const label = pino.levels.labels[Number(level)] ?? "";
  const rest = Object.keys(fields).length > 0 ? ` ${JSON.stringify(fields)}` : "";
  return `${`${String(time).slice(11, 19)} ${label.padEnd(5)} ${msg ?? ""}${rest}`.replaceAll(/\p{Cc}/gu, " ")}\n`;
}
