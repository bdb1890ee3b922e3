/** Topics of memories: a few words in lower case, whatever shape they came in. */

import { badInput } from "../errors.ts";
import { checkText, MAX_TOPIC_LENGTH, MAX_TOPICS } from "./input.ts";

/** The topics a model meant: it may have sent a list, lists in lists, a string with commas, JSON in a string, hash tags. Never throws; at most 16 of at most 64 UTF-16 units. */
export function normalizeTopics(value: unknown): string[] {
  const topics = new Set<string>();
  for (const text of textsIn(value, 0)) {
    const topic = clean(text);
    if (topic !== "" && topics.size < MAX_TOPICS) {
      topics.add(topic);
    }
  }
  return [...topics];
}

/** Topics as somebody wrote them: lower case, single spaces, each once. Throws BAD_USER_INPUT for text that cannot be stored, empty, too long or too many. */
export function checkTopics(values: readonly string[], path: string): string[] {
  const topics = new Set(values.map((value, index) => checkTopic(value, `${path}.${index}`)));
  if (topics.size > MAX_TOPICS) {
    throw badInput(path, `has more than ${MAX_TOPICS} topics. Send fewer, broader ones.`);
  }
  return [...topics];
}

/** One topic in the spelling topics are stored and looked up in: NFC, lower case, single spaces, trimmed. */
export function normalizeTopic(text: string): string {
  return text.normalize("NFC").replace(/\s+/gu, " ").trim().toLowerCase();
}

function checkTopic(value: string, path: string): string {
  const topic = normalizeTopic(checkText(value, path));
  if (topic === "") {
    throw badInput(path, "is empty. Send a word or two, such as hobbies.");
  }
  if (topic.length > MAX_TOPIC_LENGTH) {
    throw badInput(path, `is longer than ${MAX_TOPIC_LENGTH} characters. Send a word or two.`);
  }
  return topic;
}

/** Deeper than any model nests, so that no input can exhaust the stack. */
const MAX_DEPTH = 4;

function textsIn(value: unknown, depth: number): string[] {
  if (typeof value === "string") {
    const parsed = depth < MAX_DEPTH && /^\s*[[{"]/.test(value) ? parsedJson(value) : undefined;
    return parsed === undefined ? value.split(/[,;|\n\u3001\uff0c\uff1b]/u) : textsIn(parsed, depth + 1);
  }
  if (typeof value === "number") {
    return [String(value)];
  }
  if (typeof value !== "object" || value === null || depth >= MAX_DEPTH) {
    return [];
  }
  return Object.values(value).flatMap((item: unknown) => textsIn(item, depth + 1));
}

function parsedJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function clean(text: string): string {
  const plain = normalizeTopic(text.toWellFormed().replace(/[\p{Cc}\ufffd]/gu, " "));
  return withoutMarks(cut(withoutMarks(plain), MAX_TOPIC_LENGTH));
}

/** Without quotes, brackets, hash tags and stops around it; those of C#, C++ and .NET stay. */
function withoutMarks(text: string): string {
  return text.replace(/^(?!\.\p{L})[\p{P}\p{Z}`]+/u, "").replace(/(?!#)[\p{P}\p{Z}`]+$/u, "");
}

/** The first `length` UTF-16 units, without half a surrogate pair at the end. */
function cut(text: string, length: number): string {
  const end = text.slice(0, length);
  return end.isWellFormed() ? end : end.slice(0, -1);
}
