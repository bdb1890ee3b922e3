/** What the rules of the offline provider know about words: which are names, places, occupations, things a person may like. */

import type nlp from "compromise/two";

/** Compromise's tagger; loaded only when the rules are used. */
export type Tagger = typeof nlp;

/** A person's name as it is stored: one to three words with a capital, or first names that are known. Null for anything else, and for "Anna's". */
export function personName(text: string, tagger: Tagger): string | null {
  const words = text.trim().split(/\s+/);
  const kept: string[] = [];
  for (const word of words.slice(0, 3)) {
    const isName = /^\p{Lu}[\p{L}'-]*$/u.test(word) || (/^[\p{L}'-]+$/u.test(word) && hasTag(word, "FirstName", tagger));
    if (!isName || NO_NAME.has(word.toLowerCase())) {
      break;
    }
    if (word.endsWith("'s")) {
      return null;
    }
    kept.push(capitalized(word));
  }
  return kept.length > 0 ? kept.join(" ") : null;
}

/** Whether "I'm …" gives a name: a first name that is known, or another noun with a capital that is no people's or faith's name. */
export function introduces(word: string, tagger: Tagger): boolean {
  if (hasTag(word, "Place", tagger)) {
    return false;
  }
  const isOther = /^\p{Lu}\p{Ll}+$/u.test(word) && hasTag(word, "Noun", tagger) && !hasTag(word, "Demonym", tagger);
  return hasTag(word, "FirstName", tagger) || (isOther && !/(?:ish|ese|ian|ean|ican|ic|ist|im|ing|er)$/.test(word));
}

/** The place a text begins with, in capitals, or null. */
export function placeName(text: string, tagger: Tagger): string | null {
  const terms = tagger(text.replace(/[.,!?;:]+$/, "")).termList();
  const kept: string[] = [];
  for (const { text: word, tags } of terms) {
    const isPlace = /^\p{Lu}/u.test(word) || tags?.has("Place") === true;
    if (kept.length >= 5 || word === "" || !(isPlace || LINKS.has(word.toLowerCase()))) {
      break;
    }
    kept.push(isPlace ? capitalized(word) : word.toLowerCase());
    if (/[,.;]/.test(terms[kept.length - 1]?.post ?? "")) {
      break;
    }
  }
  while (LINKS.has(kept.at(-1) ?? "")) {
    kept.pop();
  }
  return kept.some((word) => /^\p{Lu}/u.test(word)) ? kept.join(" ") : null;
}

/** Whether "a …" names an occupation. */
export function isOccupation(text: string, tagger: Tagger): boolean {
  const last = text.split(" ").at(-1)?.toLowerCase() ?? "";
  if (text.split(" ").length > 4 || NO_OCCUPATION.has(last)) {
    return false;
  }
  return OCCUPATION.test(last) || tagger(`I am a ${text}`).termList().at(-1)?.tags?.has("Actor") === true;
}

/** The things in an enumeration. "Cooking for friends and family" is one thing, and so is "rock and roll". */
export function enumerated(text: string): string[] {
  const first = text.split(/,|\band\b|&/)[0] ?? "";
  const joined = PAIRS.test(text) || (!text.includes(",") && PREPOSITION.test(first));
  return (joined ? [text] : text.split(/\s*,\s*(?:and\s+|or\s+)?|\s+(?:and|or|&)\s+/))
    .map((item) => item.replace(/^(?:also|both|either|even|especially|really|sometimes)\s+/i, "").trim())
    .filter((item) => item !== "");
}

/** A thing somebody may like, be allergic to or call a favourite, as it is stored; null for what only this conversation can tell ("that idea"). */
export function likedThing(text: string, tagger: Tagger): string | null {
  const thing = text.replace(/^my\s+/i, "their ").replace(/^(?:all (?:kinds|sorts) of)\s+/i, "");
  const words = thing.toLowerCase().split(/\s+/);
  const first = words[0] ?? "";
  const isKnownDefinite = first === "the" && (/^the \p{Lu}/u.test(thing) || DEFINITE.has(words[1] ?? ""));
  if (words.length > 7 || !/^[\p{L}\p{N}][\p{L}\p{M}\p{N}' .+#/&-]*$/u.test(thing) || words.some((word) => NO_THING.has(word))) {
    return null;
  }
  if (/^their .*'s\b/.test(thing) || (first === "to" && (words.length < 2 || NO_HABIT.has(words[1] ?? "")))) {
    return null;
  }
  if (NO_BEGINNING.has(first) || (first === "the" && !isKnownDefinite) || NO_HEAD.has(words.at(-1) ?? "")) {
    return null;
  }
  const tags = tagger(`I like ${thing}`).termList().at(-1)?.tags;
  return words.length === 1 &&
    ["Adjective", "Adverb", "Preposition", "Pronoun", "Conjunction"].some((tag) => tags?.has(tag) && !tags.has("Noun")) &&
    !isNamed(thing)
    ? null
    : thing;
}

function isNamed(thing: string): boolean {
  return /^\p{Lu}/u.test(thing);
}

function hasTag(word: string, tag: string, tagger: Tagger): boolean {
  return tagger(word).termList()[0]?.tags?.has(tag) === true;
}

function capitalized(word: string): string {
  return word.charAt(0).toUpperCase() + word.slice(1);
}

const set = (list: string): ReadonlySet<string> => new Set(list.split(" "));

const NO_NAME = set(
  "a an the not no on in at of to by for from with also still too very really so just now here there hard difficult common wrong spelled pronounced " +
    "misspelled known and or but i my we it is was what who happy sorry sure fine good glad sad ready done back home tired new old only actually",
);
const LINKS = set("of de la le del da do di upon on the el san st saint");
const OCCUPATION =
  /(?:(?:[^b]|\bb)(?:er|or|ist|ian|eer|ant|ect)|nurse|chef|pilot|student|clerk|coach|guide|judge|midwife|surgeon|analyst|cook|barista|tailor|scientist|freelance|(?:wo)?man|ceo|cto)$/;
const NO_OCCUPATION = set(
  "beginner lover member winner customer subscriber computer number owner player listener believer reader newcomer foreigner stranger teenager " +
    "user monster loner smoker drinker eater sleeper speaker bit lot fan mother father sister brother parent grandmother grandfather daughter " +
    "former other another matter server character vegetarian pescatarian whether either first-timer outsider survivor visitor liar father-in-law person",
);
const PAIRS =
  /\b(?:rock and roll|fish and chips|mac and cheese|arts and crafts|drum and bass|friends and family|gin and tonic|dungeons and dragons|salt and vinegar|black and white|bread and butter|science and technology|r ?& ?b|d ?& ?d)\b/i;
const PREPOSITION = /\s(?:for|with|of|in|on|at|to|from|by|about|between|over|than|near)\s/i;
const DEFINITE = set(
  "sea ocean mountains beach outdoors rain cold heat summer winter snow countryside forest woods piano guitar violin theatre theater cinema opera",
);
const NO_BEGINNING = set(
  "it that this these those them him her us you he she they your yours his its our how what when where why who which whether being having if as " +
    "everything something anything nothing everyone someone anyone one some any all both each another more most much many so such too very no not and or but i a an",
);
const NO_HABIT = set("be hear see know think say meet try get have point ask add thank start welcome");
const NO_THING = set("you your yours it this that these those him her them me something anything everything someone myself yourself");
const NO_HEAD = set("idea way thing things one ones part bit lot point sound look looks better best more most late");
