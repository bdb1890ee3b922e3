/** Memory rows into domain types. */

import type { Memory, MemoryChange, UserId } from "../agent/types.ts";
import type { MemoryChangeRow, MemoryRow } from "./entities.ts";

export function toMemory(user: UserId, row: MemoryRow): Memory {
  return {
    userId: user,
    memoryId: row.memoryId,
    memory: row.memory,
    topics: row.topics,
    kind: row.kind,
    subject: row.subject ?? null,
    slot: row.slot ?? null,
    status: row.status,
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

const DATES = new Set(["createdAt", "updatedAt", "validFrom", "validTo", "expiresAt", "lastConfirmedAt"]);

/** A row as `to_jsonb` writes it: snake_case keys, dates as text. */
export function memoryFromJson(user: UserId, json: Record<string, unknown>): Memory {
  const entries = Object.entries(json).map(([column, value]) => {
    const property = column.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase());
    return [property, DATES.has(property) && typeof value === "string" ? new Date(value) : value];
  });
  return toMemory(user, Object.fromEntries(entries) as MemoryRow);
}

export function toChange(user: UserId, row: MemoryChangeRow): MemoryChange {
  return {
    userId: user,
    changeId: String(row.sequence),
    memoryId: row.memoryId,
    sequence: row.sequence,
    kind: row.kind,
    at: row.at,
    before: row.before ?? null,
    after: row.after ?? null,
    quote: row.quote ?? null,
    runId: row.runId ?? null,
  };
}
