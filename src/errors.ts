/**
 * The catalogue of expected failures. Everything a client may be told about is an `AppError` with one of these
 * codes; anything else is a fault of the server, logged whole and answered as INTERNAL with an error id.
 */

/** The sorts of fault, the same words in GraphQL (`extensions.code`), in `run.error` and in REST. */
export const ERROR_CODES = [
  "BAD_USER_INPUT",
  "UNAUTHENTICATED",
  "FORBIDDEN",
  "NOT_FOUND",
  "CONFLICT",
  "IDEMPOTENCY_CONFLICT",
  "PAYLOAD_TOO_LARGE",
  "CANCELLED",
  "RATE_LIMITED",
  "BUDGET_EXCEEDED",
  "MODEL_UNAVAILABLE",
  "MODEL_BAD_RESPONSE",
  "MODEL_TIMEOUT",
  "RUN_INTERRUPTED",
  "SERVICE_UNAVAILABLE",
  "STORAGE_FULL",
  "INTERNAL",
] as const;

export type ErrorCode = (typeof ERROR_CODES)[number];

/** Codes after which the same request may succeed later. */
const RETRYABLE: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "RATE_LIMITED",
  "MODEL_UNAVAILABLE",
  "MODEL_BAD_RESPONSE",
  "MODEL_TIMEOUT",
  "RUN_INTERRUPTED",
  "SERVICE_UNAVAILABLE",
  "STORAGE_FULL",
]);

/** A failure as data: stored with a run, sent in events. The message says what happened and what to do about it. */
export interface Failure {
  code: ErrorCode;
  message: string;
  retryable: boolean;
  /** Finds the log entry of an INTERNAL failure; null when there is nothing to look up. */
  errorId: string | null;
}

/** What a code may carry beside its message; sent to clients in `extensions`. */
export interface ErrorDetails {
  /** Arguments at fault, for BAD_USER_INPUT. */
  fields?: { path: string; message: string }[];
  /** The version a stale write should have named, for CONFLICT. */
  currentVersion?: number;
  /** When to come back, in seconds. */
  retryAfterSeconds?: number;
  /** The limit that was passed, and the most it allows. */
  limit?: { name: string; max: number };
}

/** An expected failure. `message` is written for the person who sees it: what happened, then the remedy. */
export class AppError extends Error {
  override readonly name = "AppError";
  readonly code: ErrorCode;
  readonly details: ErrorDetails;

  constructor(code: ErrorCode, message: string, options: { cause?: unknown; details?: ErrorDetails } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.details = options.details ?? {};
  }

  get retryable(): boolean {
    return RETRYABLE.has(this.code);
  }
}

/** A BAD_USER_INPUT that names the argument at fault. */
export function badInput(path: string, message: string): AppError {
  return new AppError("BAD_USER_INPUT", `${path}: ${message}`, { details: { fields: [{ path, message }] } });
}

/** The failure to store and to show for any thrown value. Unexpected ones keep their text out of it: pass the id under which they were logged. */
export function toFailure(error: unknown, errorId: string | null): Failure {
  if (error instanceof AppError) {
    return { code: error.code, message: storable(error.message), retryable: error.retryable, errorId: null };
  }
  const message = "The server failed in a way it did not expect. Quote the error id to whoever runs it; the log has the rest.";
  return { code: "INTERNAL", message, retryable: false, errorId };
}

/** Text from outside made fit for a database: no NUL, no half of a surrogate pair. */
export function storable(text: string): string {
  return text.toWellFormed().replaceAll("\0", "");
}

/** HTTP status of a code, for REST. */
export function httpStatus(code: ErrorCode): number {
  switch (code) {
    case "BAD_USER_INPUT":
      return 400;
    case "UNAUTHENTICATED":
      return 401;
    case "FORBIDDEN":
      return 403;
    case "NOT_FOUND":
      return 404;
    case "CONFLICT":
    case "IDEMPOTENCY_CONFLICT":
    case "CANCELLED":
      return 409;
    case "PAYLOAD_TOO_LARGE":
      return 413;
    case "RATE_LIMITED":
    case "BUDGET_EXCEEDED":
      return 429;
    case "MODEL_BAD_RESPONSE":
      return 502;
    case "MODEL_UNAVAILABLE":
    case "RUN_INTERRUPTED":
    case "SERVICE_UNAVAILABLE":
      return 503;
    case "MODEL_TIMEOUT":
      return 504;
    case "STORAGE_FULL":
      return 507;
    case "INTERNAL":
      return 500;
    default:
      return code satisfies never;
  }
}
