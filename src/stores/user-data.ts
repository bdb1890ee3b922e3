/** Everything stored about one user: handed out, taken in, erased. */

import { createHash } from "node:crypto";
import { v7 as uuid } from "uuid";
import { columnsOf, contradiction, LASTING_EVENTS, RECORD_KINDS, type RecordKind, type UserRecords } from "../agent/export-format.ts";
import type { Erasure, UserDataStore } from "../agent/ports.ts";
import type { UserId } from "../agent/types.ts";
import { AppError } from "../errors.ts";
import type { Database, Transaction } from "./database.ts";
import { isContradiction, isDeadlock } from "./database-error.ts";
import type { Pieces } from "./pieces.ts";
import { INTERRUPTED } from "./run-ends.ts";

/** Where a kind of record is kept. */
interface Place {
  table: string;
  order: string;
  /** What tells a record from another of the same user. */
  key: string[];
  /** Which rows are handed out; all by default. */
  where?: string;
  /** Columns that are handed out in another way than they are kept. */
  as?: Record<string, string>;
  /** Columns that are taken in with a value of their own. */
  set?: Record<string, string>;
}

const UNDER_WAY = "status in ('QUEUED', 'RUNNING', 'PAUSED')";

const PLACES: Record<RecordKind, Place> = {
  user: { table: "recollect_users", order: "user_id", key: ["user_id"] },
  session: { table: "agno_sessions", order: "sequence, session_id", key: ["session_id"] },
  run: {
    table: "recollect_runs",
    order: "session_id, turn",
    key: ["run_id"],
    // Of a run under way as much is handed out as would be left of it if the server stopped now.
    as: {
      status: `case when ${UNDER_WAY} then 'INTERRUPTED' else status end`,
      error: `case when ${UNDER_WAY} then '${JSON.stringify(INTERRUPTED).replaceAll("'", "''")}'::jsonb else error end`,
      finished_at: "coalesce(finished_at, created_at)",
      memory_status: "case when memory_status = 'PENDING' then 'SKIPPED' else memory_status end",
    },
    set: { reply_begun: "true", pieces_kept: "false" },
  },
  message: { table: "recollect_messages", order: "session_id, sequence", key: ["message_id"] },
  event: {
    table: "recollect_run_events",
    order: "run_id, sequence",
    key: ["run_id", "sequence"],
    where: `type in (${LASTING_EVENTS.map((type) => `'${type}'`).join(", ")})`,
  },
  memory: { table: "agno_memories", order: "sequence, memory_id", key: ["memory_id"] },
  evidence: { table: "recollect_memory_evidence", order: "memory_id, evidence_id", key: ["memory_id", "evidence_id"] },
  change: { table: "recollect_memory_history", order: "sequence", key: ["sequence", "memory_id"] },
  usage: { table: "recollect_usage", order: "day, purpose", key: ["day", "purpose"] },
};

/** Every table with rows of users, in the order in which a receipt names them. */
export const USER_TABLES: readonly string[] = [
  ...RECORD_KINDS.map((kind) => PLACES[kind].table),
  "recollect_jobs",
  "recollect_idempotency",
].sort();

/** How often an erasure is begun when others lock its rows in another order. */
const MAX_TRIES = 5;

/** `most`: how many memories a user may have; null: any number. */
export function createUserDataStore(database: Database, pieces: Pieces | null, most: number | null): UserDataStore {
  return {
    read(user) {
      return database.asUser(user, (transaction) => transaction.commit<{ kind: RecordKind; row: object }>(READ_ALL, [user]));
    },

    async write(user, records) {
      try {
        return await database.asUser(user, (transaction) => writeAll(transaction, user, records, most));
      } catch (error) {
        throw isContradiction(error) ? contradiction(error) : error;
      }
    },

    async active(user) {
      const rows = await database.asUser(user, (transaction) =>
        transaction.commit<{ run_id: string }>(
          `select run_id from recollect_runs where user_id = $1 and ${UNDER_WAY} order by session_id, turn desc`,
          [user],
        ),
      );
      return rows.map((row) => row.run_id);
    },

    async erase(user) {
      for (let tries = 1; ; tries++) {
        try {
          const erasure = await database.asUser(user, (transaction) => eraseAll(transaction, user));
          await pieces?.remove(user, erasure.runIds);
          return erasure;
        } catch (error) {
          if (!isDeadlock(error) || tries === MAX_TRIES) {
            throw error;
          }
        }
      }
    },
  };
}

/** One statement, so that all of it is of one moment. */
const READ_ALL = `select kind, row from (${RECORD_KINDS.map((kind, section) => {
  const { table, order, where = "true", as = {} } = PLACES[kind];
  const columns = columnsOf(kind).map((column) => (as[column] ? `${as[column]} as ${column}` : column));
  return `select ${section} as section, row_number() over (order by ${order}) as place, '${kind}' as kind, (
      select to_jsonb(own) from (select ${columns.join(", ")}) as own) as row
    from ${table} where user_id = $1 and ${where}`;
}).join(" union all ")}) as found order by section, place`;

/** Nothing is written unless the user has nothing yet; of what is there already the whole document must be there. */
async function writeAll(
  transaction: Transaction,
  user: UserId,
  records: UserRecords,
  most: number | null,
): Promise<{ imported: number; skipped: number }> {
  const total = RECORD_KINDS.reduce((sum, kind) => sum + records[kind].length, 0);
  if (total === 0) {
    return { imported: 0, skipped: 0 };
  }
  await transaction.query("insert into recollect_users (user_id) values ($1) on conflict do nothing", [user]);
  await transaction.query("select 1 from recollect_users where user_id = $1 for no key update", [user]);
  const [own] = await transaction.query<{ some: boolean }>(
    `select exists (select 1 from agno_sessions where user_id = $1) or exists (select 1 from agno_memories where user_id = $1) as some`,
    [user],
  );
  if (own?.some) {
    await requireAll(transaction, user, records);
    return { imported: 0, skipped: total };
  }
  const kept = records.memory.filter(({ status }) => status === "ACTIVE" || status === "QUARANTINED").length;
  if (most !== null && kept > most) {
    throw new AppError("BUDGET_EXCEEDED", `The document holds ${kept} memories; a user may have ${most}. Nothing was imported.`);
  }
  await transaction.query(
    `update recollect_users set session_sequence = greatest(session_sequence, $2), memory_sequence = greatest(memory_sequence, $3),
      created_at = coalesce($4::timestamptz, created_at) where user_id = $1`,
    [user, records.user[0]?.session_sequence ?? 0, records.user[0]?.memory_sequence ?? 0, records.user[0]?.created_at ?? null],
  );
  for (const kind of RECORD_KINDS) {
    if (kind !== "user" && records[kind].length > 0) {
      await transaction.query(insertInto(kind), [user, JSON.stringify(records[kind])]);
    }
  }
  return { imported: total, skipped: 0 };
}

/** All rows of a kind at once: memories may name memories that come later. */
function insertInto(kind: RecordKind): string {
  const { table, set = {} } = PLACES[kind];
  const columns = columnsOf(kind);
  const into = ["user_id", ...columns, ...Object.keys(set)].join(", ");
  const values = ["$1", ...columns, ...Object.values(set)].join(", ");
  // What was used since the user's data was erased counts as well.
  const conflict = kind === "usage" ? "on conflict do nothing" : "";
  return `insert into ${table} (${into}) select ${values} from jsonb_populate_recordset(null::${table}, $2::jsonb) ${conflict}`;
}

async function requireAll(transaction: Transaction, user: UserId, records: UserRecords): Promise<void> {
  for (const kind of RECORD_KINDS.filter((other) => other !== "user")) {
    const { table, key } = PLACES[kind];
    const [row] = await transaction.query<{ found: number }>(
      `select count(*)::integer as found from ${table} own
      join jsonb_populate_recordset(null::${table}, $2::jsonb) as given using (${key.join(", ")}) where own.user_id = $1`,
      [user, JSON.stringify(records[kind])],
    );
    if (row?.found !== records[kind].length) {
      throw new AppError(
        "CONFLICT",
        "This user already has data that is not of this document. Import into a user without any, or erase this one's first; nothing was changed.",
      );
    }
  }
}

/**
 * Deletes the user's row and with it, by the tables' foreign keys, every other; also history, which no role of the server may
 * delete from. Locks in the order of those who store what a job or run came to. From then on whoever holds a lease of a run or
 * job of the user finds no row for it and writes nothing: what is not there needs no other mark.
 */
async function eraseAll(transaction: Transaction, user: UserId): Promise<Erasure> {
  const [begun] = await transaction.query<{ at: string }>("select now() as at");
  // Whoever writes for this user waits from here on, also when there was no such user: else new data could begin under our hands.
  const [locked] = await transaction.query<{ made: boolean }>(
    `insert into recollect_users (user_id) values ($1)
    on conflict (user_id) do update set session_sequence = recollect_users.session_sequence returning xmax = 0 as made`,
    [user],
  );
  const found = await countAll(transaction, user);
  const counts = found.map(({ table, count }) => ({ table, count: locked?.made && table === "recollect_users" ? 0 : count }));
  await transaction.query("delete from recollect_jobs where user_id = $1", [user]);
  const runs = await transaction.query<{ run_id: string }>("delete from recollect_runs where user_id = $1 returning run_id", [user]);
  await transaction.query("delete from recollect_users where user_id = $1", [user]);
  await transaction.query("delete from recollect_api_keys where subject = $1", [user]);
  const left = await countAll(transaction, user);
  const receiptId = uuid();
  await transaction.commit("insert into recollect_erasures (receipt_id, user_hash, counts) values ($1, $2, $3::jsonb)", [
    receiptId,
    receiptHash(receiptId, user),
    JSON.stringify(Object.fromEntries(counts.map(({ table, count }) => [table, count]))),
  ]);
  return {
    receiptId,
    erasedAt: new Date(begun?.at ?? Date.now()),
    counts,
    remaining: left.reduce((sum, { count }) => sum + count, 0),
    runIds: runs.map(({ run_id }) => run_id),
  };
}

const COUNT_ALL = [
  ...USER_TABLES.map((table) => `select '${table}' as table, count(*)::integer as count from ${table} where user_id = $1`),
  "select 'recollect_api_keys', count(*)::integer from recollect_api_keys where subject = $1",
].join(" union all ");

function countAll(transaction: Transaction, user: UserId): Promise<{ table: string; count: number }[]> {
  return transaction.query<{ table: string; count: number }>(`select * from (${COUNT_ALL}) as counted order by 1`, [user]);
}

/** Names nobody; who knows the user's id can see that the receipt is theirs. */
export function receiptHash(receiptId: string, user: string): string {
  return createHash("sha256")
    .update(JSON.stringify([receiptId, user]))
    .digest("base64url");
}
