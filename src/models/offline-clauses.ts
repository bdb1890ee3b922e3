/** Takes a message apart into plain statements, and leaves out what is asked, supposed, told of others, quoted or not meant. */

import { withoutCode } from "../agent/gate.ts";

/** The clauses in which something is stated, each with a subject of its own and without greetings and the like before it. */
export function statements(message: string): string[] {
  const own = withoutCode(message)
    .replace(/[\u2018\u2019\u02bc]/g, "'")
    .replace(QUOTED, " \u2026 ");
  return sentences(own)
    .filter((sentence) => !UNREAL.test(sentence) && !SARCASM.test(sentence) && !ORDER.test(sentence))
    .flatMap(clauses);
}

/** The sentences that are no questions. */
function sentences(text: string): string[] {
  return text
    .split(/(?<=[.!?…])(?<!\b(?:St|Dr|Mr|Mrs|Ms|Mt)\.)\s+|\n+/)
    .map((sentence) => sentence.trim())
    .filter((sentence) => sentence !== "" && !/\?["')\s]*$/.test(sentence));
}

function clauses(sentence: string): string[] {
  return sentence
    .split(CLAUSE_START)
    .map((clause) => clause.replace(OPENING, "").replace(/[\s.!,;…]+$/, ""))
    .filter((clause) => clause !== "" && clause.length <= LONGEST_CLAUSE);
}

/** A longer one is no plain statement. */
const LONGEST_CLAUSE = 300;
const SUBJECT = "(?:i|i'm|im|i've|i'd|i'll|my|our|we|we're|we've)";
const QUOTED = /"[^"]*(?:"|$)|\u201c[^\u201d]*(?:\u201d|$)|\u00ab[^\u00bb]*(?:\u00bb|$)|(?<![\p{L}\p{N}])'[^']{3,}'(?![\p{L}\p{N}])/gu;
const CLAUSE_START = new RegExp(
  String.raw`(?:[,;:(]|\s[-\u2013\u2014]\s|\b(?:and|but|because|so|while|although|though|since|as)\b)\s*` +
    String.raw`(?=(?:(?:and|but|so|actually|also|now|currently|well|then|originally|because|since|though|although)\s+)*(?:${SUBJECT}|you|he|she|it|it's|this|they|please|everybody|call me|which|who|not)\b)`,
  "i",
);
const OPENING =
  /^(?:(?:hi|hello|hey|there|well|so|ok|okay|yes|no|actually|also|and|but|because|since|though|although|then|by the way|btw|fyi|just so you know|for the record|thanks|thank you|currently|personally|honestly|originally)\b[,.!:]?\s*)+/i;
/** Suppositions, wishes, tales, and what others say. */
const UNREAL =
  /\b(?:if|unless|whether|wish|imagine|imagining|suppose|supposing|pretend\w*|act as|as though|would|i'd|could|might|maybe|perhaps|hop(?:e|es|ing)|dream\w*|not sure|should|story|novel|character|in (?:the|a|my) (?:song|book|film|movie|game|dream)|says?|said|sings?|sang|claims?|claimed|thinks?|thought|told|tells|believes?|wrote|writes|according|quote|used to (?:love|like|enjoy|hate|work|be)|role ?play)\b/i;
const SARCASM =
  /^(?:oh|yeah|yay|sure|wow|great|right|riiight|of course|just what)\b.*\b(?:love|like|enjoy|adore)\b|\bjust (?:love|adore|enjoy)\b|\byeah right\b|\bso much fun\b|\b(?:love|enjoy|adore|like)\b.*\b(?:being|stuck in|on hold|paying tax\w*|traffic jams?|waiting (?:in|on|for)|not!)|[\u{1F644}\u{1F612}]|\s\/s\b/iu;
const ORDER =
  /^(?:(?:please|now|then|just|ok|okay|so|and)[, ]+)*(?:write|rewrite|translate|explain|summari[sz]e|give|show|tell|list|fix|debug|make|create|generate|find|search|describe|compare|convert|calculate|solve|suggest|recommend|check|continue|repeat|rephrase|draft|proofread|answer|act|say|correct|remind|complete|print)\b/i;
