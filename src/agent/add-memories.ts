/** Memories written by hand: no model is asked. */

import { badInput } from "../errors.ts";
import { fingerprint } from "./ground.ts";
import { checkText, MAX_MEMORY_LENGTH } from "./input.ts";
import type { MemoryStore } from "./ports.ts";
import { resolve } from "./resolve.ts";
import { slotOf } from "./slots.ts";
import { checkTopics } from "./topics.ts";
import type { Fact, Memory, MemoryChange, MemoryKind, UserId } from "./types.ts";

/** The most memories in one request. */
export const MAX_MEMORIES = 100;

/** A memory as somebody wrote it: anything may still be wrong with it. */
export interface NewMemory {
  memory: string;
  topics: string[];
  kind: MemoryKind;
  expiresAt?: Date | null | undefined;
}

export interface AddedMemory {
  memory: Memory;
  change: MemoryChange;
}

/** Stores a memory, or confirms the one that says the same. Throws BAD_USER_INPUT naming the argument. */
export async function addMemory(user: UserId, input: NewMemory, memories: Pick<MemoryStore, "add">): Promise<AddedMemory> {
  const [added] = await memories.add(user, [manualFact(input, "")], resolve);
  if (!added) {
    throw new Error("The store was given one memory and returned none.");
  }
  return added;
}

/**
 * Stores several memories, all or none. Gives what was stored or confirmed, in their order; of those that say the same,
 * once. Throws BAD_USER_INPUT naming the argument, such as memories.2.topics.
 */
export async function addMemories(user: UserId, inputs: readonly NewMemory[], memories: Pick<MemoryStore, "add">): Promise<AddedMemory[]> {
  if (inputs.length === 0 || inputs.length > MAX_MEMORIES) {
    throw badInput("memories", `has ${inputs.length} items. Send 1 to ${MAX_MEMORIES} in one request.`);
  }
  return memories.add(
    user,
    inputs.map((input, index) => manualFact(input, `memories.${index}`)),
    resolve,
  );
}

/** A checked memory as a fact without a quote. `path` is where it stands in the request; "" for the request itself. Throws BAD_USER_INPUT. */
export function manualFact(input: NewMemory, path: string): Fact {
  const at = (field: string) => (path === "" ? field : `${path}.${field}`);
  const memory = checkText(input.memory, at("memory")).trim();
  if (memory === "") {
    throw badInput(at("memory"), "is empty. Send a fact in a short sentence, such as: User prefers dark mode.");
  }
  if (memory.length > MAX_MEMORY_LENGTH) {
    throw badInput(at("memory"), `is longer than ${MAX_MEMORY_LENGTH} characters. Send a shorter one, or several.`);
  }
  const expiresAt = input.expiresAt ?? null;
  if (expiresAt && !(expiresAt.getTime() > Date.now())) {
    throw badInput(at("expiresAt"), "is not in the future. Send a later time, or leave it out to keep the memory.");
  }
  return {
    memory,
    topics: checkTopics(input.topics, at("topics")),
    kind: input.kind,
    subject: null,
    slot: slotOf(memory, null),
    quote: null,
    fingerprint: fingerprint(memory, null),
    quarantined: false,
    expiresAt,
  };
}
