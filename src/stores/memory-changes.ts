/**
 * Writing memories: what was learned from a message, and what was written by hand. The user's row is locked first, so the
 * changes of one user come one after the other and the number of each is its place.
 */

import { v7 as uuid } from "uuid";
import type { Learned } from "../agent/ports.ts";
import type {
  ChangeKind,
  Fact,
  JobLease,
  Memory,
  MemoryChange,
  MemoryOrigin,
  MemoryVersion,
  Resolution,
  RunEvent,
  UserId,
} from "../agent/types.ts";
import type { Database, Transaction } from "./database.ts";
import { MemoryEntity } from "./entities.ts";
import { completeJob } from "./jobs.ts";
import { toMemory } from "./memory-rows.ts";
import { appendRunEvents } from "./run-events.ts";

type Resolve = (facts: Fact[], stored: Memory[]) => Resolution[];

/** What the memories of one call have in common. */
interface Source {
  origin: MemoryOrigin;
  agentId: string | null;
  runId: string | null;
  messageId: string | null;
  saidAt: Date;
}

export function learnMemories(database: Database, job: JobLease, learned: Learned, resolve: Resolve): Promise<RunEvent[] | null> {
  return database.asUser(job.userId, async (transaction) => {
    if (!(await completeJob(transaction, job))) {
      return null;
    }
    const source: Source = { ...learned };
    const changes = learned.facts.length === 0 ? [] : await applyFacts(transaction, job.userId, learned.facts, source, resolve);
    const changeIds = changes.map((change) => change.changeId);
    return appendRunEvents(transaction, job.userId, learned.runId, [{ type: "MemoryUpdate", changeIds }], {
      memoryStatus: "DONE",
      memoryError: null,
    });
  });
}

export function addMemories(
  database: Database,
  user: UserId,
  facts: Fact[],
  resolve: Resolve,
): Promise<{ memory: Memory; change: MemoryChange }[]> {
  return database.asUser(user, async (transaction) => {
    await transaction.query("insert into recollect_users (user_id) values ($1) on conflict do nothing", [user]);
    const source: Source = { origin: "MANUAL", agentId: null, runId: null, messageId: null, saidAt: new Date() };
    const changes = await applyFacts(transaction, user, facts, source, resolve);
    const rows = await transaction.em.find(MemoryEntity, { userId: user, memoryId: { $in: changes.map((change) => change.memoryId) } });
    const memories = new Map(rows.map((row) => [row.memoryId, toMemory(user, row)]));
    return changes.flatMap((change) => {
      const memory = memories.get(change.memoryId);
      // Of a supersession the new memory is the answer, not the old one.
      return memory && change.kind !== "SUPERSEDED" ? [{ memory, change }] : [];
    });
  });
}

async function applyFacts(
  transaction: Transaction,
  user: UserId,
  facts: Fact[],
  source: Source,
  resolve: Resolve,
): Promise<MemoryChange[]> {
  const [counter] = await transaction.query<{ memory_sequence: number }>(
    "select memory_sequence from recollect_users where user_id = $1 for update",
    [user],
  );
  const stored = await loadTouched(transaction, user, facts);
  const active = stored.filter((memory) => memory.status === "ACTIVE");
  const resolutions = resolve(
    facts,
    active.map(({ fingerprint: _, ...memory }) => memory),
  );
  const setAside = new Set(stored.filter((memory) => memory.status === "QUARANTINED").map((memory) => memory.fingerprint));
  const plan = planChanges(
    user,
    resolutions,
    new Map(active.map((memory) => [memory.memoryId, memory])),
    setAside,
    source,
    counter?.memory_sequence ?? 0,
  );
  if (plan.changes.length > 0) {
    await writePlan(transaction, user, plan, source);
  }
  return plan.changes;
}

type Touched = Memory & { fingerprint: string };

async function loadTouched(transaction: Transaction, user: UserId, facts: Fact[]): Promise<Touched[]> {
  const slots = facts.flatMap((fact) => fact.slot ?? []);
  const rows = await transaction.em.find(MemoryEntity, {
    userId: user,
    status: { $in: ["ACTIVE", "QUARANTINED"] },
    $or: [{ fingerprint: { $in: facts.map((fact) => fact.fingerprint) } }, { slot: { $in: slots } }],
  });
  return rows.map((row) => ({ ...toMemory(user, row), fingerprint: row.fingerprint }));
}

interface Plan {
  added: { memoryId: string; fact: Fact; sequence: number }[];
  updated: { memoryId: string; supersededBy: string | null; sequence: number }[];
  evidence: { memoryId: string; fact: Fact }[];
  changes: MemoryChange[];
  lastSequence: number;
}

function planChanges(
  user: UserId,
  resolutions: Resolution[],
  active: Map<string, Touched>,
  setAside: Set<string>,
  source: Source,
  sequence: number,
): Plan {
  const plan: Plan = { added: [], updated: [], evidence: [], changes: [], lastSequence: sequence };
  const at = new Date();
  const record = (kind: ChangeKind, memoryId: string, fact: Fact, before: MemoryVersion | null, after: MemoryVersion): number => {
    const next = ++plan.lastSequence;
    const quote = fact.quote?.text ?? null;
    plan.changes.push({
      userId: user,
      changeId: String(next),
      memoryId,
      sequence: next,
      kind,
      at,
      before,
      after,
      quote,
      runId: source.runId,
    });
    return next;
  };
  const add = (fact: Fact): string => {
    const memoryId = uuid();
    const status = fact.quarantined ? "QUARANTINED" : "ACTIVE";
    const after: MemoryVersion = { version: 1, memory: fact.memory, topics: fact.topics, status };
    plan.added.push({ memoryId, fact, sequence: record(fact.quarantined ? "QUARANTINED" : "ADDED", memoryId, fact, null, after) });
    plan.evidence.push({ memoryId, fact });
    return memoryId;
  };
  for (const resolution of resolutions) {
    const { fact } = resolution;
    if (resolution.action === "add") {
      if (!(fact.quarantined && setAside.has(fact.fingerprint))) {
        add(fact);
      }
      continue;
    }
    const stored = active.get(resolution.memoryId);
    if (!stored) {
      throw new Error("A resolution names a memory that was not offered to it.");
    }
    const before: MemoryVersion = { version: stored.version, memory: stored.memory, topics: stored.topics, status: stored.status };
    const version = stored.version + 1;
    if (resolution.action === "reinforce") {
      const change = record("REINFORCED", stored.memoryId, fact, before, { ...before, version });
      plan.updated.push({ memoryId: stored.memoryId, supersededBy: null, sequence: change });
      plan.evidence.push({ memoryId: stored.memoryId, fact });
    } else {
      const change = record("SUPERSEDED", stored.memoryId, fact, before, { ...before, version, status: "SUPERSEDED" });
      plan.updated.push({ memoryId: stored.memoryId, supersededBy: add(fact), sequence: change });
    }
  }
  return plan;
}

async function writePlan(transaction: Transaction, user: UserId, plan: Plan, source: Source): Promise<void> {
  const undoId = uuid();
  const said = source.messageId !== null;
  await transaction.query(
    `with counter as (
      update recollect_users set memory_sequence = $2 where user_id = $1
    ), updated as (
      update agno_memories memory set version = version + 1, updated_at = now(),
        status = case when change.superseded_by is null then memory.status else 'SUPERSEDED' end,
        valid_to = case when change.superseded_by is null then memory.valid_to else $4::timestamptz end,
        superseded_by = coalesce(change.superseded_by, memory.superseded_by),
        evidence_count = memory.evidence_count + case when change.superseded_by is null and $5::boolean then 1 else 0 end,
        last_confirmed_at = case when change.superseded_by is null then $4::timestamptz else memory.last_confirmed_at end,
        confirmed_sequence = case when change.superseded_by is null then change.sequence else memory.confirmed_sequence end
      from jsonb_to_recordset($6::jsonb) as change (memory_id text, superseded_by text, sequence integer)
      where memory.user_id = $1 and memory.memory_id = change.memory_id
    ), added as (
      insert into agno_memories (user_id, memory_id, memory, topics, agent_id, input, kind, subject, slot, status, origin, fingerprint,
        valid_from, evidence_count, last_confirmed_at, expires_at, sequence, confirmed_sequence)
      select $1, fact.memory_id, fact.memory, fact.topics, $7, fact.quote, fact.kind, fact.subject, fact.slot, fact.status, $8, fact.fingerprint,
        $4::timestamptz, case when $5::boolean then 1 else 0 end, $4::timestamptz, fact.expires_at, fact.sequence, fact.sequence
      from jsonb_to_recordset($9::jsonb) as fact (memory_id text, memory text, topics jsonb, quote text, kind text, subject text, slot text,
        status text, fingerprint text, expires_at timestamptz, sequence integer)
    ), evidence as (
      insert into recollect_memory_evidence (user_id, memory_id, evidence_id, message_id, quote, quote_start, quote_end, said_at)
      select $1, evidence.memory_id, evidence.evidence_id, $10, evidence.quote, evidence.start, evidence.end, $4::timestamptz
      from jsonb_to_recordset($11::jsonb) as evidence (memory_id text, evidence_id text, quote text, start integer, "end" integer)
      on conflict do nothing
    )
    insert into recollect_memory_history (user_id, sequence, memory_id, kind, before, after, quote, run_id, undo_id)
    select $1, change.sequence, change.memory_id, change.kind, change.before, change.after, change.quote, $12, $3
    from jsonb_to_recordset($13::jsonb) as change (sequence integer, memory_id text, kind text, before jsonb, after jsonb, quote text)`,
    [
      user,
      plan.lastSequence,
      undoId,
      source.saidAt.toISOString(),
      said,
      JSON.stringify(
        plan.updated.map((change) => ({ memory_id: change.memoryId, superseded_by: change.supersededBy, sequence: change.sequence })),
      ),
      source.agentId,
      source.origin,
      JSON.stringify(plan.added.map(addedRow)),
      source.messageId,
      JSON.stringify(plan.evidence.flatMap(evidenceRow)),
      source.runId,
      JSON.stringify(
        plan.changes.map(({ sequence, memoryId, kind, before, after, quote }) => ({
          sequence,
          memory_id: memoryId,
          kind,
          before,
          after,
          quote,
        })),
      ),
    ],
  );
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
    expires_at: fact.expiresAt?.toISOString() ?? null,
    sequence,
  };
}

function evidenceRow({ memoryId, fact }: Plan["evidence"][number]): object[] {
  return fact.quote
    ? [{ memory_id: memoryId, evidence_id: uuid(), quote: fact.quote.text, start: fact.quote.start, end: fact.quote.end }]
    : [];
}
