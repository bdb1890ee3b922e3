/** Checks one fact a model found, and puts it into the words, kinds and slots that are stored. */

import { endOfDay, parseDay, resolveTimes } from "./dates.ts";
import type { FoldedText } from "./fold.ts";
import { checkGrounded, clauseBefore, fingerprint, locateQuote } from "./ground.ts";
import { MAX_MEMORY_LENGTH } from "./input.ts";
import { holdsSecret, readsLikeAnOrder } from "./screen.ts";
import { slotOf } from "./slots.ts";
import { normalizeTopics } from "./topics.ts";
import { type Fact, MEMORY_KINDS, type MemoryKind } from "./types.ts";
import { sameStatement } from "./words.ts";

/** What a model said about one fact, each field still as it pleased. */
export interface FoundFact {
  text: string;
  quote: string;
  topics?: unknown;
  subject: string;
  kind: string;
  slot: string;
  lasting: string;
  date: string;
  /** Number of the known memory it repeats or changes, from 1; 0 for none. */
  replaces: number;
}

export interface FactSource {
  message: FoldedText;
  saidAt: Date;
  known: readonly { memory: string }[];
}

const MAX_QUOTE_LENGTH = 1_000;
const MAX_SUBJECT_LENGTH = 100;
/** A day further ahead is a slip of the model's, not the end of anything. */
const MAX_YEARS_AHEAD = 20;

/** The fact as it may be stored, or why it may not, in a few words. */
export function checkFact(found: FoundFact, source: FactSource): Fact | string {
  const text = thirdPerson(
    found.text
      .toWellFormed()
      .replace(/[\p{Cc}\s]+/gu, " ")
      .trim(),
  );
  if (text === "" || text.length > MAX_MEMORY_LENGTH) {
    return text === "" ? "it has no text" : "its text is too long";
  }
  if (/^session$/i.test(found.lasting.trim())) {
    return "it matters only now";
  }
  const quote = found.quote.length > MAX_QUOTE_LENGTH ? null : locateQuote(source.message, found.quote);
  if (!quote) {
    return "its quote is not in the message";
  }
  if (holdsSecret(text) || holdsSecret(quote.text)) {
    return "secret";
  }
  const message = source.message.source;
  const reason = checkGrounded({ text, quote, message, saidAt: source.saidAt });
  if (reason) {
    return reason;
  }
  const subject = subjectOf(text, found.subject, source.message);
  if (subject === undefined) {
    return "whom it is about is not in the message";
  }
  const memory = inKnownWords(text, source.known[found.replaces - 1]?.memory);
  const quarantined = readsLikeAnOrder(text, `${clauseBefore(message, quote.start)}${quote.text}`);
  return {
    memory,
    topics: normalizeTopics(found.topics),
    kind: kindOf(found.kind),
    subject,
    slot: subject === null && !quarantined && !ADDED.test(quote.text) ? slotOf(memory, found.slot) : null,
    quote,
    fingerprint: fingerprint(memory, subject),
    quarantined,
    expiresAt: expiryOf(found, quote.text, source.saidAt),
  };
}

/** Small models sometimes keep the first person, or speak to the user. */
function thirdPerson(text: string): string {
  const openings: [RegExp, string][] = [
    [/^(?:my|your)\b/i, "User's"],
    [/^i(?:['\u2019]m| am)\b|^you(?:['\u2019]re| are)\b/i, "User is"],
    [/^(?:i|you)(?:['\u2019]ve| have)\b/i, "User has"],
    [/^(?:i|you)\b(?!['\u2019])/i, "User"],
  ];
  const opening = openings.find(([pattern]) => pattern.test(text));
  return opening ? text.replace(...opening) : text;
}

/** Null for the user, a name for somebody else, undefined for a name the message does not hold. */
function subjectOf(text: string, subject: string, message: FoldedText): string | null | undefined {
  const name = subject.trim().replace(/^(?:(?:the )?user(?:['\u2019]s)?|my|the|his|her|their|our)\s+/i, "");
  if (/^(?:the )?user (?!['\u2019])/i.test(text) || NOBODY.test(name) || name.length > MAX_SUBJECT_LENGTH) {
    return null;
  }
  return locateQuote(message, name)?.text;
}

const NOBODY = /^(?:|(?:the )?users?|self|me|i|myself|none|null|n\/?a|undefined|unknown|other|others|someone|third[ -]person)[.!]?$/i;

/** "I also work as", "a second job" add to what is there and replace nothing. */
const ADDED = /\b(?:also|too|as well|second|another|part-time|besides)\b/i;

/** The wording already stored, when the model says the fact repeats it and code agrees: then it is confirmed rather than doubled. */
function inKnownWords(text: string, known: string | undefined): string {
  return known !== undefined && sameStatement(text, known) ? known : text;
}

function kindOf(kind: string): MemoryKind {
  const name = kind.trim().toUpperCase();
  return MEMORY_KINDS.find((known) => known === name || `${known}S` === name) ?? KIND_SYNONYMS.get(name) ?? "OTHER";
}

const KIND_SYNONYMS: ReadonlyMap<string, MemoryKind> = new Map([
  ["PERSONAL", "IDENTITY"],
  ["HOBBY", "PREFERENCE"],
  ["INTEREST", "PREFERENCE"],
  ["GOAL", "PLAN"],
  ["RELATIONSHIP", "RELATION"],
  ["FAMILY", "RELATION"],
  ["ALLERGY", "CONSTRAINT"],
]);

/** The end of the day a fact lasts until: the one code reads in the quote before the one the model gives; null for none to come. */
function expiryOf({ lasting, date }: FoundFact, quote: string, saidAt: Date): Date | null {
  if (!/^until$/i.test(lasting.trim())) {
    return null;
  }
  const day = resolveTimes(quote, saidAt).day ?? parseDay(date);
  const end = day && endOfDay(day);
  const latest = new Date(saidAt);
  latest.setUTCFullYear(latest.getUTCFullYear() + MAX_YEARS_AHEAD);
  return end && end > saidAt && end < latest ? end : null;
}
