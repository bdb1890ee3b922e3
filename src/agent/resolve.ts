/** Decides what facts do to the memories there are. No model has a say in it. */

import { fingerprint } from "./ground.ts";
import type { Fact, Memory, Resolution } from "./types.ts";
import { contentWords, isDenied, sameStatement, sameWord } from "./words.ts";

/**
 * What each fact does, given the user's active memories that it may touch. In this order:
 *
 * 1. one set aside for review is added beside the others and fills no slot;
 * 2. the same fact again (same fingerprint, or in the same slot the same statement in other words) is a confirmation;
 * 3. a new value for a slot takes the old one's place, except that what a model extracted never takes the place of what
 *    somebody wrote by hand: it is then added without the slot, and both are there to see;
 *    The same holds for what was said before the value there is (its message waited longer): the newer one stays;
 * 4. a denial ("no longer lives in Paris") only takes the place of what it denies;
 * 5. anything else is added.
 *
 * Of several facts for one slot the one said last fills it; the others are added without it. A fact that occurs twice is
 * left out, and so is a confirmation of a memory that another fact confirms or replaces: there may be fewer resolutions than facts.
 */
export function resolve(facts: Fact[], stored: Memory[], saidAt: Date | null = null): Resolution[] {
  const byFingerprint = new Map(stored.map((memory) => [fingerprint(memory.memory, memory.subject), memory]));
  const unique = [...new Map(facts.map((fact) => [fact.fingerprint, fact])).values()];
  const last = lastOfEachSlot(unique);
  const resolutions = unique.map((fact) =>
    resolveOne(last.has(fact) ? fact : withoutSlot(fact), stored, byFingerprint.get(fact.fingerprint), saidAt),
  );
  const replaced = new Set(resolutions.flatMap((resolution) => (resolution.action === "supersede" ? [resolution.memoryId] : [])));
  const confirmed = new Set<string>();
  return resolutions.filter((resolution) => {
    if (resolution.action !== "reinforce") {
      return true;
    }
    const first = !confirmed.has(resolution.memoryId) && !replaced.has(resolution.memoryId);
    confirmed.add(resolution.memoryId);
    return first;
  });
}

/** As many of the resolutions as there is room for: one that adds a memory beside the others needs a place. null: room for all. */
export function withinRoom(resolutions: Resolution[], room: number | null): Resolution[] {
  let places = room ?? Number.POSITIVE_INFINITY;
  return resolutions.filter(({ action }) => action !== "add" || places-- > 0);
}

function resolveOne(fact: Fact, stored: Memory[], same: Memory | undefined, saidAt: Date | null): Resolution {
  if (fact.quarantined) {
    return { action: "add", fact: withoutSlot(fact) };
  }
  if (same) {
    return { action: "reinforce", fact, memoryId: same.memoryId };
  }
  const holders = fact.slot === null ? [] : stored.filter((memory) => memory.slot === fact.slot && memory.subject === fact.subject);
  const restated = holders.find((memory) => saysTheSame(memory.memory, fact.memory));
  if (restated) {
    return { action: "reinforce", fact, memoryId: restated.memoryId };
  }
  const [holder] = holders;
  if (!holder) {
    return { action: "add", fact };
  }
  const isOlder = saidAt !== null && holders.some((memory) => memory.validFrom > saidAt);
  const mayReplace = fact.quote === null || (!isOlder && holders.every((memory) => memory.origin !== "MANUAL"));
  return mayReplace && (!isDenied(fact.memory) || denies(fact.memory, holder.memory))
    ? { action: "supersede", fact, memoryId: holder.memoryId }
    : { action: "add", fact: withoutSlot(fact) };
}

/** In one slot the verb does not matter: "works as a nurse", "is a nurse". */
function saysTheSame(one: string, other: string): boolean {
  const [a, b] = [contentWords(one), contentWords(other)];
  return sameStatement(one, other) || (isDenied(one) === isDenied(other) && a.length > 0 && covers(a, b) && covers(b, a));
}

/** Whether a denial is about what a memory says: its words are all there. */
function denies(denial: string, memory: string): boolean {
  return covers(contentWords(memory), contentWords(denial));
}

function covers(words: string[], others: string[]): boolean {
  return words.every((word) => others.some((other) => sameWord(word, other)));
}

/** The facts that keep their slot: of each slot the one whose quote comes last in the message, or in the list when written by hand. */
function lastOfEachSlot(facts: Fact[]): Set<Fact> {
  const place = (fact: Fact) => fact.quote?.start ?? 0;
  const last = new Map<string, Fact>();
  for (const fact of facts) {
    const key = `${fact.slot} ${fact.subject ?? ""}`;
    const other = last.get(key);
    if (fact.slot !== null && !fact.quarantined && (!other || place(fact) >= place(other))) {
      last.set(key, fact);
    }
  }
  return new Set(last.values());
}

function withoutSlot(fact: Fact): Fact {
  return { ...fact, slot: null };
}
