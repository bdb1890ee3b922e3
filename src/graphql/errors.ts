import { GraphQLError, type GraphQLFormattedError, Kind } from "graphql";
import { AppError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import { type Report, reportFailure } from "../report-failure.ts";

/** GraphQL repeats what it was sent in its complaints: the longest text in quotes, and the longest complaint, that go back whole. */
const MAX_QUOTED = 100;
const MAX_COMPLAINT = 400;

export interface Masking {
  log: Pick<Logger, "debug" | "error">;
  /** Whether a complaint may name parts of the schema that the request did not. */
  hints: boolean;
}

/**
 * What a client is told about any error of an operation, on HTTP and WebSocket alike: our own failures with code and
 * remedy, GraphQL's complaints about the request as BAD_USER_INPUT, everything else as INTERNAL with the id under which
 * it was logged. Never a stack, never the text of an unexpected error.
 */
export function maskError(error: unknown, { log, hints }: Masking): GraphQLFormattedError {
  const place = error instanceof GraphQLError ? placeOf(error) : {};
  if (error instanceof GraphQLError && isRequestFault(error)) {
    return {
      message: shorten(hints ? error.message : withoutHint(error.message)),
      ...place,
      extensions: { code: "BAD_USER_INPUT", retryable: false },
    };
  }
  return { ...formatReport(reportFailure(rootOf(error), log)), ...place };
}

/** The same for a failure before there was an operation, such as a body that is not JSON. */
export function formatReport({ failure, ...details }: Report): GraphQLFormattedError {
  const { code, message, retryable, errorId } = failure;
  return { message, extensions: { code, retryable, ...(errorId !== null && { errorId }), ...details } };
}

/** GraphQL ends a complaint about an unknown name with those of the schema that are like it. */
function withoutHint(message: string): string {
  const at = message.endsWith("?") ? message.lastIndexOf(" Did you mean ") : -1;
  return at < 0 ? message : message.slice(0, at);
}

/** Where in the document and in the answer it happened. */
function placeOf({ locations, path }: GraphQLError): Pick<GraphQLFormattedError, "locations" | "path"> {
  return { ...(locations && { locations }), ...(path && { path }) };
}

/** The failure of ours among an error and those it wraps, or else the innermost. */
function rootOf(error: unknown): unknown {
  let current = error;
  while (current instanceof GraphQLError && current.originalError) {
    current = current.originalError;
  }
  return current;
}

/**
 * True for what GraphQL found wrong with the request itself: syntax, validation, operation, variables and arguments.
 * Errors of resolvers have a path and point to a field; errors of arguments that only show when a field is resolved have
 * a path as well, but point to the value. A broken result of ours is a GraphQLError too: it points to a field.
 */
function isRequestFault(error: GraphQLError): boolean {
  const root = rootOf(error);
  if (root instanceof AppError) {
    return false;
  }
  const node = error.nodes?.[0];
  if (error.path) {
    return node !== undefined && node.kind !== Kind.FIELD;
  }
  return root instanceof GraphQLError || node !== undefined;
}

/** Keeps the start and the end of what is too long: they say what was wrong, and where. */
function shorten(message: string): string {
  return cut(
    message.replaceAll(/"(?:[^"\\]|\\.)*"/g, (quoted) => cut(quoted, MAX_QUOTED)),
    MAX_COMPLAINT,
  );
}

function cut(text: string, length: number): string {
  return text.length <= length ? text : `${text.slice(0, length / 2)}…${text.slice(-length / 2)}`.toWellFormed();
}
