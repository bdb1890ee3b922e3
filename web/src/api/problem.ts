/** What went wrong, in the server's own words where it had any. */

import type { CombinedError } from "urql";
import type { ErrorCode, FailurePartsFragment } from "../generated/graphql.ts";

/** UNREACHABLE: there was no answer at all. */
export type ProblemCode = ErrorCode | "UNREACHABLE";

export interface Problem {
  code: ProblemCode;
  /** What happened and what to do about it. */
  message: string;
  /** Whether the same may work later. */
  retryable: boolean;
  errorId: string | null;
}

/** An error as GraphQL sends it. */
interface ServerError {
  message: string;
  extensions?: Partial<Problem>;
}

const UNREACHABLE = "The server does not answer. It may be restarting, or the network is down; this page keeps trying.";
/** The close code of a socket whose token is not good, or not any more. */
const FORBIDDEN_CLOSE = 4403;

/** Behind an error of a query or a mutation. */
export function problemOf({ graphQLErrors: [first] }: CombinedError): Problem {
  return first ? problemOfError(first) : unreachable();
}

/** Behind the end of a subscription: errors that the server sent, the event of a socket that closed, or anything else. */
export function problemOfEnd(reason: unknown): Problem {
  const [first] = Array.isArray(reason) ? (reason as ServerError[]) : [];
  if (first) {
    return problemOfError(first);
  }
  const { code, reason: words } = (reason ?? {}) as Partial<CloseEvent>;
  return code === FORBIDDEN_CLOSE ? plain("UNAUTHENTICATED", words || "The token is not accepted any more.") : unreachable();
}

/** That a run carries. */
export function problemOfFailure({ code, message, retryable, errorId }: FailurePartsFragment): Problem {
  return { code, message, retryable, errorId };
}

function problemOfError({ message, extensions }: ServerError): Problem {
  const { code = "INTERNAL", retryable = false, errorId = null } = extensions ?? {};
  return { code, message, retryable, errorId };
}

function unreachable(): Problem {
  return { ...plain("UNREACHABLE", UNREACHABLE), retryable: true };
}

function plain(code: ProblemCode, message: string): Problem {
  return { code, message, retryable: false, errorId: null };
}
