/** Who is asking, and for whom they may act. The same on every transport. */

import { userId } from "../agent/input.ts";
import type { UserId } from "../agent/types.ts";
import { AppError, badInput } from "../errors.ts";

/** user: acts for one user. service: for any user it names. admin: as service, and sees how the server is doing. */
export const SCOPES = ["user", "service", "admin"] as const;
export type Scope = (typeof SCOPES)[number];

/** Who is calling. `anonymous`: this server asks for no tokens and serves its own machine only. */
export type Identity = { kind: "anonymous" } | { kind: "user"; userId: UserId } | { kind: "service" } | { kind: "admin" };

/** A caller who was let in. */
export interface Access {
  identity: Identity;
  /** Calls `end` once, with what to tell the caller, when the token is not good any more. Returns what stops the watching. */
  watch(end: (reason: AppError) => void): () => void;
}

/** Lets callers in by their tokens. */
export interface Authenticator {
  /** False: everybody on this machine is let in, as `anonymous`. */
  readonly required: boolean;
  /**
   * `credential`: what the caller sent, such as "Bearer …"; null when nothing. Throws UNAUTHENTICATED, or SERVICE_UNAVAILABLE
   * when nobody can say now whether a token is good.
   */
  identify(credential: string | null): Promise<Access>;
  /** Stops watching tokens. */
  close(): void;
}

/**
 * The user to act for: the one asked for, once the caller may act for them. Never everyone. Throws BAD_USER_INPUT when
 * nobody is named, and FORBIDDEN, whether or not there is such a user.
 */
export function actingUser(identity: Identity, requested: string | null | undefined, path = "userId"): UserId {
  if (identity.kind === "user") {
    if (requested != null && requested !== identity.userId) {
      throw new AppError("FORBIDDEN", `${path}: this token acts for its own user only. Leave ${path} out, or use a token of a service.`);
    }
    return identity.userId;
  }
  if (requested == null) {
    throw badInput(path, `is missing. ${WHY_NAMED[identity.kind]}`);
  }
  return userId(requested, path);
}

const WHY_NAMED: Record<"anonymous" | "service" | "admin", string> = {
  anonymous: "Send the userId argument (user_id over REST): this server asks for no tokens, so it cannot know who you are.",
  service: "Send the userId argument (user_id over REST): the token of a service names no user.",
  admin: "Send the userId argument (user_id over REST): the token of an admin names no user.",
};

/** Whether the caller may act for this user. */
export function mayActFor(identity: Identity, user: UserId): boolean {
  return identity.kind !== "user" || identity.userId === user;
}

/** Whether the caller may see how the server is doing: an admin does, and without tokens whoever is on this machine. */
export function seesServer({ kind }: Identity): boolean {
  return kind === "anonymous" || kind === "admin";
}
