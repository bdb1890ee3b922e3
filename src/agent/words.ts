/** Words of sentences, for comparing what a model wrote with what the user said. Unicode throughout; word lists are English, a few reach further. */

import { fold } from "./fold.ts";

/** The folded words of a text in order. Scripts written without spaces give pairs of neighbouring characters instead. */
export function words(text: string): string[] {
  return fold(text)
    .split(" ")
    .flatMap((word) => (UNSPACED.test(word) ? pairs(word) : [word]))
    .filter((word) => word !== "");
}

/** The words that carry what a sentence is about: neither grammar nor verbs such as like, live, work, have. */
export function contentWords(text: string): string[] {
  return words(text).filter((word) => !GRAMMAR.has(word) && !COMMON_VERBS.has(word));
}

/** True for a clause without a word of its own, such as "not any more" or "but I don't". */
export function isGrammar(clause: string): boolean {
  return words(clause).every((word) => GRAMMAR.has(word));
}

/** True for forms of one word as far as spelling shows: hike, hikes, hiking; photography, photographer. */
export function sameWord(one: string, other: string): boolean {
  if (one === other || stem(one) === stem(other)) {
    return true;
  }
  const longer = Math.max(one.length, other.length);
  return !/\d/.test(one + other) && commonPrefix(one, other) >= Math.max(4, longer * 0.6);
}

/** True when two sentences say the same in other grammar: the same content words, the same sort of verb, both or neither denied. */
export function sameStatement(one: string, other: string): boolean {
  const [a, b] = [meaning(one), meaning(other)];
  return a.length > 0 && a.length === b.length && a.every((word, index) => word === b[index]) && isDenied(one) === isDenied(other);
}

/** True when a clause denies what it says, or tells of dislike or of an end: no, never, don't, hates, no longer. */
export function isDenied(clause: string): boolean {
  const text = ` ${fold(clause)} `.replace(NOT_DENIALS, " ");
  return text.split(" ").some((word) => DENIALS.has(word)) || DENIALS_UNSPACED.test(clause);
}

/** The parts of a text that are affirmed or denied by themselves. */
export function clauses(text: string): string[] {
  return text
    .split(CLAUSE_BREAK)
    .map((clause) => clause.trim())
    .filter((clause) => clause !== "");
}

/** Characters of scripts written without spaces between words. */
export const UNSPACED = /[\p{sc=Han}\p{sc=Hiragana}\p{sc=Katakana}\p{sc=Thai}\p{sc=Lao}\p{sc=Khmer}\p{sc=Myanmar}]/u;

function pairs(word: string): string[] {
  const characters = [...word];
  return characters.length < 2 ? characters : characters.slice(1).map((character, index) => `${characters[index]}${character}`);
}

function meaning(text: string): string[] {
  const all = words(text).filter((word) => !GRAMMAR.has(word) || COMMON_VERBS.has(word));
  return [...new Set(all.map((word) => VERB_CLASSES.get(word) ?? (COMMON_VERBS.has(word) ? "" : stem(word))))]
    .filter((word) => word !== "")
    .sort();
}

function stem(word: string): string {
  const base = word
    .replace(/(?<=\w{2})ies$/, "y")
    .replace(/(?<=\w{3})(?:ing|ed|es|s)$/, "")
    .replace(/(?<=\w{2}[^aeiou])e$/, "");
  return base.replace(/([bdgklmnprt])\1$/, "$1");
}

function commonPrefix(one: string, other: string): number {
  let length = 0;
  while (length < one.length && one[length] === other[length]) {
    length++;
  }
  return length;
}

const set = (list: string): ReadonlySet<string> => new Set(list.split(" "));

const CLAUSE_BREAK =
  /[.,;:!?()\n\u3001\u3002\uff0c\uff1b]+|\b(?:but|although|though|while|whereas|however|because|since|except|aber|mais|pero|sondern)\b|\b(?:and|or)\b(?= (?:i|i'm|i've|we|my|our|he|she|they|it|no|not|never|am|is|are|have|has|do|does|don't|doesn't|didn't)\b)|(?=\b(?:if|unless)\b)/iu;

const GRAMMAR = set(
  "a an the this that these those some any all each every both few many much more most other another such same own " +
    "i im ive ill id me my mine myself you your yours he him his she her hers it its they them their theirs we us our ours who whom whose " +
    "user users which what when where why how there here then than as so too also very really just only still already yet even quite " +
    "am is are was were be been being do does did done doing dont doesnt didnt has have had having hasnt havent can could cant couldnt will " +
    "would wont wouldnt shall should may might must isnt arent wasnt werent aint not no never nor none yes ok okay if because since while " +
    "of in on at to for from by with without about into onto over under up down out off near around between during until till after before " +
    "and or but s t re ve ll d m longer anymore ever now currently usually often sometimes always " +
    "ich du er sie es wir ihr der die das ein eine einen und oder ist bin sind war nicht mein meine im am zu mit von " +
    "je tu il elle nous vous le la les un une des et ou est suis mon ma mes de du en " +
    "yo el los las una y o es soy mi mis que se con por para io sono il lo gli e di che eu sou um uma meu minha",
);

/** Verbs and phrases that a paraphrase changes freely. */
const COMMON_VERBS = set(
  "like likes liked love loves loved loving enjoy enjoys enjoyed enjoying prefer prefers preferred adore adores fond fan big keen hate hates hated " +
    "dislike dislikes disliked live lives lived living reside resides based work works worked working employed have has had own owns get gets got " +
    "go goes went going want wants wanted need needs think thinks thought know knows feel feels say says said tell told call called name names named " +
    "make makes made take takes took use uses used using keep keeps currently interested interest year years old age aged someone person something thing things",
);

const VERB_CLASSES: ReadonlyMap<string, string> = new Map(
  Object.entries({
    like: "like likes liked love loves loved loving enjoy enjoys enjoyed enjoying adore adores fond fan keen",
    dislike: "hate hates hated dislike dislikes disliked",
    prefer: "prefer prefers preferred",
    live: "live lives lived living reside resides based",
    work: "work works worked working employed",
    have: "have has had own owns got",
    want: "want wants wanted",
    need: "need needs",
    use: "use uses using",
    go: "go goes going went",
  }).flatMap(([verb, forms]) => forms.split(" ").map((form) => [form, `:${verb}`] as const)),
);

const DENIALS = set(
  "no not never none nobody nothing nowhere neither nor without cannot cant dont doesnt didnt isnt arent wasnt werent wont wouldnt shouldnt couldnt " +
    "havent hasnt hadnt aint anymore avoid avoids avoiding avoided dislike dislikes disliked hate hates hated detest detests loathe loathes despise " +
    "quit quits stopped lack lacks unable refuse refuses refused " +
    "nicht kein keine keinen keiner nie niemals ohne pas jamais sans rien nunca tampoco sin non senza mai nao não nunca sem niet geen nooit inte aldrig " +
    "не нет никогда без",
);

const DENIALS_UNSPACED = /[不没別别无無]|ない|ません|않|못|아니|ไม่/u;

/** Phrases with a word of denial that deny nothing. */
const NOT_DENIALS =
  / (?:cant wait|cannot wait|cant help|dont mind|doesnt mind|not only|no doubt|no problem|no worries|no idea|why not|no one but|nothing but) /g;
