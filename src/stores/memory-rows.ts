/** Memory rows into domain types. */

import type { ChangedMemory } from "../agent/ports.ts";
import type { Memory, MemoryChange, MemoryVersion, UserId } from "../agent/types.ts";
import type { MemoryChangeRow, MemoryRow, MemoryVersionJson } from "./entities.ts";

/** A row of agno_memories named `memory` as `memoryFromJson` reads it. */
export const MEMORY_JSON = "to_jsonb(memory.*) - 'search' - 'embedding'";

/** Whether a row of agno_memories named `memory` is in use at this moment. */
export const IN_USE = "memory.status = 'ACTIVE' and (memory.expires_at is null or memory.expires_at > now())";

/** One whose time has run out is retired from that moment on; its row says so with the next change of the user's memories. */
export function toMemory(user: UserId, row: MemoryRow): Memory {
  return {
    userId: user,
    memoryId: row.memoryId,
    memory: row.memory,
    topics: row.topics,
    kind: row.kind,
    subject: row.subject ?? null,
    slot: row.slot ?? null,
    status: row.status === "ACTIVE" && isExpired(row) ? "RETIRED" : row.status,
    origin: row.origin,
    agentId: row.agentId ?? null,
    createdAt: row.createdAt,
    updatedAt: row.updatedAt,
    validFrom: row.validFrom,
    validTo: row.validTo ?? null,
    expiresAt: row.expiresAt ?? null,
    supersededBy: row.supersededBy ?? null,
    evidenceCount: row.evidenceCount,
    lastConfirmedAt: row.lastConfirmedAt,
    pinned: row.pinned,
    feedback: row.feedback ?? null,
    version: row.version,
  };
}

function isExpired({ expiresAt }: MemoryRow): boolean {
  return expiresAt != null && expiresAt.getTime() <= Date.now();
}

/** A memory as `MEMORY_JSON` writes it. */
export function memoryFromJson(user: UserId, json: Record<string, unknown>): Memory {
  return toMemory(user, fromJson(json) as MemoryRow);
}

const DATES = new Set(["createdAt", "updatedAt", "validFrom", "validTo", "expiresAt", "lastConfirmedAt", "at"]);

/** Properties by column; there are as many as the tables have columns. */
const properties = new Map<string, string>();

/** A row as `to_jsonb` writes it, snake_case keys and dates as text, into the shape of its entity. */
export function fromJson(json: Record<string, unknown>): object {
  const row: Record<string, unknown> = {};
  for (const [column, value] of Object.entries(json)) {
    const property = properties.get(column) ?? column.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase());
    properties.set(column, property);
    row[property] = DATES.has(property) && typeof value === "string" ? new Date(value) : value;
  }
  return row;
}

/** A row of recollect_memory_history as `to_jsonb` writes it, and its memory. */
export function changedMemoryFromJson(user: UserId, change: Record<string, unknown>, memory: Record<string, unknown>): ChangedMemory {
  return { ...toChange(user, fromJson(change) as MemoryChangeRow), memory: memoryFromJson(user, memory) };
}

export function toChange(user: UserId, row: MemoryChangeRow): MemoryChange {
  return {
    userId: user,
    changeId: String(row.sequence),
    memoryId: row.memoryId,
    sequence: row.sequence,
    kind: row.kind,
    at: row.at,
    before: toVersion(row.before),
    after: toVersion(row.after),
    quote: row.quote ?? null,
    runId: row.runId ?? null,
  };
}

function toVersion(json: MemoryVersionJson | null | undefined): MemoryVersion | null {
  return json ? { ...json, expiresAt: json.expiresAt === null ? null : new Date(json.expiresAt) } : null;
}

/** A memory as its history keeps it. */
export function versionOf({ version, memory, topics, status, pinned, expiresAt }: Memory): MemoryVersion {
  return { version, memory, topics, status, pinned, expiresAt };
}
