/** Changing memories one by one, and retiring all of them. As with every change, the user's row is locked first. */

import { v7 as uuid } from "uuid";
import type { ChangedMemory, MemoryRevision, MemoryStore } from "../agent/ports.ts";
import type { ChangeKind, Memory, MemoryChange, MemoryVersion, RequestKey, UserId } from "../agent/types.ts";
import { AppError } from "../errors.ts";
import type { Database, Transaction } from "./database.ts";
import { once } from "./idempotency.ts";
import { readMemories } from "./memory-queries.ts";
import { changedMemoryFromJson, IN_USE, MEMORY_JSON, memoryFromJson, versionOf } from "./memory-rows.ts";

/**
 * Lets no other change of the user's memories happen until the unit of work ends. Gives the number of the last one, and the time.
 * The lock lets rows be added that name the user: two units that have each done so would else wait for each other.
 */
export async function lockChanges(transaction: Transaction, user: UserId): Promise<{ sequence: number; at: Date }> {
  const [row] = await transaction.query<{ memory_sequence: number; at: string }>(
    "select memory_sequence, now() as at from recollect_users where user_id = $1 for no key update",
    [user],
  );
  return { sequence: row?.memory_sequence ?? 0, at: new Date(row?.at ?? Date.now()) };
}

export function reviseMemory(
  database: Database,
  user: UserId,
  memoryId: string,
  kind: Parameters<MemoryStore["revise"]>[2],
  revise: (memory: Memory) => MemoryRevision | null,
  request: RequestKey | null,
): ReturnType<MemoryStore["revise"]> {
  return database.asUser(user, (transaction) =>
    once(transaction, user, request, {
      work: () => reviseLocked(transaction, user, memoryId, kind, revise),
      keep: ({ change }) => ({ sequence: change?.sequence ?? null }),
      async recall({ sequence }: { sequence: number | null }) {
        const [memory] = await readMemories(transaction, user, [memoryId]);
        const [change] = sequence === null ? [] : await readChanges(transaction, user, [sequence]);
        return memory ? { memory, change: change ?? null } : null;
      },
    }),
  );
}

async function reviseLocked(
  transaction: Transaction,
  user: UserId,
  memoryId: string,
  kind: Parameters<MemoryStore["revise"]>[2],
  revise: (memory: Memory) => MemoryRevision | null,
): ReturnType<MemoryStore["revise"]> {
  const { sequence, at } = await lockChanges(transaction, user);
  const [stored] = await readMemories(transaction, user, [memoryId]);
  if (!stored) {
    return null;
  }
  const revision = revise(stored);
  if (revision === null) {
    return { memory: stored, change: null };
  }
  const { text, ...rest } = revision;
  const revised: Memory = { ...stored, ...rest, ...(text && { memory: text.memory, origin: text.origin }), version: stored.version + 1 };
  const place = text ? await makeRoom(transaction, stored, text, sequence) : { sequence, slot: stored.slot };
  const change: MemoryChange = {
    userId: user,
    changeId: String(place.sequence + 1),
    memoryId,
    sequence: place.sequence + 1,
    kind,
    at,
    before: versionOf(stored),
    after: kind === "DELETED" ? null : versionOf(revised),
    quote: null,
    runId: null,
  };
  const memory = await writeRevision(transaction, { ...revised, slot: place.slot }, text?.fingerprint ?? null, change);
  return { memory, change };
}

/** Changes by their numbers, in the order asked for, each with its memory as it is now. Missing ones are left out. */
export async function readChanges(transaction: Transaction, user: UserId, sequences: readonly number[]): Promise<ChangedMemory[]> {
  const rows = await transaction.query<{ sequence: number; change: Record<string, unknown>; memory: Record<string, unknown> }>(
    `select change.sequence, to_jsonb(change) as change, ${MEMORY_JSON} as memory
    from recollect_memory_history change join agno_memories memory using (user_id, memory_id)
    where change.user_id = $1 and change.sequence in (select jsonb_array_elements_text($2::jsonb)::integer)`,
    [user, JSON.stringify(sequences)],
  );
  const found = new Map(rows.map((row) => [row.sequence, changedMemoryFromJson(user, row.change, row.memory)]));
  return sequences.flatMap((sequence) => found.get(sequence) ?? []);
}

/**
 * Looks for what stands in the way of a new text. One that says the same is a CONFLICT. One that fills the same slot stays,
 * and the revised memory goes without: somebody who corrects one memory has said nothing about another.
 */
async function makeRoom(
  transaction: Transaction,
  stored: Memory,
  text: NonNullable<MemoryRevision["text"]>,
  sequence: number,
): Promise<{ sequence: number; slot: string | null }> {
  const rows = await transaction.query<{ memory_id: string; same: boolean; expired: boolean }>(
    `select memory_id, fingerprint = $3 as same, not (${IN_USE}) as expired from agno_memories memory
    where user_id = $1 and memory_id <> $2 and status = 'ACTIVE' and (fingerprint = $3 or (slot = $4 and subject is not distinct from $5))`,
    [stored.userId, stored.memoryId, text.fingerprint, text.slot, stored.subject],
  );
  const others = rows.filter((row) => !row.expired);
  const twin = others.find((row) => row.same);
  if (twin) {
    throw new AppError(
      "CONFLICT",
      `Another memory says the same already: ${twin.memory_id}. Delete one of the two, or keep only that one.`,
    );
  }
  const expired = rows.some((row) => row.expired) ? (await retireMemories(transaction, stored.userId, sequence, "EXPIRED")).total : 0;
  return { sequence: sequence + expired, slot: others.length > 0 ? null : text.slot };
}

async function writeRevision(transaction: Transaction, revised: Memory, fingerprint: string | null, change: MemoryChange): Promise<Memory> {
  const { userId, memoryId, memory, topics, pinned, expiresAt, status, origin, slot } = revised;
  const json = (version: MemoryVersion | null) => (version ? JSON.stringify(version) : null);
  const [row] = await transaction.query<{ memory: Record<string, unknown> }>(
    `with counter as (
      update recollect_users set memory_sequence = $3 where user_id = $1
    ), history as (
      insert into recollect_memory_history (user_id, sequence, memory_id, kind, before, after, undo_id)
      values ($1, $3, $2, $4, $5::jsonb, $6::jsonb, $7)
    )
    update agno_memories memory set version = version + 1, updated_at = now(), memory = $8, topics = $9::jsonb, pinned = $10::boolean,
      expires_at = $11::timestamptz, status = $12, origin = $13, slot = $14, fingerprint = coalesce($15, fingerprint),
      valid_to = case when $12 = 'ACTIVE' then valid_to else coalesce(valid_to, now()) end
    where user_id = $1 and memory_id = $2 returning ${MEMORY_JSON} as memory`,
    [
      userId,
      memoryId,
      change.sequence,
      change.kind,
      json(change.before),
      json(change.after),
      uuid(),
      memory,
      JSON.stringify(topics),
      pinned,
      expiresAt?.toISOString() ?? null,
      status,
      origin,
      slot,
      fingerprint,
    ],
  );
  if (!row) {
    throw new Error("A memory disappeared while it was locked.");
  }
  return memoryFromJson(userId, row.memory);
}

export function clearMemories(database: Database, user: UserId, request: RequestKey | null): Promise<number> {
  return database.asUser(user, async (transaction) => {
    if (request) {
      // Also for a user without memories a repeat is to find that nothing was cleared.
      await transaction.query("insert into recollect_users (user_id) values ($1) on conflict do nothing", [user]);
    }
    const cleared = await once(transaction, user, request, {
      async work() {
        const { sequence } = await lockChanges(transaction, user);
        return (await retireMemories(transaction, user, sequence, "DELETED")).deleted;
      },
      keep: (count) => ({ count }),
      recall: async ({ count }: { count: number }) => count,
    });
    return cleared ?? 0;
  });
}

/**
 * Retires the active memories whose time has run out (EXPIRED), or these and all others (DELETED), each with a history
 * entry of its own numbered from `sequence` on; the changes share one act. Gives how many entries there are, and of them the DELETED.
 */
export async function retireMemories(
  transaction: Transaction,
  user: UserId,
  sequence: number,
  which: ChangeKind & ("EXPIRED" | "DELETED"),
): Promise<{ total: number; deleted: number }> {
  const [row] = await transaction.query<{ total: number; deleted: number }>(
    `with chosen as (
      select memory_id, status, version, expires_at is not null and expires_at <= now() as expired,
        row_number() over (order by sequence)::integer as place
      from agno_memories where user_id = $1 and status = 'ACTIVE' and ($3 = 'DELETED' or expires_at <= now())
    ), retired as (
      update agno_memories memory set status = 'RETIRED', version = memory.version + 1, updated_at = now(),
        valid_to = coalesce(memory.valid_to, least(memory.expires_at, now()))
      from chosen where memory.user_id = $1 and memory.memory_id = chosen.memory_id
      returning memory.memory_id, chosen.place, chosen.expired, jsonb_build_object('version', chosen.version, 'memory', memory.memory,
        'topics', memory.topics, 'status', chosen.status, 'pinned', memory.pinned, 'expiresAt', memory.expires_at) as before
    ), history as (
      insert into recollect_memory_history (user_id, sequence, memory_id, kind, before, after, undo_id)
      select $1, $2::integer + place, memory_id, case when expired then 'EXPIRED' else 'DELETED' end, before,
        case when expired then before || jsonb_build_object('version', (before ->> 'version')::integer + 1, 'status', 'RETIRED') end, $4
      from retired
    ), counter as (
      update recollect_users set memory_sequence = $2::integer + (select count(*) from retired) where user_id = $1
    )
    select count(*)::integer as total, (count(*) filter (where not expired))::integer as deleted from retired`,
    [user, sequence, which, uuid()],
  );
  return row ?? { total: 0, deleted: 0 };
}
