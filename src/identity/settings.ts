/** The settings that say who is let in. Read by `config.ts` with all the others. */

import { createPublicKey, type KeyObject } from "node:crypto";
import { z } from "zod";
import type { AuthenticationSettings } from "./authenticator.ts";
import { isLoopback } from "./origins.ts";
import type { WebTokenSettings } from "./web-tokens.ts";

/** Algorithms by the sort of key they need. "none" is in no list, and a public key never serves as a secret. */
const SECRET_ALGORITHMS = ["HS256", "HS384", "HS512"];
const KEY_ALGORITHMS: Record<string, string[]> = {
  rsa: ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"],
  ec: ["ES256", "ES384", "ES512"],
  ed25519: ["EdDSA", "Ed25519"],
};
const PUBLIC_ALGORITHMS = Object.values(KEY_ALGORITHMS).flat();
const SHORTEST_SECRET = 32;
const LONGEST_TOLERANCE = 300;

const words = z.string().transform((text) => text.split(/[\s,]+/).filter((word) => word !== ""));

export const IDENTITY_SETTINGS = {
  AUTH: words
    .refine(
      (kinds) => kinds.every((kind) => ["none", "keys", "jwt"].includes(kind)) && (kinds.length === 1 || !kinds.includes("none")),
      "must be none, keys, jwt, or keys,jwt.",
    )
    .default(["none"]),
  JWT_JWKS_URL: z
    .string()
    .refine(isKeysUrl, "must be an https address, such as https://login.example.com/.well-known/jwks.json; http only on this machine.")
    .optional(),
  JWT_PUBLIC_KEY: z
    .string()
    // Files of settings and shells often hold a line break as two characters.
    .transform((text) => text.replaceAll("\\n", "\n"))
    .refine((text) => publicKey(text) !== null, "must be a public key in PEM: -----BEGIN PUBLIC KEY----- and so on.")
    .optional(),
  JWT_SECRET: z
    .string()
    .refine(
      (text) => Buffer.byteLength(text) >= SHORTEST_SECRET,
      `must have at least ${SHORTEST_SECRET} bytes: shorter ones can be guessed.`,
    )
    .optional(),
  JWT_ISSUER: z.string().optional(),
  JWT_AUDIENCE: z.string().optional(),
  JWT_ALGORITHMS: words
    .refine(
      (names) => names.length > 0 && names.every((name) => [...SECRET_ALGORITHMS, ...PUBLIC_ALGORITHMS].includes(name)),
      `must be names of signatures such as RS256 or ES256; known are ${[...PUBLIC_ALGORITHMS, ...SECRET_ALGORITHMS].join(", ")}.`,
    )
    .optional(),
  JWT_SUBJECT_CLAIM: z.string().default("sub"),
  JWT_SCOPE_CLAIM: z.string().default("scope"),
  JWT_CLOCK_TOLERANCE: z
    .string()
    .regex(/^\d{1,3}$/, `must be a whole number of seconds, at most ${LONGEST_TOLERANCE}.`)
    .transform(Number)
    .refine((seconds) => seconds <= LONGEST_TOLERANCE, `must be a whole number of seconds, at most ${LONGEST_TOLERANCE}.`)
    .default(5),
  CORS_ORIGINS: words
    .refine((origins) => origins.every(isOrigin), "must be origins of web pages, such as https://chat.example.com, separated by commas.")
    .default([]),
};

const schema = z.object(IDENTITY_SETTINGS);
type Settings = z.output<typeof schema>;

/** What is wrong with the settings together: a sentence each that begins with a setting's name. */
export function authenticationFaults(settings: Settings): string[] {
  if (!settings.AUTH.includes("jwt")) {
    return [];
  }
  const keys = keysOf(settings);
  const [key] = keys;
  const fitting = key ? algorithmsFor(key) : [];
  const misfits = (settings.JWT_ALGORITHMS ?? []).filter((name) => !fitting.includes(name));
  return [
    ...(keys.length === 1 ? [] : ["JWT_JWKS_URL, JWT_PUBLIC_KEY or JWT_SECRET must say how to check tokens. Set one of the three."]),
    ...(settings.JWT_ISSUER === undefined
      ? ["JWT_ISSUER is missing. Set it to the iss claim of your tokens: tokens of others are then refused."]
      : []),
    ...(settings.JWT_AUDIENCE === undefined
      ? ["JWT_AUDIENCE is missing. Set it to the aud claim of tokens for this server: those for other servers are then refused."]
      : []),
    ...(key && misfits.length > 0
      ? [`JWT_ALGORITHMS names ${misfits.join(", ")}, which the key is not for. It may name ${fitting.join(", ")}.`]
      : []),
  ];
}

/** Who is let in, from settings without faults. */
export function authenticationOf(settings: Settings): AuthenticationSettings {
  const keys = settings.AUTH.includes("keys");
  const { JWT_ISSUER: issuer, JWT_AUDIENCE: audience } = settings;
  const [key] = keysOf(settings);
  if (!settings.AUTH.includes("jwt") || !key || issuer === undefined || audience === undefined) {
    return { keys, webTokens: null };
  }
  return {
    keys,
    webTokens: {
      key,
      issuer,
      audience,
      algorithms: settings.JWT_ALGORITHMS ?? usualFor(key),
      subjectClaim: settings.JWT_SUBJECT_CLAIM,
      scopeClaim: settings.JWT_SCOPE_CLAIM,
      clockTolerance: settings.JWT_CLOCK_TOLERANCE,
    },
  };
}

function keysOf({ JWT_JWKS_URL, JWT_PUBLIC_KEY, JWT_SECRET }: Settings): WebTokenSettings["key"][] {
  return [
    ...(JWT_JWKS_URL === undefined ? [] : [{ jwksUrl: JWT_JWKS_URL }]),
    ...(JWT_PUBLIC_KEY === undefined ? [] : [{ publicKey: JWT_PUBLIC_KEY }]),
    ...(JWT_SECRET === undefined ? [] : [{ secret: JWT_SECRET }]),
  ];
}

/** Those taken when nobody says: published keys may be of either usual sort. */
function usualFor(key: WebTokenSettings["key"]): string[] {
  return "jwksUrl" in key ? ["RS256", "ES256"] : algorithmsFor(key).slice(0, 1);
}

/** Those a key is for. */
function algorithmsFor(key: WebTokenSettings["key"]): string[] {
  if ("secret" in key) {
    return SECRET_ALGORITHMS;
  }
  return "jwksUrl" in key ? PUBLIC_ALGORITHMS : (KEY_ALGORITHMS[publicKey(key.publicKey)?.asymmetricKeyType ?? ""] ?? []);
}

function publicKey(pem: string): KeyObject | null {
  try {
    // From a private key the public one could be made; it has no place here.
    return pem.includes("PRIVATE") ? null : createPublicKey(pem);
  } catch {
    return null;
  }
}

function isKeysUrl(text: string): boolean {
  const url = URL.parse(text);
  return url !== null && (url.protocol === "https:" || (url.protocol === "http:" && isLoopback(url.host)));
}

function isOrigin(text: string): boolean {
  const url = URL.parse(text);
  return url !== null && ["http:", "https:"].includes(url.protocol) && url.origin === text;
}
