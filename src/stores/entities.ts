/** The tables as MikroORM entities, for plain reads. What is written on the path of a run is SQL; see `database.ts`. Entities never leave `stores/`. */

import { defineEntity, type InferEntity, p } from "@mikro-orm/core";
import { CHANGE_KINDS, MEMORY_KINDS, MEMORY_ORIGINS, MEMORY_STATUSES, type MemoryVersion, type SessionSummary } from "../agent/types.ts";

export const SessionEntity = defineEntity({
  name: "Session",
  tableName: "agno_sessions",
  properties: {
    userId: p.text().primary(),
    sessionId: p.text().primary(),
    agentId: p.text(),
    name: p.text().nullable(),
    summary: p.json<SessionSummary | null>().nullable(),
    state: p.json<Record<string, unknown>>(),
    turns: p.integer(),
    sequence: p.integer(),
    createdAt: p.datetime(),
    updatedAt: p.datetime(),
  },
});

export const MessageEntity = defineEntity({
  name: "Message",
  tableName: "recollect_messages",
  properties: {
    userId: p.text().primary(),
    messageId: p.text().primary(),
    sessionId: p.text(),
    runId: p.text(),
    role: p.enum(["USER", "ASSISTANT"] as const),
    content: p.text(),
    complete: p.boolean(),
    sequence: p.integer(),
    createdAt: p.datetime(),
  },
});

export const MemoryEntity = defineEntity({
  name: "Memory",
  tableName: "agno_memories",
  properties: {
    userId: p.text().primary(),
    memoryId: p.text().primary(),
    memory: p.text(),
    topics: p.json<string[]>(),
    agentId: p.text().nullable(),
    input: p.text().nullable(),
    kind: p.enum(MEMORY_KINDS),
    subject: p.text().nullable(),
    slot: p.text().nullable(),
    status: p.enum(MEMORY_STATUSES),
    origin: p.enum(MEMORY_ORIGINS),
    fingerprint: p.text(),
    validFrom: p.datetime(),
    validTo: p.datetime().nullable(),
    supersededBy: p.text().nullable(),
    evidenceCount: p.integer(),
    lastConfirmedAt: p.datetime(),
    expiresAt: p.datetime().nullable(),
    pinned: p.boolean(),
    feedback: p.enum(["GOOD", "BAD"] as const).nullable(),
    version: p.integer(),
    sequence: p.integer(),
    confirmedSequence: p.integer(),
    createdAt: p.datetime(),
    updatedAt: p.datetime(),
  },
});

export const MemoryEvidenceEntity = defineEntity({
  name: "MemoryEvidence",
  tableName: "recollect_memory_evidence",
  properties: {
    userId: p.text().primary(),
    memoryId: p.text().primary(),
    evidenceId: p.text().primary(),
    messageId: p.text().nullable(),
    quote: p.text(),
    quoteStart: p.integer(),
    quoteEnd: p.integer(),
    saidAt: p.datetime(),
  },
});

export const MemoryChangeEntity = defineEntity({
  name: "MemoryChange",
  tableName: "recollect_memory_history",
  properties: {
    userId: p.text().primary(),
    sequence: p.integer().primary(),
    memoryId: p.text(),
    kind: p.enum(CHANGE_KINDS),
    before: p.json<MemoryVersionJson | null>().nullable(),
    after: p.json<MemoryVersionJson | null>().nullable(),
    quote: p.text().nullable(),
    runId: p.text().nullable(),
    undoId: p.text().nullable(),
    at: p.datetime(),
  },
});

/** A version as history keeps it; dates are ISO text. */
export type MemoryVersionJson = Omit<MemoryVersion, "expiresAt"> & { expiresAt: string | null };

export const ENTITIES = [SessionEntity, MessageEntity, MemoryEntity, MemoryEvidenceEntity, MemoryChangeEntity];

export type SessionRow = InferEntity<typeof SessionEntity>;
export type MessageRow = InferEntity<typeof MessageEntity>;
export type MemoryRow = InferEntity<typeof MemoryEntity>;
export type MemoryChangeRow = InferEntity<typeof MemoryChangeEntity>;
