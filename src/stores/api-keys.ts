/** API keys in the database: looked up by the server under a role of its own, made and revoked by the operator. */

import { z } from "zod";
import type { UserId } from "../agent/types.ts";
import type { ApiKey, ApiKeyStore } from "../identity/api-keys.ts";
import { SCOPES, type Scope } from "../identity/identity.ts";
import type { Database } from "./database.ts";

/** When a key was used last is known to this much. */
const USE_NOTED_EVERY = "1 minute";
const GOOD = "revoked_at is null and (expires_at is null or expires_at > now())";

export function createApiKeyStore(database: Database): ApiKeyStore {
  return {
    find(secretHash) {
      return database.asKeys(async (transaction) => {
        const [row] = await transaction.commit<ApiKeyRow>(
          `with found as (
            select key_id, scope, subject, last_used_at is null or last_used_at < now() - $2::interval as use_unknown
            from recollect_api_keys where secret_hash = $1 and ${GOOD}
          ), noted as (
            update recollect_api_keys key set last_used_at = now() from found where key.key_id = found.key_id and use_unknown
          )
          select key_id, scope, subject from found`,
          [secretHash, USE_NOTED_EVERY],
        );
        return row ? toApiKey(row) : null;
      });
    },

    ended(keyIds) {
      return database.asKeys(async (transaction) => {
        const rows = await transaction.commit<{ key_id: string }>(
          `select given.key_id from jsonb_array_elements_text($1::jsonb) as given (key_id)
          where not exists (select 1 from recollect_api_keys key where key.key_id = given.key_id and ${GOOD})`,
          [JSON.stringify(keyIds)],
        );
        return rows.map((row) => row.key_id);
      });
    },
  };
}

/** What `npm run keys` asks for, in this process or, on the embedded folder, in the one that has it. */
const keyCommand = z.discriminatedUnion("do", [
  z.object({
    do: z.literal("create"),
    keyId: z.string(),
    secretHash: z.string(),
    scope: z.enum(SCOPES),
    subject: z.string().nullable(),
    name: z.string().nullable(),
    /** ISO 8601; null: it does not expire. */
    expiresAt: z.string().nullable(),
  }),
  z.object({ do: z.literal("list") }),
  z.object({ do: z.literal("revoke"), keyId: z.string() }),
]);
export type KeyCommand = z.infer<typeof keyCommand>;

/** A key as its operator sees it; times in ISO 8601. */
export interface ListedKey {
  id: string;
  scope: Scope;
  subject: string | null;
  name: string | null;
  state: "good" | "expired" | "revoked";
  created_at: string;
  expires_at: string | null;
  last_used_at: string | null;
}

/** The command in a question to the holder of a folder; null when it is something else, such as SQL, which never begins so. */
export function readKeyCommand(question: string): KeyCommand | null {
  return question.startsWith("{") ? keyCommand.parse(JSON.parse(question)) : null;
}

/** Carries it out as the operator. The keys it made, found or revoked. */
export function answerKeyCommand(database: Database, command: KeyCommand): Promise<ListedKey[]> {
  return database.asOperator(async (transaction) => {
    switch (command.do) {
      case "create": {
        const { keyId, secretHash, scope, subject, name, expiresAt } = command;
        return transaction.query<ListedKey>(
          `insert into recollect_api_keys (key_id, secret_hash, scope, subject, name, expires_at)
          values ($1, $2, $3, $4, $5, $6::timestamptz) returning ${LISTED}`,
          [keyId, secretHash, scope, subject, name, expiresAt],
        );
      }
      case "list":
        return transaction.query<ListedKey>(`select ${LISTED} from recollect_api_keys order by created_at, key_id`);
      case "revoke":
        return transaction.query<ListedKey>(
          `update recollect_api_keys set revoked_at = coalesce(revoked_at, now()) where key_id = $1 returning ${LISTED}`,
          [command.keyId],
        );
      default:
        return command satisfies never;
    }
  });
}

const LISTED = [
  "key_id as id, scope, subject, name",
  "case when revoked_at is not null then 'revoked' when expires_at <= now() then 'expired' else 'good' end as state",
  ...["created_at", "expires_at", "last_used_at"].map(
    (column) => `to_char(${column} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') as ${column}`,
  ),
].join(", ");

interface ApiKeyRow {
  key_id: string;
  scope: Scope;
  subject: string | null;
}

function toApiKey({ key_id, scope, subject }: ApiKeyRow): ApiKey {
  // Was checked as a user id when the key was made.
  return { keyId: key_id, scope, userId: subject as UserId | null };
}
