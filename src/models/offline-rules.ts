/**
 * Facts by rules, for when there is no language model: only what users say of themselves in plain English, in the form a
 * model would give. What is asked, supposed, quoted, joked about or said of somebody else gives nothing, and so does
 * whatever a rule is not sure of.
 */

import { statements } from "./offline-clauses.ts";
import { enumerated, introduces, isOccupation, likedThing, personName, placeName, type Tagger } from "./offline-words.ts";

/** One item of the "facts" schema. */
export interface RuleFact {
  text: string;
  /** The user's own words. */
  quote: string;
  topics: string[];
  subject: "user";
  kind: string;
  slot: string;
  lasting: "stable";
  date: "";
  replaces: 0;
}

/** The facts of a message, in the order they are said. */
export function findFacts(message: string, tagger: Tagger): RuleFact[] {
  return statements(message).flatMap((clause) => factsOf(clause, tagger));
}

function factsOf(clause: string, tagger: Tagger): RuleFact[] {
  for (const { words, find } of RULES) {
    const match = words.exec(clause);
    const found = match
      ? find(
          match.slice(1).map((group) => (group ?? "").trim()),
          tagger,
        )
      : [];
    if (found.length > 0) {
      return found.map(({ slot = "", ...rest }) => {
        return { ...rest, quote: clause, subject: "user", slot, lasting: "stable", date: "", replaces: 0 };
      });
    }
  }
  return [];
}

interface Found {
  text: string;
  topics: string[];
  kind: string;
  slot?: string;
}

interface Rule {
  words: RegExp;
  /** What the groups of a match say; [] when they do not fit after all. */
  find: (groups: string[], tagger: Tagger) => Found[];
}

/** Of something there is one of, or nothing. */
function one(text: string | null, topics: string[], kind: string, slot = ""): Found[] {
  return text === null ? [] : [{ text, topics, kind, slot }];
}

function named(text: string, tagger: Tagger): Found[] {
  const name = personName(text, tagger);
  return one(name && `User's name is ${name}`, ["personal", "identity"], "identity", "name");
}

function aged(text: string): Found[] {
  const age = Number(text);
  return age >= 5 && age <= 110 ? one(`User is ${age} years old`, ["personal", "age"], "identity", "age") : [];
}

function placed(verb: string, text: string, tagger: Tagger, slot = ""): Found[] {
  const place = placeName(text, tagger);
  return one(place && `User ${verb} ${place}`, ["personal", "location"], "identity", slot);
}

function employed(verb: string, text: string): Found[] {
  const employer = /^(?:the )?\p{Lu}[\p{L}\p{N}&.'-]*(?: (?:(?:of|for|and|&) )?\p{Lu}[\p{L}\p{N}&.'-]*)*/u.exec(text)?.[0];
  return one(employer ? `User ${verb} ${employer}` : null, ["career", "employer"], "skill", "employer");
}

function occupied(lead: string, article: string, text: string, tagger: Tagger): Found[] {
  const [, job = "", link = "", rest = ""] = /^(.+?)(?: (at|for|in|from|with) (.+))?$/i.exec(withoutTail(text)) ?? [];
  if (!isOccupation(job, tagger)) {
    return [];
  }
  return [
    ...one(`User ${lead} ${article} ${job}`, ["career", "professional"], "skill", "job"),
    ...(/^(?:at|for)$/i.test(link) ? employed(`works ${link.toLowerCase()}`, rest) : []),
  ];
}

/** One fact for each thing liked, or the like; `say` gives the sentence. */
function listed(text: string, tagger: Tagger, say: (thing: string) => Found): Found[] {
  const things = enumerated(withoutTail(text)).map((item) => likedThing(item, tagger));
  return things.flatMap((thing) => (thing === null ? [] : [say(thing)]));
}

function liked(verb: string, text: string, tagger: Tagger): Found[] {
  return listed(text, tagger, (thing) => {
    const topic = /ing\b/.test(thing) ? "activities" : "interests";
    return { text: `User ${verb} ${thing}`, topics: /prefer/.test(verb) ? ["preferences"] : ["hobbies", topic], kind: "preference" };
  });
}

function disliked(verb: string, text: string, tagger: Tagger): Found[] {
  return listed(text, tagger, (thing) => ({ text: `User ${verb} ${thing}`, topics: ["preferences", "dislikes"], kind: "preference" }));
}

function related(kin: string, text: string, tagger: Tagger): Found[] {
  const name = personName(text, tagger);
  const relation = kin.toLowerCase();
  const topics = PETS.test(relation) ? ["family", "pets"] : ["family", "relationships"];
  return one(name && `User has ${/^[aeiou]/.test(relation) ? "an" : "a"} ${relation} named ${name}`, topics, "relation");
}

/** The words up to what tells when, how much or why. */
function withoutTail(text: string): string {
  return text.replace(TAIL, "").replace(/[\s.,;!]+$/, "");
}

const TAIL =
  /(?:,?\s+(?:(?:right )?now|too|as well|a lot|very much|so much|these days|nowadays|at the moment|currently|lately|recently|though|anyway|by the way|btw|since|when|whenever|because|which|who|where|while|after|before|although|yesterday|today|tomorrow|tonight|(?:last|this|next|every|each|all) \S+|in (?:the (?:morning|evening|afternoon|summer|winter)|(?:19|20)\d\d|general|particular)|at (?:night|weekends)|on weekends|more than anything|most of all|and (?:it|that|they|he|she|you|so|not)\b.*)|,\s*(?:especially|so|please|not|but)\b.*|\s*[(\u2013\u2014:;].*)(?:\s.*|$)/i;
const KIN =
  "(best friend|friend|(?:(?:older|younger|little|big|twin|eldest|youngest|step|half)[ -]?)?(?:sister|brother|daughter|son)|mother|father|mum|mom|dad|wife|husband|partner|girlfriend|boyfriend|fianc\u00e9e?|aunt|uncle|cousin|niece|nephew|grandmother|grandfather|grandma|grandpa|dog|cat|puppy|kitten|rabbit|hamster|parrot|horse|flatmate|roommate)";
const PETS = /dog|cat|puppy|kitten|rabbit|hamster|parrot|horse/;
const AM = "(?:i'm|im|i am)";
const ADVERBS =
  "(?:(?:also|really|absolutely|always|still|especially|mostly|truly|particularly|now|currently|actually|originally|both|do|so|definitely|recently|finally|severely|very|deathly|highly|a) )*";
const rule = (words: string, find: Rule["find"]): Rule => ({ words: new RegExp(`^${words}`, "iu"), find });

/** The first rule that finds something in a clause has it. */
const RULES: readonly Rule[] = [
  rule("my (?:full |first |real )?name(?:'s| is) (.+)", ([name = ""], tagger) => named(name, tagger)),
  rule("(?:please )?call me (.+)", ([name = ""], tagger) => named(name, tagger)),
  rule("i (?:go by|am called|was named) (.+)", ([name = ""], tagger) => named(name, tagger)),
  rule("(?:it's|this is) (\\S+) here\\b", ([name = ""], tagger) => named(name, tagger)),
  rule(
    `${AM} ([\\p{L}'-]+)(?:,? (?:and )?(?:${AM} )?(\\d{1,3}))?(?: years old)?(?:,? (?:and )?from (.+))?$`,
    ([name = "", age = "", place = ""], tagger) =>
      introduces(name, tagger) || (place !== "" && /^\p{Lu}/u.test(name))
        ? [...named(name, tagger), ...aged(age), ...placed("is from", place, tagger, "birthplace")]
        : [],
  ),
  rule(`${AM} ${ADVERBS}(\\d{1,3})(?: years? old| yrs? old| y/?o)?(?=$|,| and\\b)`, ([age = ""]) => aged(age)),
  rule("i (?:just |recently )?turned (\\d{1,3})\\b(?! (?:off|on))", ([age = ""]) =>
    one(Number(age) > 4 ? `User turned ${age}` : null, ["personal", "age"], "identity", "age"),
  ),
  rule("my birthday(?:'s| is) (?:on )?(?:the )?(.+)", ([day = ""]) =>
    one(
      MONTH.test(day) && day.length < 30 ? `User's birthday is ${withoutTail(day)}` : null,
      ["personal", "birthday"],
      "identity",
      "birthday",
    ),
  ),
  rule("i was born on (?:the )?(.+)", ([day = ""]) =>
    one(
      MONTH.test(day) && day.length < 30 ? `User was born on ${withoutTail(day)}` : null,
      ["personal", "birthday"],
      "identity",
      "birthday",
    ),
  ),
  rule("i was born (?:and raised )?in (.+)", ([place = ""], tagger) => placed("was born in", place, tagger, "birthplace")),
  rule("i grew up in (.+)", ([place = ""], tagger) => placed("grew up in", place, tagger)),
  rule(`(?:${AM}|we're|we are|i come|we come) ${ADVERBS}from (.+)`, ([place = ""], tagger) =>
    placed("is from", place, tagger, "birthplace"),
  ),
  rule(
    `(?:(?:i|we) ${ADVERBS}(?:live|reside)|(?:${AM}|we're|we are) ${ADVERBS}(?:living|based)) (in|near|at|outside) (.+)`,
    ([where = "", place = ""], tagger) => placed(`lives ${where.toLowerCase()}`, place, tagger, "home_city"),
  ),
  rule("(?:i|we|i've|we've) (?:just |recently |have )?moved to (.+)", ([place = ""], tagger) =>
    placed("moved to", place, tagger, "home_city"),
  ),
  rule("i (?:no longer|don't|do not) (live|work) (in|at|for|as) (.+?)(?: any ?more)?$", ([verb = "", link = "", rest = ""], tagger) => {
    const said = `no longer ${verb.toLowerCase()}s ${link.toLowerCase()}`;
    return verb.toLowerCase() === "live" ? placed(said, rest, tagger, "home_city") : employed(said, rest);
  }),
  rule(
    `(?:i ${ADVERBS}(?:work|am working|am employed)|i'm ${ADVERBS}(?:working|employed)|working) as (an?|the) (.+)`,
    ([article = "", job = ""], tagger) => occupied("works as", article.toLowerCase(), job, tagger),
  ),
  rule(`(?:i ${ADVERBS}work|${AM} ${ADVERBS}working) (at|for) (.+)`, ([link = "", employer = ""]) =>
    employed(`works ${link.toLowerCase()}`, employer),
  ),
  rule(`i ${ADVERBS}work in (?!the\\b|my\\b|peace)((?:an? )?[\\p{L}-]+(?: [\\p{L}-]+){0,2})`, ([field = ""], tagger) => {
    const thing = likedThing(withoutTail(field).replace(/^an? /i, ""), tagger);
    return one(thing && `User works in ${withoutTail(field)}`, ["career", "professional"], "skill");
  }),
  rule(`${AM} ${ADVERBS.replace("|a)", ")")}(?:an? )?(?:strict |lifelong )?(vegan|vegetarian|pescatarian)\\b`, ([diet = ""]) =>
    one(`User is ${diet.toLowerCase()}`, ["health", "diet"], "constraint", "diet"),
  ),
  rule(`(?:${AM} ${ADVERBS}allergic to|i have (?:an? )?(?:\\p{L}+ )?allerg(?:y|ies) to) (.+)`, ([things = ""], tagger) =>
    listed(things, tagger, (thing) => ({ text: `User is allergic to ${thing}`, topics: ["health", "allergies"], kind: "constraint" })),
  ),
  rule(
    "my (?:all-time )?(favou?rite) (\\p{L}+(?: \\p{L}+)?) (?:is|are) (?!(?:when|how|not|the one|to)\\b)(.+)",
    ([favourite = "", what = "", value = ""]) => {
      const thing = withoutTail(value);
      return one(
        thing.split(" ").length <= 7 ? `User's ${favourite.toLowerCase()} ${what} is ${thing}` : null,
        ["preferences", what.toLowerCase()],
        "preference",
      );
    },
  ),
  rule(`i ${ADVERBS}speak (?:fluent |some |a little |both )?((?:[\\p{L}]+(?:, | and |, and )?)+)`, ([languages = ""], tagger) =>
    enumerated(withoutTail(languages)).flatMap((language) => {
      const known = /^\p{Lu}/u.test(language) || tagger(language).has("#Demonym");
      return known ? one(`User speaks ${language}`, ["languages", "skills"], "skill") : [];
    }),
  ),
  rule("i(?:'m| am) married to (.+)", ([name = ""], tagger) => {
    const partner = personName(name, tagger);
    return one(partner && `User is married to ${partner}`, ["family", "relationships"], "relation", "partner_name");
  }),
  rule(`(?:my|our) ${KIN}(?:'s name is| is (?:called|named)|,)? (\\p{Lu}.+)`, ([kin = "", name = ""], tagger) =>
    related(kin, name, tagger),
  ),
  rule(`(?:my|our) ${KIN}(?:'s name is| is (?:called|named)) (.+)`, ([kin = "", name = ""], tagger) => related(kin, name, tagger)),
  rule(`(?:i|we) (?:also )?have (?:.+ and )?(?:an?|one) ${KIN} (?:named|called) (.+)`, ([kin = "", name = ""], tagger) =>
    related(kin, name, tagger),
  ),
  rule(`${AM} ${ADVERBS}(?:big |huge |great |massive )?fan of (.+)`, ([things = ""], tagger) => liked("is a big fan of", things, tagger)),
  rule(`${AM} not (?:really |much of )?(?:an? )?(?:big |huge )?fan of (.+)`, ([things = ""], tagger) =>
    disliked("is not a fan of", things, tagger),
  ),
  rule(`${AM} ${ADVERBS}(into|interested in|keen on|fond of|passionate about) (.+)`, ([how = "", things = ""], tagger) =>
    liked(`is ${how.toLowerCase()}`, things, tagger),
  ),
  rule(`i ${ADVERBS}(love|like|enjoy|adore|prefer) (.+)`, ([verb = "", things = ""], tagger) =>
    liked(`${verb.toLowerCase()}s`, things, tagger),
  ),
  rule(`i ${ADVERBS}(hate|dislike|detest|loathe) (.+)`, ([verb = "", things = ""], tagger) =>
    disliked(`${verb.toLowerCase()}s`, things, tagger),
  ),
  rule("i (?:really )?(?:can't|cannot|can not) stand (.+)", ([things = ""], tagger) => disliked("dislikes", things, tagger)),
  rule("i (?:really )?(?:don't|do not) (?:really )?(like|enjoy|eat|drink) (.+)", ([verb = "", things = ""], tagger) =>
    disliked(`does not ${verb.toLowerCase()}`, things, tagger),
  ),
  rule(`${AM} ${ADVERBS.replace("|a)", ")")}(an?) (.+)`, ([article = "", job = ""], tagger) =>
    occupied("is", article.toLowerCase(), job, tagger),
  ),
];

const MONTH =
  /\b(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\b|\d\d?[./-]\d/i;
