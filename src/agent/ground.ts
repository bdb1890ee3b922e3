/**
 * Holds what a model wrote against the user's own words. Nothing is remembered that a quote of the message does not
 * carry: a model that guesses, mixes up people or turns a no into a yes loses its fact here.
 */

import { createHash } from "node:crypto";
import { resolveTimes } from "./dates.ts";
import { type FoldedText, fold, foldWithPlaces } from "./fold.ts";
import { questionStates } from "./gate.ts";
import { numbersIn } from "./numbers.ts";
import { clauses, contentWords, isDenied, isGrammar, sameWord, UNSPACED, words } from "./words.ts";

/** Finds a quote in a message, whatever its case, spaces, punctuation or Unicode form. Gives the message's own text and its place in UTF-16 units, or null. */
export function locateQuote(message: string | FoldedText, quote: string): { text: string; start: number; end: number } | null {
  const folded = typeof message === "string" ? foldWithPlaces(message) : message;
  const wanted = fold(quote.toWellFormed());
  for (let at = wanted === "" ? -1 : folded.text.indexOf(wanted); at >= 0; at = folded.text.indexOf(wanted, at + 1)) {
    const after = at + wanted.length;
    const start = folded.starts[at];
    const end = folded.ends[after - 1];
    // A character may fold to several units: a quote that begins or ends within one would bring words nobody looked for.
    const whole = folded.starts[at - 1] !== start && folded.ends[after] !== end;
    if (start !== undefined && end !== undefined && whole && !(splitsWord(folded.text, at) || splitsWord(folded.text, after))) {
      return { text: folded.source.slice(start, end), start, end };
    }
  }
  return null;
}

/** A sentence about the user and where it is said to come from. */
export interface Claim {
  /** What the model wrote. */
  text: string;
  /** The quote as `locateQuote` found it in `message`. */
  quote: { text: string; start: number; end: number };
  message: string;
  saidAt: Date;
}

/** Null when the quote carries the text; else what is wrong with it, in a few words. */
export function checkGrounded(claim: Claim): string | null {
  const { text, quote, message, saidAt } = claim;
  const quoted = contentWords(quote.text);
  if (quoted.length === 0) {
    return "the quote holds no content word";
  }
  const said = `${clauseBefore(message, quote.start)}${quote.text}${denialAfter(message, quote.end)}`;
  const times = resolveTimes(quote.text, saidAt);
  const numbers = new Set([...numbersIn(quote.text), ...times.numbers]);
  const known = (part: string) => [...numbersIn(part)].every((number) => numbers.has(number));
  if (!known(text)) {
    return "a number or date is not in the quote";
  }
  if (!namesAreQuoted(claim, times.names)) {
    return "a name is not in the quote";
  }
  const carried = (word: string) =>
    quoted.some((other) => sameWord(word, other)) || times.names.has(word) || (/^\p{Nd}+$/u.test(word) && known(word));
  if (!isCarried(text, carried)) {
    return "the quote says something else";
  }
  if (isAsked(claim, said)) {
    return "the user asked this";
  }
  return checkManner(text, said);
}

/** What the same fact in the same words has in common: the folded text without its articles; of a long one, a hash. Safe to index. */
export function fingerprint(text: string, subject: string | null): string {
  const plain = fold(text)
    .split(" ")
    .filter((word) => !ARTICLES.has(word))
    .join(" ");
  const about = subject === null ? "" : fold(subject);
  const whole = about === "" || ` ${plain} `.includes(` ${about} `) ? plain : `${about}: ${plain}`;
  return whole.length <= MAX_FINGERPRINT ? whole : `sha256 ${createHash("sha256").update(whole).digest("base64url")}`;
}

const ARTICLES: ReadonlySet<string> = new Set(["a", "an", "the"]);
const MAX_FINGERPRINT = 200;

/** Whether words run on across a place in folded text, so that a quote of "art" is not found in "party". */
function splitsWord(text: string, at: number): boolean {
  const [before] = /[\s\S]$/u.exec(text.slice(Math.max(0, at - 2), at)) ?? [" "];
  const [after] = /^[\s\S]/u.exec(text.slice(at, at + 2)) ?? [" "];
  const joined = [before, after].every((character) => /[\p{L}\p{M}\p{N}]/u.test(character) && !UNSPACED.test(character));
  return joined && !/\p{sc=Hangul}/u.test(before + after);
}

/** The words between the start of a quote's clause and the quote: "I wish", "my sister says". */
export function clauseBefore(message: string, start: number): string {
  const before = message.slice(Math.max(0, start - 200), start);
  return /[^.,;:!?()\n\u3001\u3002\uff0c]*$/u.exec(before.replace(/^[\s\S]*\b(?:but|because|since)\b/i, ""))?.[0] ?? "";
}

/** A denial that follows the quote in its sentence and has no word of its own: ", but not any more". */
function denialAfter(message: string, end: number): string {
  const rest = /^[^.!?\n\u3002\uff01\uff1f]*/u.exec(message.slice(end, end + 100))?.[0] ?? "";
  return clauses(rest).some((clause) => isGrammar(clause) && isDenied(clause)) ? rest : "";
}

/** Every capitalised word of the text, but its first and "User", is in the quote or was worked out from it. */
function namesAreQuoted({ text, quote, message }: Claim, resolved: ReadonlySet<string>): boolean {
  const quoted = words(quote.text);
  // German writes every noun with a capital, so a form of the word is enough there.
  const same = GERMAN.test(message) ? sameWord : (one: string, other: string) => one === other || sameName(one, other);
  return text
    .split(/(?<=[.!?])\s+/)
    .flatMap((sentence) => sentence.split(/[\s/\u2013\u2014-]+/).slice(1))
    .filter((word) => /^[\p{P}]*\p{Lu}/u.test(word))
    .flatMap((word) => words(word.replace(/['\u2019]s?(?=\P{L}*$)/u, "")))
    .every((word) => NOT_NAMES.has(word) || resolved.has(word) || quoted.some((other) => same(word, other)));
}

/** Names said with an ending or shortened as dates are: Berlin's, Berliners; Mon, Aug. */
function sameName(name: string, quoted: string): boolean {
  return quoted === `${name}s` || name === `${quoted}s` || (CALENDAR.test(name) && quoted.length >= 3 && name.startsWith(quoted));
}

const GERMAN = /\b(?:ich|mein\p{L}*|nicht|und|habe|heiße|wohne|arbeite)\b/iu;
const CALENDAR =
  /^(?:jan|febr)uary$|^(?:march|april|may|june|july|august)$|^(?:septem|octo|novem|decem)ber$|^(?:mon|tues|wednes|thurs|fri|satur|sun)day$/;
const NOT_NAMES: ReadonlySet<string> = new Set([
  "user",
  "users",
  "i",
  "im",
  "ive",
  "id",
  "ill",
  "the",
  "a",
  "nutzer",
  "benutzer",
  "usuario",
  "utilisateur",
]);

/**
 * Whether a third of the text's content words are the quote's, and at least one in every member of an enumeration. A
 * paraphrase may add a few ("works as", "hobby"), but nothing that stands by itself.
 */
function isCarried(text: string, carried: (word: string) => boolean): boolean {
  const content = contentWords(text);
  const members = text
    .split(/,|\b(?:and|or)\b/i)
    .map(contentWords)
    .filter((member) => member.length > 0);
  return content.filter(carried).length * 3 >= Math.max(content.length, 1) && members.every((member) => member.some(carried));
}

/** Whether the words the text rests on stand only in questions that state nothing. */
function isAsked({ text, quote, message }: Claim, said: string): boolean {
  const rest = /^[^.!?\n\u3002\uff01\uff1f]*[?\uff1f]?/u.exec(message.slice(quote.end, quote.end + 300))?.[0] ?? "";
  const claimed = contentWords(text);
  const sentences = `${said}${rest}`.split(/(?<=[.!?])\s+|(?<=[\u3002\uff01\uff1f])|\n/u);
  const sources = sentences.filter((sentence) => contentWords(sentence).some((word) => claimed.some((other) => sameWord(word, other))));
  return sources.length > 0 && sources.every((sentence) => /[?\uff1f]["')\s]*$/.test(sentence) && !questionStates(sentence));
}

/** Compares how a thing is said: denied or not, wished or real, past or present, of the user or of somebody else. */
function checkManner(text: string, said: string): string | null {
  const parts = clausesOf(said);
  for (const claimed of clauses(text)) {
    const sources = bestSources(contentWords(claimed), parts);
    if (sources.length === 0) {
      continue;
    }
    if (!sources.some(({ denied }) => denied === isDenied(claimed))) {
      return "one of text and quote denies, the other does not";
    }
    if (!HEDGED.test(text) && sources.every(({ clause }) => SUPPOSED.test(clause))) {
      return "the user only supposed or wished it";
    }
    if (!PAST.test(text) && sources.every(({ clause }) => USED_TO.test(clause))) {
      return "the user spoke of the past";
    }
    if (sources.every(({ clause }) => isAboutAnother(clause, claimed))) {
      return "the user spoke of somebody else";
    }
  }
  return null;
}

interface Part {
  clause: string;
  content: string[];
  denied: boolean;
}

/** The clauses of what was said. "Not any more" and the like deny everything before them. */
function clausesOf(said: string): Part[] {
  let deniesBefore = false;
  const parts: Part[] = [];
  for (const clause of clauses(said).reverse()) {
    const denied = isDenied(clause);
    parts.unshift({ clause, content: contentWords(clause), denied: denied || deniesBefore });
    deniesBefore ||= denied && isGrammar(clause);
  }
  return parts;
}

/** The clauses that share the most words with a claim. */
function bestSources(claimed: string[], parts: Part[]): Part[] {
  const scored = parts.map((part) => ({
    part,
    shared: claimed.filter((word) => part.content.some((other) => sameWord(word, other))).length,
  }));
  const best = Math.max(0, ...scored.map(({ shared }) => shared));
  return best === 0 ? [] : scored.filter(({ shared }) => shared === best).map(({ part }) => part);
}

/** "My sister lives in Rome", "she lives in Rome" do not say that the user does; "User has a sister" is fine. */
function isAboutAnother(clause: string, claimed: string): boolean {
  const relative =
    /^\W*(?:(?:and|so|well|also|then) )*(?:(?:my|our) (?:\w+ )?(\w+)(?: (?=is |was |has |had |does |\w+s\b|\w+ed\b)|['\u2019]s )|(?:he|she|they)\b)/i.exec(
      clause,
    );
  if (
    !relative ||
    /\b(?:i|i['\u2019]m|i['\u2019]ve|me|we|us)\b/i.test(clause) ||
    !/^\W*(?:the )?user (?!has\b|have\b|had\b|owns\b|thinks\b)/i.test(claimed)
  ) {
    return false;
  }
  const person = relative[1]?.toLowerCase();
  return person === undefined || (RELATIVES.has(person) && !words(claimed).some((word) => sameWord(word, person)));
}

const RELATIVES: ReadonlySet<string> = new Set(
  (
    "sister brother mother father mom mum dad parents parent wife husband partner girlfriend boyfriend fiance fiancee son daughter kid kids child " +
    "children baby uncle aunt cousin nephew niece grandmother grandfather grandma grandpa friend friends boss colleague coworker neighbor neighbour " +
    "roommate flatmate teacher doctor team dog cat"
  ).split(" "),
);
const SUPPOSED =
  /\b(?:if|unless|i wish|wished|imagine|imagining|pretend|suppose|as though|(?:i|we)(?:['\u2019]d| would) (?:be|live|work|have|own|move))\b/i;
const HEDGED =
  /\b(?:if|unless|wish\w*|hop(?:es|ed|ing)|would|could|might|may|wants?|imagin\w+|dream\w*|plan\w*|consider\w*|supposes?|when)\b/i;
const USED_TO = /(?<!\b(?:be|am|is|are|was|were|i'm|we're|get|gets|getting|got) )\bused to\b/i;
const PAST = /\b(?:used to|former\w*|previous\w*|once|was|were|had|did|ago|past|no longer|ex|\w+ed|grew|went|lived|left|quit)\b/i;
