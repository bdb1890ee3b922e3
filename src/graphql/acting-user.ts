import { userId } from "../agent/input.ts";
import type { Services } from "../agent/ports.ts";
import type { UserId } from "../agent/types.ts";
import { badInput } from "../errors.ts";

/** Who is calling. `anonymous`: this server asks for no tokens and listens to its own machine only. */
export type Identity = { kind: "anonymous" };

/** What every resolver is given. One per HTTP request, or per operation over WebSocket. */
export interface RequestContext {
  services: Services;
  identity: Identity;
  /** The client's own id of this operation when it is a UUID and came over WebSocket: a reconnecting client sends it again. */
  operationId: string | null;
  /** Aborts when nobody waits for the answer any more. */
  signal: AbortSignal;
}

/** The user to act for: the one asked for, once the caller may act for them. Never everyone. Throws BAD_USER_INPUT. */
export function actingUser(
  { identity, services }: Pick<RequestContext, "identity" | "services">,
  requested: string | null | undefined,
): UserId {
  switch (identity.kind) {
    case "anonymous":
      if (requested == null) {
        const refusal = badInput(
          "userId",
          "is missing. Send the userId argument: this server asks for no tokens, so it cannot know who you are.",
        );
        services.status.noteRefusal(refusal);
        throw refusal;
      }
      return userId(requested);
    default:
      return identity.kind satisfies never;
  }
}
