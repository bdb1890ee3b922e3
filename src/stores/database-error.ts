/** What went wrong with the database, in words for whoever can mend it. */

import { AppError } from "../errors.ts";

const CONNECTION_CODES = new Set(["ECONNREFUSED", "ECONNRESET", "ENOTFOUND", "ETIMEDOUT", "EPIPE", "EHOSTUNREACH", "EAI_AGAIN"]);

const STATEMENT_CANCELLED = "57014";
const LOCK_NOT_AVAILABLE = "55P03";

/** An AppError for a database that is away, full or too slow; anything else as it is. */
export function databaseError(error: unknown): unknown {
  if (error instanceof AppError || !(error instanceof Error)) {
    return error;
  }
  const code = errorCode(error);
  if (code === "53100") {
    return new AppError("STORAGE_FULL", "The database's disk is full. Make room, then try again.", { cause: error });
  }
  if (code === STATEMENT_CANCELLED || code === LOCK_NOT_AVAILABLE) {
    return tooSlow(error);
  }
  if (isConnectionFault(code, error.message)) {
    return new AppError("SERVICE_UNAVAILABLE", "The database does not answer. Start it, or check DATABASE_URL.", {
      cause: error,
    });
  }
  return error;
}

export function tooSlow(cause: Error): AppError {
  const remedy = "Try again; if it goes on, look what keeps it busy or holds a lock (pg_stat_activity).";
  return new AppError("SERVICE_UNAVAILABLE", `The database took too long. ${remedy}`, { cause });
}

/** True when the connection is gone or the server does not answer. */
export function isUnavailable(error: unknown): boolean {
  return error instanceof Error && isConnectionFault(errorCode(error), error.message);
}

/** True when a unique key was hit. */
export function isUniqueViolation(error: unknown): boolean {
  return error instanceof Error && errorCode(error) === "23505";
}

/** True when rows do not fit each other or their columns: a reference to nothing, a key twice, a value out of range. */
export function isContradiction(error: unknown): boolean {
  return error instanceof Error && /^(?:22|23)/.test(errorCode(error) ?? "");
}

/** True when the transaction was ended because two waited for each other: it may be tried again. */
export function isDeadlock(error: unknown): boolean {
  return error instanceof Error && errorCode(error) === "40P01";
}

/** The SQLSTATE or system code of an error or of what caused it. */
function errorCode(error: Error): string | null {
  const code = (error as NodeJS.ErrnoException).code;
  if (typeof code === "string") {
    return code;
  }
  if (error instanceof AggregateError && error.errors[0] instanceof Error) {
    return errorCode(error.errors[0]);
  }
  return error.cause instanceof Error ? errorCode(error.cause) : null;
}

function isConnectionFault(code: string | null, message: string): boolean {
  if (code !== null) {
    // 08: connection exceptions. 57P: shut down, crashed, starting up. 53300: too many connections. 25P03: idle for too long.
    return CONNECTION_CODES.has(code) || code.startsWith("08") || code.startsWith("57P") || code === "53300" || code === "25P03";
  }
  return /Connection terminated|timeout exceeded when trying to connect|Query read timeout|Client has encountered a connection error/.test(
    message,
  );
}
