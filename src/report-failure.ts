import { randomUUID } from "node:crypto";
import { AppError, type ErrorDetails, type Failure, toFailure } from "./errors.ts";
import type { Logger } from "./logger.ts";

/** What a client may be told about any thrown value. */
export interface Report extends ErrorDetails {
  failure: Failure;
}

/**
 * Turns a thrown value into what a client is told. An expected failure goes out as it is and is logged at debug level; anything else is
 * logged whole under a new id, and only the id goes out.
 */
export function reportFailure(error: unknown, log: Pick<Logger, "debug" | "error">): Report {
  if (error instanceof AppError) {
    log.debug({ err: error }, "request refused");
    return { failure: toFailure(error, null), ...error.details };
  }
  const errorId = randomUUID();
  log.error({ err: error, errorId }, "unexpected failure");
  return { failure: toFailure(error, errorId) };
}
