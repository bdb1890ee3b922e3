/** Chooses the memories a reply is given. No model is asked. */

import type { MemoryCandidate, MemoryCandidates } from "./ports.ts";
import { memoryLine } from "./prompt.ts";
import { estimateTokens } from "./tokens.ts";
import type { Recall, RecallItem } from "./types.ts";

/** More than fit into any budget, so that "everything fits" can be seen. */
export const MAX_CANDIDATES = 200;
/** When not everything fits, at most this many: a small model does better with few, and a poisoned memory finds less room. */
const MAX_CHOSEN = 20;
const MAX_NEAR_MISSES = 5;

/** All active memories when they fit into `budget` tokens; else the pinned ones and those that share words with the message, best first. */
export function recall({ candidates, total }: MemoryCandidates, budget: number): Recall {
  const items = candidates.map((candidate) => ({ candidate, text: memoryLine(candidate.memory) }));
  const size = items.reduce((sum, item) => sum + estimateTokens(item.text), 0);
  if (total === candidates.length && size <= budget) {
    // By age, which is the order of ids: it stays the same from turn to turn, and a model server can reuse the start of the prompt.
    const used = items
      .toSorted((a, b) => (a.candidate.memory.memoryId < b.candidate.memory.memoryId ? -1 : 1))
      .map(({ candidate, text }) => ({ memoryId: candidate.memory.memoryId, text, score: null, ranks: [], missedBecause: null }));
    return { complete: true, used, nearMisses: [], arms: ["TEXT"] };
  }
  return choose(items, budget);
}

function choose(items: { candidate: MemoryCandidate; text: string }[], budget: number): Recall {
  const best = Math.max(...items.map(({ candidate }) => candidate.textScore), Number.MIN_VALUE);
  const ranked = items.filter(({ candidate }) => candidate.textScore > 0).toSorted((a, b) => b.candidate.textScore - a.candidate.textScore);
  const ranks = new Map(ranked.map(({ candidate }, index) => [candidate.memory.memoryId, index + 1]));
  const used: RecallItem[] = [];
  const nearMisses: RecallItem[] = [];
  let left = budget;
  for (const { candidate, text } of items) {
    const { memory, textScore } = candidate;
    const tokens = estimateTokens(text);
    const fits = tokens <= left && used.length < MAX_CHOSEN;
    const wanted = memory.pinned || textScore > 0;
    const rank = ranks.get(memory.memoryId);
    const item: RecallItem = {
      memoryId: memory.memoryId,
      text,
      score: textScore / best,
      ranks: rank === undefined ? [] : [{ arm: "TEXT", rank }],
      missedBecause: wanted ? (fits ? null : "NO_ROOM") : "TOO_WEAK",
    };
    if (wanted && fits) {
      used.push(item);
      left -= tokens;
    } else if (nearMisses.length < MAX_NEAR_MISSES) {
      nearMisses.push(item);
    }
  }
  return { complete: false, used, nearMisses, arms: ["TEXT"] };
}
