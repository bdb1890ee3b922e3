import { AppError } from "../errors.ts";

/** Fields of a request that a server may not know; it is asked again without those it names in its refusal. */
export const OPTIONAL_FIELDS = ["response_format", "stream_options", "max_tokens", "temperature"] as const;
export type OptionalField = (typeof OPTIONAL_FIELDS)[number];

/** A failed request: what to tell people, and what may be done about it. */
export class ModelFault extends Error {
  override readonly name = "ModelFault";
  readonly error: AppError;
  /** The same request may succeed in a moment. */
  readonly retry: boolean;
  /** The server does not answer, or does not manage to: other requests will hardly do better. */
  readonly away: boolean;
  /** How long the server asked us to wait, in milliseconds. */
  readonly retryAfter: number | null;
  /** The server does not have the model. */
  readonly missingModel: boolean;
  /** The optional fields the server complains of. */
  readonly refused: readonly OptionalField[];

  constructor(error: AppError, more: Partial<Pick<ModelFault, "retry" | "away" | "retryAfter" | "missingModel" | "refused">> = {}) {
    super(error.message, { cause: error });
    this.error = error;
    this.retry = more.retry ?? false;
    this.away = more.away ?? false;
    this.retryAfter = more.retryAfter ?? null;
    this.missingModel = more.missingModel ?? false;
    this.refused = more.refused ?? [];
  }
}

/** The remedy when an address does not seem to be a model server's. */
export const CHECK_ADDRESS = "Check that OPENAI_BASE_URL names an OpenAI-compatible server; its address ends in /v1 as a rule.";

/** The reply stopped before its end. */
export function truncated(address: string, cause?: unknown): AppError {
  return new AppError(
    "MODEL_BAD_RESPONSE",
    `The model server at ${address} stopped before its answer was complete. Try again; if it happens often, look at that server's log.`,
    { cause },
  );
}

/** What came back is nothing a model server sends. */
export function garbled(address: string, cause?: unknown): AppError {
  return new AppError("MODEL_BAD_RESPONSE", `${address} answered with something no model server sends. ${CHECK_ADDRESS}`, { cause });
}
