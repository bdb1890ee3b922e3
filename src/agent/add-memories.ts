/** Memories written by hand: no model is asked. */

import { AppError, badInput } from "../errors.ts";
import { step } from "../step.ts";
import { fingerprint } from "./ground.ts";
import { checkText, MAX_MEMORY_LENGTH, MAX_TOPICS, requestKey } from "./input.ts";
import type { ChangedMemory, MemoryStore } from "./ports.ts";
import { resolve, withinRoom } from "./resolve.ts";
import { slotOf } from "./slots.ts";
import { checkTopics } from "./topics.ts";
import type { Fact, Memory, MemoryKind, Resolution, UserId } from "./types.ts";

/** The most memories in one request. */
export const MAX_MEMORIES = 100;

/** A memory as somebody wrote it: anything may still be wrong with it. */
export interface NewMemory {
  memory: string;
  topics: string[];
  kind: MemoryKind;
  expiresAt?: Date | null | undefined;
}

/** The client's own name for a request that writes: sent again with the same arguments, it is not carried out again. */
export interface Keyed {
  idempotencyKey?: string | null | undefined;
}

/** Stores a memory, or confirms the one that says the same. Throws BAD_USER_INPUT naming the argument, and IDEMPOTENCY_CONFLICT. */
export async function addMemory(user: UserId, input: NewMemory & Keyed, memories: Pick<MemoryStore, "add">): Promise<ChangedMemory> {
  const request = requestKey(input.idempotencyKey, "addMemory", wordsOf(input));
  const [added] = await memories.add(user, [manualFact(input, "")], resolveWhole, request);
  if (!added) {
    throw new Error("The store was given one memory and returned none.");
  }
  return added;
}

/** Throws BUDGET_EXCEEDED when not all of them find room. */
function resolveWhole(facts: Fact[], stored: Memory[], room: number | null): Resolution[] {
  const resolutions = resolve(facts, stored);
  if (withinRoom(resolutions, room).length < resolutions.length) {
    const message =
      "The user has as many memories as one user may have. Delete some that are no longer needed, or have LIMIT_MEMORIES raised.";
    throw new AppError("BUDGET_EXCEEDED", message);
  }
  return resolutions;
}

/**
 * Stores several memories, all or none. Gives for each, in their order, what was done and the memory; those that say the
 * same share one change. Throws BAD_USER_INPUT naming the argument, such as memories.2.topics, and IDEMPOTENCY_CONFLICT.
 */
export async function addMemories(
  user: UserId,
  { memories: inputs, idempotencyKey }: { memories: readonly NewMemory[] } & Keyed,
  memories: Pick<MemoryStore, "add">,
): Promise<ChangedMemory[]> {
  if (inputs.length === 0 || inputs.length > MAX_MEMORIES) {
    throw badInput("memories", `has ${inputs.length} items. Send 1 to ${MAX_MEMORIES} in one request.`);
  }
  const facts = inputs.map((input, index) => manualFact(input, `memories.${index}`));
  const request = requestKey(idempotencyKey, "addMemories", inputs.map(wordsOf));
  const added = await memories.add(user, sameJoined(facts), resolveWhole, request);
  step("batch-stored");
  return added;
}

function wordsOf({ memory, topics, kind, expiresAt }: NewMemory): unknown[] {
  return [memory, topics, kind, expiresAt ?? null];
}

/** The facts, those that say the same with what any of them was given. */
function sameJoined(facts: Fact[]): Fact[] {
  const joined = new Map<string, Fact>();
  for (const fact of facts) {
    const same = joined.get(fact.fingerprint);
    joined.set(fact.fingerprint, same ? { ...same, ...joinWritten(same, fact) } : fact);
  }
  return facts.map((fact) => joined.get(fact.fingerprint) ?? fact);
}

/** What a memory written by hand twice keeps: it is found by the topics of both, and does not end sooner than either was to. */
export function joinWritten(one: Pick<Fact, "topics" | "expiresAt">, other: Pick<Fact, "topics" | "expiresAt">) {
  const topics = [...new Set([...one.topics, ...other.topics])].slice(0, MAX_TOPICS);
  const ends = [one.expiresAt?.getTime() ?? Number.POSITIVE_INFINITY, other.expiresAt?.getTime() ?? Number.POSITIVE_INFINITY];
  const end = Math.max(...ends);
  return { topics, expiresAt: Number.isFinite(end) ? new Date(end) : null };
}

/** A checked memory as a fact without a quote. `path` is where it stands in the request; "" for the request itself. Throws BAD_USER_INPUT. */
export function manualFact(input: NewMemory, path: string): Fact {
  const at = (field: string) => (path === "" ? field : `${path}.${field}`);
  const memory = checkMemoryText(input.memory, at("memory"));
  return {
    memory,
    topics: checkTopics(input.topics, at("topics")),
    kind: input.kind,
    subject: null,
    slot: slotOf(memory, null),
    quote: null,
    fingerprint: fingerprint(memory, null),
    quarantined: false,
    expiresAt: checkExpiry(input.expiresAt ?? null, at("expiresAt")),
  };
}

/** The text of a memory, trimmed. Throws BAD_USER_INPUT for one that is empty, too long or cannot be stored. */
export function checkMemoryText(value: string, path: string): string {
  const memory = checkText(value, path).trim();
  if (memory === "") {
    throw badInput(path, "is empty. Send a fact in a short sentence, such as: User prefers dark mode.");
  }
  if (memory.length > MAX_MEMORY_LENGTH) {
    throw badInput(path, `is longer than ${MAX_MEMORY_LENGTH} characters. Send a shorter one, or several.`);
  }
  return memory;
}

/** When a memory ends; null: never. Throws BAD_USER_INPUT for a time that is over. */
export function checkExpiry(value: Date | null, path: string): Date | null {
  if (value !== null && !(value.getTime() > Date.now())) {
    throw badInput(path, "is not in the future. Send a later time, or leave it out to keep the memory.");
  }
  return value;
}
