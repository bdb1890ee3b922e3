/** Memories changed by hand: edited, deleted, cleared. No model is asked. */

import { AppError, badInput } from "../errors.ts";
import { checkExpiry, checkMemoryText, type Keyed } from "./add-memories.ts";
import { fingerprint } from "./ground.ts";
import { requestKey } from "./input.ts";
import type { MemoryRevision, MemoryStore } from "./ports.ts";
import { slotOf } from "./slots.ts";
import { checkTopics } from "./topics.ts";
import type { Memory, MemoryChange, UserId } from "./types.ts";

/** What to change: what is left out stays, and null is refused except as the end of an expiry. Anything may still be wrong with it. */
export interface MemoryEdit extends Keyed {
  memoryId: string;
  /** The version that was seen; null: whatever it is now. */
  expectedVersion?: number | null | undefined;
  memory?: string | null | undefined;
  topics?: string[] | null | undefined;
  pinned?: boolean | null | undefined;
  expiresAt?: Date | null | undefined;
}

/** What became of a memory; the change is null when it was so already. */
export interface EditedMemory {
  memory: Memory;
  change: MemoryChange | null;
}

type Revise = Pick<MemoryStore, "revise">;

/**
 * Edits an active memory. A new text is somebody's own: from then on it counts as written by hand. Throws BAD_USER_INPUT
 * naming the argument, NOT_FOUND, CONFLICT when the version is not the expected one, when the memory is not active, or
 * when another says the same, and IDEMPOTENCY_CONFLICT.
 */
export async function updateMemory(user: UserId, edit: MemoryEdit, memories: Revise): Promise<EditedMemory> {
  const wanted = checkEdit(edit);
  const { memoryId, expectedVersion, memory, topics, pinned, expiresAt } = edit;
  const asked = { memoryId, expectedVersion: expectedVersion ?? null, memory, topics, pinned, expiresAt };
  const revise = (stored: Memory): MemoryRevision | null => {
    checkVersion(stored, expectedVersion);
    if (stored.status !== "ACTIVE") {
      throw new AppError("CONFLICT", `This memory is not active but ${stored.status}. ${remedyFor(stored)}`);
    }
    return revisionOf(stored, wanted);
  };
  const edited = await memories.revise(user, memoryId, "UPDATED", revise, requestKey(edit.idempotencyKey, "updateMemory", asked));
  return edited ?? missing();
}

/**
 * Deletes a memory; one that is deleted already stays as it is. Throws NOT_FOUND, CONFLICT when the version is not the expected
 * one, and IDEMPOTENCY_CONFLICT.
 */
export async function deleteMemory(
  user: UserId,
  { memoryId, expectedVersion, idempotencyKey }: Pick<MemoryEdit, "memoryId" | "expectedVersion"> & Keyed,
  memories: Revise,
): Promise<EditedMemory> {
  const revise = (memory: Memory): MemoryRevision | null => {
    if (memory.status === "RETIRED") {
      return null;
    }
    checkVersion(memory, expectedVersion);
    return { status: "RETIRED" };
  };
  const request = requestKey(idempotencyKey, "deleteMemory", { memoryId, expectedVersion: expectedVersion ?? null });
  return (await memories.revise(user, memoryId, "DELETED", revise, request)) ?? missing();
}

/** Retires all active memories; gives how many there were. Throws IDEMPOTENCY_CONFLICT. */
export function clearMemories(user: UserId, { idempotencyKey }: Keyed, memories: Pick<MemoryStore, "clear">): Promise<number> {
  return memories.clear(user, requestKey(idempotencyKey, "clearMemories", {}));
}

type CheckedEdit = Partial<Pick<Memory, "memory" | "topics" | "pinned" | "expiresAt">>;

function checkEdit({ memory, topics, pinned, expiresAt }: MemoryEdit): CheckedEdit {
  const edit: CheckedEdit = {};
  if (memory !== undefined) {
    edit.memory = checkMemoryText(notNull(memory, "memory"), "memory");
  }
  if (topics !== undefined) {
    edit.topics = checkTopics(notNull(topics, "topics"), "topics");
  }
  if (pinned !== undefined) {
    edit.pinned = notNull(pinned, "pinned");
  }
  if (expiresAt !== undefined) {
    edit.expiresAt = checkExpiry(expiresAt, "expiresAt");
  }
  return edit;
}

function notNull<T>(value: T | null, path: string): T {
  if (value === null) {
    throw badInput(path, "is null. Send a value, or leave it out to keep what is there.");
  }
  return value;
}

/** Only what differs; null when nothing does. */
function revisionOf(stored: Memory, { memory, topics, pinned, expiresAt }: CheckedEdit): MemoryRevision | null {
  const revision: MemoryRevision = {};
  if (memory !== undefined && memory !== stored.memory) {
    const slot = slotOf(memory, stored.slot);
    revision.text = { memory, slot, origin: "MANUAL", fingerprint: fingerprint(memory, stored.subject) };
  }
  if (topics !== undefined && JSON.stringify(topics) !== JSON.stringify(stored.topics)) {
    revision.topics = topics;
  }
  if (pinned !== undefined && pinned !== stored.pinned) {
    revision.pinned = pinned;
  }
  if (expiresAt !== undefined && expiresAt?.getTime() !== stored.expiresAt?.getTime()) {
    revision.expiresAt = expiresAt;
  }
  return Object.keys(revision).length === 0 ? null : revision;
}

function checkVersion({ version }: Memory, expected: number | null | undefined): void {
  if (expected != null && expected !== version) {
    throw new AppError(
      "CONFLICT",
      `The memory has changed since: it is at version ${version}, not ${expected}. Read it again, then send your change with the new version.`,
      { details: { currentVersion: version } },
    );
  }
}

function remedyFor({ status, supersededBy }: Memory): string {
  if (status === "SUPERSEDED") {
    return `Change the one that took its place${supersededBy === null ? "" : `: ${supersededBy}`}.`;
  }
  return "Add a new one instead.";
}

function missing(): never {
  throw new AppError("NOT_FOUND", "There is no such memory of this user. Check memoryId and userId.");
}
