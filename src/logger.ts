/**
 * Structured logs: an object of fields, then a sentence. One JSON object a line; on a terminal a line a person can read.
 * At info and above there is no text of users: no message, memory, token or key.
 */

import { type DestinationStream, destination, type Logger as PinoLogger, pino } from "pino";
import type { LogLevel } from "./config.ts";

export type Logger = Pick<PinoLogger, "debug" | "info" | "warn" | "error" | "child">;

/** Errors of drivers carry whole statements, and those what users wrote. */
const LONGEST_ERROR = 500;

export function createLogger(level: LogLevel): Logger {
  const output: DestinationStream = process.stdout.isTTY ? { write: writeReadable } : destination({ dest: 1, sync: true });
  return pino({ level, base: null, timestamp: pino.stdTimeFunctions.isoTime, serializers: { err: describeError } }, output);
}

/** What is logged of an error: its kind, its code, the start of its message, where it was thrown, and the same of its cause. */
function describeError(error: unknown): unknown {
  if (!(error instanceof Error)) {
    return { message: String(error).slice(0, LONGEST_ERROR) };
  }
  const { code, cause } = error as Error & { code?: unknown };
  const stack = error.stack?.split("\n").filter((line) => /^\s+at /.test(line));
  return {
    type: error.name,
    ...(code !== undefined && { code }),
    message: messageOf(error),
    stack: stack?.map((line) => line.trim()).slice(0, 12),
    ...(cause !== undefined && { cause: describeError(cause) }),
  };
}

/** MikroORM puts the statement with its values before the driver's own words. */
function messageOf(error: Error): string {
  const { message } = error;
  const own = "query" in error ? message.slice(message.lastIndexOf(" - ") + 1) : message;
  return own.trim().slice(0, LONGEST_ERROR);
}

function writeReadable(line: string): void {
  const { level, time, msg, ...fields } = JSON.parse(line) as Record<string, unknown>;
  const label = pino.levels.labels[Number(level)] ?? "";
  const rest = Object.keys(fields).length > 0 ? ` ${JSON.stringify(fields)}` : "";
  process.stdout.write(`${String(time).slice(11, 19)} ${label.padEnd(5)} ${String(msg)}${rest}\n`);
}
