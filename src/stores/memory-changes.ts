/**
 * Writing facts: what was learned from a message, and what was written by hand. The user's row is locked first, so the
 * changes of one user come one after the other and the number of each is its place.
 */

import { v7 as uuid } from "uuid";
import type { ChangedMemory, Learned, Resolve } from "../agent/ports.ts";
import type { Fact, JobLease, MemoryOrigin, RequestKey, RunEvent, UserId } from "../agent/types.ts";
import { step } from "../step.ts";
import type { Database, Transaction } from "./database.ts";
import { once } from "./idempotency.ts";
import { endingLearning, endOfLearning } from "./jobs.ts";
import { changesOfFacts, type Plan, planChanges, type TouchedMemory } from "./memory-plan.ts";
import { lockChanges, readChanges, retireMemories } from "./memory-revisions.ts";
import { MEMORY_JSON, memoryFromJson } from "./memory-rows.ts";
import { numberEvents } from "./rows.ts";

/** What the memories of one call have in common. */
interface Source {
  origin: MemoryOrigin;
  agentId: string | null;
  runId: string | null;
  messageId: string | null;
  saidAt: Date;
}

/** `most`: how many memories the user may have; null: any number. */
export function learnMemories(
  database: Database,
  job: JobLease,
  learned: Learned,
  resolve: Resolve,
  most: number | null,
): Promise<RunEvent[] | null> {
  return database.asUser(job.userId, async (transaction) => {
    const planned = learned.facts.length === 0 ? null : await planFacts(transaction, job.userId, learned.facts, learned, resolve, most);
    const changeIds = planned?.plan.changes.map((change) => change.changeId) ?? [];
    const end = endOfLearning(job, learned, changeIds);
    const [row] =
      planned && changeIds.length > 0
        ? await transaction.commit<EndedRow>(WRITE_AND_END, [...planValues(job.userId, planned.plan, learned), ...end])
        : await transaction.commit<EndedRow>(END, [job.userId, ...end]);
    return row ? numberEvents(learned.runId, [{ type: "MemoryUpdate", changeIds }], row.last_sequence, row.at) : null;
  });
}

export function addMemories(
  database: Database,
  user: UserId,
  facts: Fact[],
  resolve: Resolve,
  request: RequestKey | null,
  most: number | null,
): Promise<ChangedMemory[]> {
  return database.asUser(user, async (transaction) => {
    await transaction.query("insert into recollect_users (user_id) values ($1) on conflict do nothing", [user]);
    const changes = await once(transaction, user, request, {
      async work() {
        const source: Source = { origin: "MANUAL", agentId: null, runId: null, messageId: null, saidAt: new Date() };
        const { plan, active } = await planFacts(transaction, user, facts, source, resolve, most);
        if (plan.changes.length > 0) {
          await transaction.query(WRITE, planValues(user, plan, source));
        }
        step("batch-written");
        const sequences = changesOfFacts(facts, active, plan).map((change) => change.sequence);
        return readChanges(transaction, user, sequences);
      },
      keep: (written) => ({ sequences: written.map((change) => change.sequence) }),
      recall: ({ sequences }: { sequences: number[] }) => readChanges(transaction, user, sequences),
    });
    return changes ?? [];
  });
}

/** What the facts come to; from here on no other change of the user's memories happens until the unit of work ends. */
async function planFacts(
  transaction: Transaction,
  user: UserId,
  facts: Fact[],
  source: Source,
  resolve: Resolve,
  most: number | null,
): Promise<{ plan: Plan; active: TouchedMemory[] }> {
  const [locked, touched] = await Promise.all([lockChanges(transaction, user), loadTouched(transaction, user, facts)]);
  if (touched.some((memory) => memory.status === "RETIRED")) {
    // Out of time, but still holding their text and slot: they make room before anything is added.
    locked.sequence += (await retireMemories(transaction, user, locked.sequence, "EXPIRED")).total;
  }
  const active = touched.filter((memory) => memory.status === "ACTIVE");
  const resolutions = resolve(
    facts,
    active.map(({ fingerprint: _, ...memory }) => memory),
    // Nobody has more memories than changes, so hardly anybody's are ever counted.
    most !== null && locked.sequence + facts.length > most ? most - (await countKept(transaction, user)) : null,
  );
  const setAside = new Set(touched.filter((memory) => memory.status === "QUARANTINED").map((memory) => memory.fingerprint));
  return { plan: planChanges(resolutions, { user, active, setAside, runId: source.runId, ...locked }), active };
}

async function countKept(transaction: Transaction, user: UserId): Promise<number> {
  const [row] = await transaction.query<{ count: number }>(
    "select count(*)::integer as count from agno_memories where user_id = $1 and status in ('ACTIVE', 'QUARANTINED')",
    [user],
  );
  return row?.count ?? 0;
}

async function loadTouched(transaction: Transaction, user: UserId, facts: Fact[]): Promise<TouchedMemory[]> {
  const rows = await transaction.query<{ memory: Record<string, unknown>; fingerprint: string }>(
    `select ${MEMORY_JSON} as memory, fingerprint from agno_memories memory
    where user_id = $1 and status in ('ACTIVE', 'QUARANTINED') and (
      fingerprint in (select jsonb_array_elements_text($2::jsonb)) or slot in (select jsonb_array_elements_text($3::jsonb)))
    order by sequence`,
    [user, JSON.stringify(facts.map((fact) => fact.fingerprint)), JSON.stringify(facts.flatMap((fact) => fact.slot ?? []))],
  );
  return rows.map((row) => ({ ...memoryFromJson(user, row.memory), fingerprint: row.fingerprint }));
}

interface EndedRow {
  last_sequence: number;
  at: string;
}

/** How many values `planValues` gives. */
const PLAN_VALUES = 13;
const WRITE = writing(false);
const WRITE_AND_END = writing(true);
const END = `with ${endingLearning(2)} select last_sequence, now() as at from run`;

function planValues(user: UserId, plan: Plan, source: Source): unknown[] {
  return [
    user,
    plan.lastSequence,
    uuid(),
    source.saidAt.toISOString(),
    source.messageId !== null,
    JSON.stringify(plan.updated.map(updatedRow)),
    source.agentId,
    source.origin,
    JSON.stringify(plan.added.map(addedRow)),
    source.messageId,
    JSON.stringify(plan.evidence.flatMap(evidenceRow)),
    source.runId,
    JSON.stringify(plan.changes.map(changeRow)),
  ];
}

/** The statement that writes a plan; one that ends an extraction writes only if that still counts. */
function writing(ends: boolean): string {
  const counts = ends ? "exists (select 1 from run)" : "true";
  return `with ${ends ? `${endingLearning(PLAN_VALUES + 1)}, ` : ""}counter as (
      update recollect_users set memory_sequence = $2 where user_id = $1 and ${counts}
    ), updated as (
      update agno_memories memory set version = version + 1, updated_at = now(),
        topics = change.topics, expires_at = change.expires_at,
        status = case when change.superseded_by is null then memory.status else 'SUPERSEDED' end,
        valid_to = case when change.superseded_by is null then memory.valid_to else $4::timestamptz end,
        superseded_by = coalesce(change.superseded_by, memory.superseded_by),
        evidence_count = memory.evidence_count + case when change.superseded_by is null and $5::boolean then 1 else 0 end,
        last_confirmed_at = case when change.superseded_by is null then $4::timestamptz else memory.last_confirmed_at end,
        confirmed_sequence = case when change.superseded_by is null then change.sequence else memory.confirmed_sequence end
      from jsonb_to_recordset($6::jsonb) as change (memory_id text, superseded_by text, topics jsonb, expires_at timestamptz, sequence integer)
      where memory.user_id = $1 and memory.memory_id = change.memory_id and ${counts}
    ), added as (
      insert into agno_memories (user_id, memory_id, memory, topics, agent_id, input, kind, subject, slot, status, origin, fingerprint,
        valid_from, evidence_count, last_confirmed_at, expires_at, sequence, confirmed_sequence)
      select $1, fact.memory_id, fact.memory, fact.topics, $7, fact.quote, fact.kind, fact.subject, fact.slot, fact.status, $8, fact.fingerprint,
        $4::timestamptz, case when $5::boolean then 1 else 0 end, $4::timestamptz, fact.expires_at, fact.sequence, fact.sequence
      from jsonb_to_recordset($9::jsonb) as fact (memory_id text, memory text, topics jsonb, quote text, kind text, subject text, slot text,
        status text, fingerprint text, expires_at timestamptz, sequence integer)
      where ${counts}
    ), evidence as (
      insert into recollect_memory_evidence (user_id, memory_id, evidence_id, message_id, quote, quote_start, quote_end, said_at)
      select $1, evidence.memory_id, evidence.evidence_id, $10, evidence.quote, evidence.start, evidence.end, $4::timestamptz
      from jsonb_to_recordset($11::jsonb) as evidence (memory_id text, evidence_id text, quote text, start integer, "end" integer)
      where ${counts}
      on conflict do nothing
    ), history as (
      insert into recollect_memory_history (user_id, sequence, memory_id, kind, before, after, quote, run_id, undo_id)
      select $1, change.sequence, change.memory_id, change.kind, change.before, change.after, change.quote, $12, $3
      from jsonb_to_recordset($13::jsonb) as change (sequence integer, memory_id text, kind text, before jsonb, after jsonb, quote text)
      where ${counts}
    )
    ${ends ? "select last_sequence, now() as at from run" : "select 1 as one"}`;
}

function updatedRow({ memoryId, supersededBy, topics, expiresAt, sequence }: Plan["updated"][number]): object {
  return { memory_id: memoryId, superseded_by: supersededBy, topics, expires_at: expiresAt, sequence };
}

function addedRow({ memoryId, fact, sequence }: Plan["added"][number]): object {
  return {
    memory_id: memoryId,
    memory: fact.memory,
    topics: fact.topics,
    quote: fact.quote?.text ?? null,
    kind: fact.kind,
    subject: fact.subject,
    slot: fact.slot,
    status: fact.quarantined ? "QUARANTINED" : "ACTIVE",
    fingerprint: fact.fingerprint,
    expires_at: fact.expiresAt,
    sequence,
  };
}

function evidenceRow({ memoryId, fact }: Plan["evidence"][number]): object[] {
  return fact.quote
    ? [{ memory_id: memoryId, evidence_id: uuid(), quote: fact.quote.text, start: fact.quote.start, end: fact.quote.end }]
    : [];
}

function changeRow({ sequence, memoryId, kind, before, after, quote }: Plan["changes"][number]): object {
  return { sequence, memory_id: memoryId, kind, before, after, quote };
}
