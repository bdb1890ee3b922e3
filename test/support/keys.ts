/** API keys for tests, made the way `npm run keys` makes them. */

import { makeApiKey } from "../../src/identity/api-keys.ts";
import type { Scope } from "../../src/identity/identity.ts";
import { answerKeyCommand } from "../../src/stores/api-keys.ts";
import type { Database } from "../../src/stores/database.ts";

export interface TestKey {
  keyId: string;
  token: string;
}

/** A key for this user, or of this scope. */
export async function makeKey(
  database: Database,
  whom: { user: string } | { scope: Scope },
  expiresAt: Date | null = null,
): Promise<TestKey> {
  const { keyId, token, secretHash } = makeApiKey();
  const scope = "user" in whom ? "user" : whom.scope;
  const subject = "user" in whom ? whom.user : null;
  const expires = expiresAt?.toISOString() ?? null;
  await answerKeyCommand(database, { do: "create", keyId, secretHash, scope, subject, name: null, expiresAt: expires });
  return { keyId, token };
}

export async function revokeKey(database: Database, keyId: string): Promise<void> {
  await answerKeyCommand(database, { do: "revoke", keyId });
}

export function bearer(token: string): { authorization: string } {
  return { authorization: `Bearer ${token}` };
}
