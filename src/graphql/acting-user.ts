import type { Services } from "../agent/ports.ts";
import type { UserId } from "../agent/types.ts";
import { actingUser as chosenUser, type Identity } from "../identity/identity.ts";

/** What every resolver is given. One per HTTP request, or per operation over WebSocket. */
export interface RequestContext {
  services: Services;
  identity: Identity;
  /** The client's own id of this operation when it is a UUID and came over WebSocket: a reconnecting client sends it again. */
  operationId: string | null;
  /** Aborts when nobody waits for the answer any more. */
  signal: AbortSignal;
  /** Aborts when the server begins to close: whoever leaves after that was sent away. */
  closing: AbortSignal;
}

/**
 * The user to act for, as `actingUser` of `identity/identity.ts` decides; what it throws is noted for whoever runs the server. Counts as
 * one of the user's requests: throws RATE_LIMITED for one too many.
 */
export function actingUser(context: Pick<RequestContext, "identity" | "services">, requested: string | null | undefined): UserId {
  const user = decide(context, requested);
  if (!counted.delete(context)) {
    context.services.rates.count(user);
  }
  return user;
}

/** Operations that count already, of whose fields the first is free. */
const counted = new WeakSet<object>();

/** Counts an operation of a user's token, which may act for nobody at all and still take time. Throws RATE_LIMITED. */
export function countOperation(context: RequestContext): void {
  const { identity, services } = context;
  if (identity.kind === "user") {
    services.rates.count(identity.userId);
    counted.add(context);
  }
}

function decide({ identity, services }: Pick<RequestContext, "identity" | "services">, requested: string | null | undefined): UserId {
  try {
    return chosenUser(identity, requested);
  } catch (error) {
    services.status.noteRefusal(error);
    throw error;
  }
}
