/** What facts do to a user's memories, row by row and with the number of each change; nothing is written here. */

import { v7 as uuid } from "uuid";
import { joinWritten } from "../agent/add-memories.ts";
import type { ChangeKind, Fact, Memory, MemoryChange, MemoryVersion, Resolution, UserId } from "../agent/types.ts";
import { versionOf } from "./memory-rows.ts";

/** A memory that facts may touch. */
export type TouchedMemory = Memory & { fingerprint: string };

export interface Plan {
  added: { memoryId: string; fact: Fact; sequence: number }[];
  updated: { memoryId: string; supersededBy: string | null; topics: string[]; expiresAt: Date | null; sequence: number }[];
  evidence: { memoryId: string; fact: Fact }[];
  changes: MemoryChange[];
  lastSequence: number;
}

/** What there is before the facts. */
export interface Ground {
  user: UserId;
  active: TouchedMemory[];
  /** Fingerprints of memories already set aside for review. */
  setAside: ReadonlySet<string>;
  runId: string | null;
  /** The number of the last change. */
  sequence: number;
  at: Date;
}

export function planChanges(resolutions: Resolution[], { user, active, setAside, runId, sequence, at }: Ground): Plan {
  const plan: Plan = { added: [], updated: [], evidence: [], changes: [], lastSequence: sequence };
  const record = (kind: ChangeKind, memoryId: string, fact: Fact, before: MemoryVersion | null, after: MemoryVersion): number => {
    const next = ++plan.lastSequence;
    const quote = fact.quote?.text ?? null;
    plan.changes.push({ userId: user, changeId: String(next), memoryId, sequence: next, kind, at, before, after, quote, runId });
    return next;
  };
  const add = (fact: Fact): string => {
    const memoryId = uuid();
    const status = fact.quarantined ? "QUARANTINED" : "ACTIVE";
    const { memory, topics, expiresAt } = fact;
    const after: MemoryVersion = { version: 1, memory, topics, status, pinned: false, expiresAt };
    plan.added.push({ memoryId, fact, sequence: record(fact.quarantined ? "QUARANTINED" : "ADDED", memoryId, fact, null, after) });
    plan.evidence.push({ memoryId, fact });
    return memoryId;
  };
  const byId = new Map(active.map((memory) => [memory.memoryId, memory]));
  for (const resolution of resolutions) {
    const { fact } = resolution;
    if (resolution.action === "add") {
      if (!(fact.quarantined && setAside.has(fact.fingerprint))) {
        add(fact);
      }
      continue;
    }
    const stored = byId.get(resolution.memoryId);
    if (!stored) {
      throw new Error("A resolution names a memory that was not offered to it.");
    }
    const { memoryId } = stored;
    const before = versionOf(stored);
    const version = stored.version + 1;
    if (resolution.action === "reinforce") {
      const kept = fact.quote === null ? joinWritten(stored, fact) : { topics: stored.topics, expiresAt: stored.expiresAt };
      const change = record("REINFORCED", memoryId, fact, before, { ...before, ...kept, version });
      plan.updated.push({ memoryId, supersededBy: null, ...kept, sequence: change });
      plan.evidence.push({ memoryId, fact });
    } else {
      const { topics, expiresAt } = stored;
      const change = record("SUPERSEDED", memoryId, fact, before, { ...before, version, status: "SUPERSEDED" });
      plan.updated.push({ memoryId, supersededBy: add(fact), topics, expiresAt, sequence: change });
    }
  }
  return plan;
}

/** The change that each fact came to, in their order. Facts may share one, when they say the same or one takes the other's place. */
export function changesOfFacts(facts: Fact[], active: TouchedMemory[], plan: Plan): MemoryChange[] {
  const byMemory = new Map(plan.changes.map((change) => [change.memoryId, change]));
  const memoryOf = new Map(plan.evidence.map(({ memoryId, fact }) => [fact.fingerprint, memoryId]));
  return facts.map((fact) => {
    const known =
      active.find((memory) => memory.fingerprint === fact.fingerprint) ??
      active.find((memory) => fact.slot !== null && memory.slot === fact.slot && memory.subject === fact.subject);
    const change = byMemory.get(memoryOf.get(fact.fingerprint) ?? known?.memoryId ?? "");
    if (!change) {
      throw new Error("A fact written by hand came to nothing.");
    }
    return change;
  });
}
