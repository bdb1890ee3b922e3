/** Requests that write and have a key: each is carried out once, and what it came to is kept for whoever sends it again. */

import type { RequestStore } from "../agent/ports.ts";
import type { RequestKey, UserId } from "../agent/types.ts";
import { AppError } from "../errors.ts";
import type { Database, Transaction } from "./database.ts";

/** How a request is carried out, and answered when it is sent again. */
export interface Act<T, Kept extends object> {
  /** Null: nothing was done, and nothing is kept. */
  work(): Promise<T | null>;
  /** What is enough to give the answer again: ids, no text of users. */
  keep(result: T): Kept;
  /** The answer to a repeat: what was done then, the things it names as they are now. Null when they are gone. */
  recall(kept: Kept): Promise<T | null>;
}

/**
 * Does the work of a request once. The record is written in the transaction of the effect, so there is never one without the
 * other; who sends the same request meanwhile, to any process, waits on the record's key until that transaction has ended.
 * A request without a key is always carried out. Throws IDEMPOTENCY_CONFLICT when the key belongs to another request.
 */
export async function once<T, Kept extends object>(
  transaction: Transaction,
  user: UserId,
  request: RequestKey | null,
  act: Act<T, Kept>,
): Promise<T | null> {
  if (request === null) {
    return act.work();
  }
  if (!(await claim(transaction, user, request))) {
    const kept = await find<Kept>(transaction, user, request);
    // Nothing is kept for a user who is not there; there is nothing to do either.
    return kept ? act.recall(kept) : act.work();
  }
  const result = await act.work();
  if (result === null) {
    await transaction.query("delete from recollect_idempotency where user_id = $1 and key = $2", [user, request.key]);
    return null;
  }
  await transaction.query("update recollect_idempotency set result = $3::jsonb where user_id = $1 and key = $2", [
    user,
    request.key,
    JSON.stringify(act.keep(result)),
  ]);
  return result;
}

/** For requests whose effect is not one transaction, and does no more the second time. */
export function createRequestStore(database: Database): RequestStore {
  return {
    async seen(user, request) {
      return request !== null && (await database.asUser(user, (transaction) => find(transaction, user, request))) !== null;
    },

    async keep(user, request) {
      if (request !== null) {
        const done = async () => true;
        await database.asUser(user, (transaction) => once(transaction, user, request, { work: done, keep: () => ({}), recall: done }));
      }
    },
  };
}

/** True when the request is new and now this transaction's. Waits for another transaction that holds it. */
async function claim(transaction: Transaction, user: UserId, { key, operation, fingerprint }: RequestKey): Promise<boolean> {
  const rows = await transaction.query(
    `insert into recollect_idempotency (user_id, key, operation, fingerprint)
    select $1, $2, $3, $4 from recollect_users where user_id = $1
      and not exists (select 1 from recollect_runs where user_id = $1 and idempotency_key = $2)
    on conflict do nothing returning 1 as one`,
    [user, key, operation, fingerprint],
  );
  return rows.length === 1;
}

/** What is kept of this request; null when there was none. Runs keep their keys themselves. */
async function find<Kept>(transaction: Transaction, user: UserId, { key, operation, fingerprint }: RequestKey): Promise<Kept | null> {
  const [row] = await transaction.query<{ operation: string; fingerprint: string; result: Kept }>(
    `select operation, fingerprint, result from recollect_idempotency where user_id = $1 and key = $2
    union all select 'runAgent', fingerprint, '{}' from recollect_runs where user_id = $1 and idempotency_key = $2`,
    [user, key],
  );
  if (row && (row.operation !== operation || row.fingerprint !== fingerprint)) {
    throw new AppError("IDEMPOTENCY_CONFLICT", "This idempotencyKey was used for another request. Use a new key for each request.");
  }
  return row?.result ?? null;
}
