/** Memories changed by hand: edited, deleted, cleared. No model is asked. */

import { AppError, badInput } from "../errors.ts";
import { checkExpiry, checkMemoryText } from "./add-memories.ts";
import { fingerprint } from "./ground.ts";
import type { MemoryRevision, MemoryStore } from "./ports.ts";
import { slotOf } from "./slots.ts";
import { checkTopics } from "./topics.ts";
import type { Memory, MemoryChange, UserId } from "./types.ts";

/** What to change: what is left out stays, and null is refused except as the end of an expiry. Anything may still be wrong with it. */
export interface MemoryEdit {
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
 * naming the argument, NOT_FOUND, and CONFLICT when the version is not the expected one, when the memory is not active, or
 * when another says the same.
 */
export async function updateMemory(user: UserId, edit: MemoryEdit, memories: Revise): Promise<EditedMemory> {
  const wanted = checkEdit(edit);
  const edited = await memories.revise(user, edit.memoryId, "UPDATED", (memory) => {
    checkVersion(memory, edit.expectedVersion);
    if (memory.status !== "ACTIVE") {
      throw new AppError("CONFLICT", `This memory is not active but ${memory.status}. ${remedyFor(memory)}`);
    }
    return revisionOf(memory, wanted);
  });
  return edited ?? missing();
}

/** Deletes a memory; one that is deleted already stays as it is. Throws NOT_FOUND, and CONFLICT when the version is not the expected one. */
export async function deleteMemory(
  user: UserId,
  { memoryId, expectedVersion }: Pick<MemoryEdit, "memoryId" | "expectedVersion">,
  memories: Revise,
): Promise<EditedMemory> {
  const deleted = await memories.revise(user, memoryId, "DELETED", (memory) => {
    if (memory.status === "RETIRED") {
      return null;
    }
    checkVersion(memory, expectedVersion);
    return { status: "RETIRED" };
  });
  return deleted ?? missing();
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
