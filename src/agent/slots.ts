/**
 * Slots: properties a user has one value of, so that a new value takes the place of the old one. A wrong slot would
 * replace a good memory, so a model's slot is only believed when the sentence itself speaks of that property of the
 * user's. Stems of a few languages are known; where none fits, the slot stays empty and nothing is replaced.
 */

import { isDenied } from "./words.ts";

interface Slot {
  /** Other names models give it. */
  synonyms: string;
  /** What a sentence that begins with "User" says when it fills the slot. */
  says: RegExp;
  /** What stands after "User's" in one that begins so. */
  owns: RegExp;
}

const PLACE = String.raw`(?:[Ll]iv(?:es?|ing)|[Rr]esid\w+|[Mm]oved|[Bb]ased|[Hh]ome|wohn\w*|lebt|zog|vive|habite|abita|mora)\b(?: \p{Ll}+)? ?(?:in|to|near|at|outside|is|en|à|a|nach|em|nel)\b (?:the )?\p{Lu}`;

const SLOT_RULES: Readonly<Record<string, Slot>> = {
  name: {
    synonyms: "full_name first_name user_name username nickname preferred_name called",
    says: /^is (?:called|named)\b|^goes by\b|^hei(?:ß|ss)t\b|^se llama\b|^s'appelle\b|^si chiama\b|^(?:叫|的名字)/u,
    owns: /^(?:(?:first|last|full|preferred|real) )?(?:nick)?name\b/,
  },
  pronouns: { synonyms: "pronoun gender_pronouns", says: /\bpronouns?\b|\b(?:he|she|they)\/(?:him|her|them)\b/i, owns: /^pronouns?\b/ },
  age: {
    synonyms: "user_age",
    says: /^(?:is|turned|ist|a|tiene) (?:\d{1,3}|\p{L}+ty(?:[- ]\p{L}+)?)\b(?:\s*$| years?\b| jahre\b| ans\b| años\b| anni\b| anos\b)/u,
    owns: /^age\b/,
  },
  birthday: {
    synonyms: "birth_date birthdate date_of_birth dob",
    says: /^was born on\b/,
    owns: /^(?:birthday|birth ?date|date of birth)\b/,
  },
  birthplace: {
    synonyms: "hometown home_town place_of_birth origin",
    says: /^was born in \p{Lu}/u,
    owns: /^(?:birthplace|home ?town|place of birth)\b/,
  },
  home_city: {
    synonyms: "city location residence current_city current_location home lives_in home_location place_of_residence town address",
    says: new RegExp(PLACE, "u"),
    owns: /^(?:home|city|town|current city|home city|residence|location)\b/,
  },
  home_country: {
    synonyms: "country current_country country_of_residence",
    says: new RegExp(PLACE, "u"),
    owns: /^(?:home |current )?country\b/,
  },
  job: {
    synonyms: "occupation profession role job_title work career position",
    says: /^(?:works|is working|is employed) as\b|^is an? \p{L}|^became an?\b|^arbeitet als\b|^trabaja como\b|^travaille comme\b|^lavora come\b|^trabalha como\b/u,
    owns: /^(?:job|profession|occupation|job title|career|role)\b/,
  },
  employer: {
    synonyms: "company workplace works_at organization organisation work_place",
    says: /^(?:works|is working|is employed) (?:\p{L}+ ){0,4}(?:at|for|by)\b|^joined \p{Lu}|^arbeitet (?:bei|für)\b|^trabaja (?:en|para)\b|^travaille (?:chez|pour)\b|^lavora (?:per|presso)\b/u,
    owns: /^(?:employer|company|workplace)\b/,
  },
  relationship_status: {
    synonyms: "marital_status civil_status",
    says: /^(?:is|got) (?:married|single|divorced|engaged|widowed|separated|in a relationship)\b|^ist (?:verheiratet|ledig)\b|^est mariée?\b/,
    owns: /^(?:marital|relationship|civil) status\b/,
  },
  partner_name: {
    synonyms: "partner spouse wife husband wife_name husband_name spouse_name girlfriend boyfriend",
    says: /^(?:is married to|married) \p{Lu}/u,
    owns: /^(?:wife|husband|partner|spouse|girlfriend|boyfriend|fianc\p{L}+)(?:['\u2019]s name)? (?:is|is called|is named) (?:called |named )?\p{Lu}/u,
  },
  diet: {
    synonyms: "dietary_preference dietary_restriction diet_type",
    says: /^(?:is|became|went|follows|keeps|eats|est|ist|es) .*\b(?:vegan|vegetari\p{L}+|pescatarian|kosher|halal|keto|omnivore|diet)\b/iu,
    owns: /^diet\b/,
  },
  native_language: {
    synonyms: "mother_tongue first_language",
    says: /\bnative(?:ly)?\b/,
    owns: /^(?:native language|native tongue|mother tongue|first language)\b/,
  },
  timezone: { synonyms: "time_zone tz", says: /\btime ?zone\b|\b(?:UTC|GMT)\b/, owns: /^time ?zone\b/ },
};

/** The slots there are, in snake_case. */
export const SLOTS: readonly string[] = Object.keys(SLOT_RULES);

const SYNONYMS: ReadonlyMap<string, string> = new Map(
  Object.entries(SLOT_RULES).flatMap(([slot, { synonyms }]) => synonyms.split(" ").map((name) => [name, slot] as const)),
);

/** Slots a sentence names so plainly that no model need have said so. */
const PLAIN: readonly (readonly [string, RegExp])[] = [
  ["name", /^(?:'s|s)? (?:(?:first |full |preferred )?name is|is (?:called|named)|goes by) \S+/],
  ["age", /^ is \d{1,3}(?: years old)?$/],
  ["birthday", /^(?:'s|s)? birthday is /],
  ["job", /^ works as an? /],
  ["diet", /^ is (?:an? )?(?:vegan|vegetarian|pescatarian)$/],
];

const USER = /^(?:the |der |die |el |la |le |l')?(?:user|nutzer(?:in)?|benutzer(?:in)?|usuari[oa]|utilisateur|utente|用户|ユーザー)/i;

/** A wish, a plan or the past fills no slot; neither does what is added to what was there ("also works as"). */
const NOT_NOW =
  /\b(?:used to|former\w*|previous\w*|once|was|were|grew|wants?|wish\w*|hop(?:es|ing)|plan\w*|would|might|may(?! \d)|could|consider\w*|thinking|dream\w*|going to|looking|applied|appl(?:ies|ying)|will|if|also|too|as well|second|another|part-time|sometimes)\b/;

/** The slot a sentence about the user fills, given what a model proposed ("" or null: nothing); null for none. */
export function slotOf(text: string, proposed: string | null): string | null {
  const sentence = text
    .trim()
    .replace(/\u2019/g, "'")
    .replace(/[.!]+$/, "");
  const user = USER.exec(sentence)?.[0];
  if (user === undefined || NOT_NOW.test(sentence.replace(/\bwas born\b/g, " "))) {
    return null;
  }
  const rest = sentence.slice(user.length);
  const plain = PLAIN.find(([, pattern]) => pattern.test(rest));
  if (plain && !isDenied(sentence)) {
    return plain[0];
  }
  const key = (proposed ?? "")
    .normalize("NFKC")
    .trim()
    .toLowerCase()
    .replace(/[\s-]+/g, "_");
  const slot = SYNONYMS.get(key) ?? key;
  const rule = Object.hasOwn(SLOT_RULES, slot) ? SLOT_RULES[slot] : undefined;
  const owned = /^(?:'s|s'?) (.*)$/u.exec(rest)?.[1];
  const fits =
    owned === undefined
      ? rule?.says.test(rest.trim().replace(/^(?:does not|doesn't|no longer|is not|isn't) (?=\p{L})/u, asAffirmed))
      : rule?.owns.test(owned);
  return fits ? slot : null;
}

/** "No longer lives in Paris" speaks of the same property as "lives in Paris". */
function asAffirmed(denial: string): string {
  return /^is/.test(denial) ? "is " : "";
}
