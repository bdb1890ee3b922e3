/** JSON Web Tokens of somebody who signs people in. Nothing in one is believed before its signature was checked. */

import { createPublicKey } from "node:crypto";
import { createRemoteJWKSet, errors, type JWTPayload, type JWTVerifyOptions, jwtVerify } from "jose";
import { userId } from "../agent/input.ts";
import { AppError } from "../errors.ts";
import type { Access, Identity } from "./identity.ts";

/** How tokens are checked. */
export interface WebTokenSettings {
  /** Where the signer's public keys are, or the one key: its own (PEM), or the secret shared with the signer. */
  key: { jwksUrl: string } | { publicKey: string } | { secret: string };
  issuer: string;
  audience: string;
  algorithms: string[];
  /** The claim that names the user, and the one that lists scopes. */
  subjectClaim: string;
  scopeClaim: string;
  /** How far the signer's clock may be off, in seconds. */
  clockTolerance: number;
}

/** What a token lists to be more than a user; other scopes mean nothing here. */
const ADMIN_SCOPE = "recollect:admin";
const SERVICE_SCOPE = "recollect:service";

const FETCH_DEADLINE = 5_000;
/** Keys are fetched again after this long, and for a token of an unknown key no sooner than that (ms). */
const KEYS_KEPT = 10 * 60_000;
const COOLDOWN = 30_000;
/** The longest wait a timer can be set for (ms). */
const LONGEST_TIMER = 2 ** 31 - 1;

/** Checks a token. Throws UNAUTHENTICATED, or SERVICE_UNAVAILABLE when the signer's keys cannot be had. */
export function createWebTokens(settings: WebTokenSettings): (token: string) => Promise<Access> {
  const { issuer, audience, algorithms, subjectClaim, scopeClaim, clockTolerance } = settings;
  const options: JWTVerifyOptions = { issuer, audience, algorithms, clockTolerance, requiredClaims: ["exp"] };
  const verify = verifierOf(settings.key);
  return async (token) => {
    const claims = await verify(token, options);
    const identity = identityOf(claims[subjectClaim], claims[scopeClaim]);
    const ends = ((claims.exp ?? 0) + clockTolerance) * 1_000;
    return { identity, watch: (end) => whenTimeIsUp(ends, () => end(expired())) };
  };
}

type Verify = (token: string, options: JWTVerifyOptions) => Promise<JWTPayload>;

function verifierOf(key: WebTokenSettings["key"]): Verify {
  if ("jwksUrl" in key) {
    const settings = { timeoutDuration: FETCH_DEADLINE, cacheMaxAge: KEYS_KEPT, cooldownDuration: COOLDOWN };
    const keys = createRemoteJWKSet(new URL(key.jwksUrl), settings);
    return async (token, options) => {
      try {
        return (await jwtVerify(token, keys, options)).payload;
      } catch (error) {
        throw refusal(error);
      }
    };
  }
  const only = "secret" in key ? new TextEncoder().encode(key.secret) : createPublicKey(key.publicKey);
  return async (token, options) => {
    try {
      return (await jwtVerify(token, only, options)).payload;
    } catch (error) {
      // Whatever is wrong, the key is there: a key of another kind than the token's algorithm is a TypeError.
      throw error instanceof errors.JWTExpired ? expired() : invalid();
    }
  };
}

/** Never with the cause: it holds what the token says. */
function refusal(error: unknown): AppError {
  if (error instanceof errors.JWTExpired) {
    return expired();
  }
  const keysAway =
    !(error instanceof errors.JOSEError) ||
    error instanceof errors.JWKSTimeout ||
    error instanceof errors.JWKSInvalid ||
    error.code === "ERR_JOSE_GENERIC";
  return keysAway
    ? new AppError("SERVICE_UNAVAILABLE", "The keys to check tokens with cannot be had. Try again; look at JWT_JWKS_URL if it lasts.")
    : invalid();
}

function expired(): AppError {
  return new AppError("UNAUTHENTICATED", "This token has expired. Get a new one.");
}

function invalid(): AppError {
  return new AppError("UNAUTHENTICATED", "This token is not good: its signature, issuer, audience or times are wrong. Get a new one.");
}

/** Throws UNAUTHENTICATED when the token stands for nobody. */
function identityOf(subject: unknown, scopeClaim: unknown): Identity {
  const scopes = typeof scopeClaim === "string" ? scopeClaim.split(" ") : Array.isArray(scopeClaim) ? scopeClaim : [];
  if (scopes.includes(ADMIN_SCOPE)) {
    return { kind: "admin" };
  }
  if (scopes.includes(SERVICE_SCOPE)) {
    return { kind: "service" };
  }
  try {
    return { kind: "user", userId: userId(typeof subject === "string" ? subject : "") };
  } catch {
    throw new AppError("UNAUTHENTICATED", "This token names no user: its subject is missing, or no text of 1 to 256 bytes.");
  }
}

/** Calls `then` at that time (ms since 1970) by this machine's clock. Returns what calls it off. */
function whenTimeIsUp(time: number, then: () => void): () => void {
  let timer: NodeJS.Timeout;
  const wait = (): void => {
    const left = time - Date.now();
    timer = left > LONGEST_TIMER ? setTimeout(wait, LONGEST_TIMER) : setTimeout(then, Math.max(0, left));
  };
  wait();
  return () => clearTimeout(timer);
}
