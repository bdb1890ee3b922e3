/** Finds memories for a person or program that asks, as a run recalls them: by words, and by topics. No model is asked. */

import { badInput } from "../errors.ts";
import { checkText } from "./input.ts";
import type { FoundMemory, MemoryFilter, MemoryStore } from "./ports.ts";
import { normalizeTopic } from "./topics.ts";
import type { Memory, SearchArm, UserId } from "./types.ts";
import { contentWords, sameWord } from "./words.ts";

export interface MemoryQuery {
  query: string;
  filter: MemoryFilter;
  limit: number;
}

/** A memory found, and why. */
export interface MemoryMatch {
  memory: Memory;
  /** How well it fits; only the order within one answer means something. */
  score: number;
  ranks: { arm: SearchArm; rank: number }[];
  /** In a sentence. */
  why: string;
}

/** The longest topic that is looked for within a query, in words, and the most topics looked for. */
const TOPIC_WORDS = 3;
/** How much of a query is looked at, in UTF-16 units. */
const LONGEST_READ = 2_000;
const MAX_TOPICS = 60;

/** The memories that fit, best first; none when nothing does. Throws BAD_USER_INPUT for a query that is empty or no text. */
export async function searchMemories(
  user: UserId,
  { query, filter, limit }: MemoryQuery,
  memories: Pick<MemoryStore, "search">,
): Promise<MemoryMatch[]> {
  if (checkText(query, "query").trim() === "") {
    throw badInput("query", "is empty. Send what to look for; to see everything, list memories instead.");
  }
  const start = query.slice(0, LONGEST_READ).toWellFormed();
  const topics = topicsIn(start);
  const found = await memories.search(user, { text: query, topics, filter, limit });
  const queryWords = contentWords(start);
  return found.map((item) => ({
    memory: item.memory,
    score: item.score,
    ranks: ranksOf(item),
    why: explain(item, topics, queryWords),
  }));
}

/** The topics a query may mean: all of it, and the phrases in it that have a word of content. */
function topicsIn(query: string): string[] {
  const whole = normalizeTopic(query);
  const words = whole.split(" ").map((word) => word.replace(/^[^\p{L}\p{N}#]+|[^\p{L}\p{N}#+]+$/gu, ""));
  const phrases = words.flatMap((_, start) =>
    Array.from({ length: TOPIC_WORDS }, (_, more) => words.slice(start, start + more + 1).join(" ")),
  );
  return [...new Set([whole, ...phrases.filter((phrase) => contentWords(phrase).length > 0)])].slice(0, MAX_TOPICS);
}

function ranksOf({ textRank, topicRank }: FoundMemory): MemoryMatch["ranks"] {
  return [
    ...(textRank === null ? [] : [{ arm: "TEXT" as const, rank: textRank }]),
    ...(topicRank === null ? [] : [{ arm: "TOPIC" as const, rank: topicRank }]),
  ];
}

function explain({ memory, textRank }: FoundMemory, topics: string[], queryWords: string[]): string {
  const parts: string[] = [];
  const hits = memory.topics.filter((topic) => topics.includes(topic));
  if (hits.length > 0) {
    parts.push(`Has the topic${hits.length > 1 ? "s" : ""} ${list(hits)}.`);
  }
  if (textRank !== null) {
    const own = contentWords(`${memory.memory} ${memory.topics.join(" ")}`);
    const shared = [...new Set(queryWords.filter((word) => own.some((other) => sameWord(word, other))))];
    parts.push(shared.length > 0 ? `Shares the word${shared.length > 1 ? "s" : ""} ${list(shared)}.` : "Shares words with the query.");
  }
  return parts.join(" ");
}

function list(words: string[]): string {
  return words.map((word) => `"${word}"`).join(", ");
}
