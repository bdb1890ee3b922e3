/** What the offline provider says: templates over what its prompt holds, and nothing that is not in it. */

import type { ChatMessage } from "../agent/ports.ts";
import { contentWords, sameWord } from "../agent/words.ts";
import type { RuleFact } from "./offline-rules.ts";

/** The start of every reply, so that nobody takes it for a model's. */
export const LABEL = "(Rules, not a language model, answer while no model server is running.)";

const MOST_ITEMS = 8;
const LONGEST_QUOTE = 160;

/** The reply to the last message of a prompt made by `composePrompt`; `facts` are those found in that message. */
export function composeReply(messages: readonly ChatMessage[], facts: readonly RuleFact[]): string {
  const message = messages.at(-1)?.content ?? "";
  const system = messages.find(({ role }) => role === "system")?.content ?? "";
  const known = blockLines(system, "memories").map((line) =>
    line.replace(/^- /, "").replace(/ \((?:said \d+ times, last )?\d{4}-\d\d-\d\d\)$/, ""),
  );
  const said = messages.slice(0, -1).flatMap(({ role, content }) => (role === "user" ? [content] : []));
  const summaries = [...blockLines(system, "this_session"), ...blockLines(system, "previous_session")];
  const body = asks(message) ? answer(message, known, said, summaries) : acknowledge(facts, known);
  return `${LABEL} ${body}`;
}

function asks(message: string): boolean {
  return (
    /\?["')\s]*$/.test(message) ||
    /^(?:(?:and|so|hi|hello|hey)[, ]+)*(?:what|who|where|when|which|how|do|does|did|am|are|is|can|could|tell me|remind me)\b/i.test(
      message.trim(),
    )
  );
}

function answer(question: string, known: readonly string[], said: readonly string[], summaries: readonly string[]): string {
  if (LOOKS_BACK.test(question)) {
    const before = [...summaries, ...said.slice(-3).map((text) => `you said "${short(text)}"`)];
    return before.length > 0 ? `Before: ${before.join(" ")}` : "This is the first thing you say to me.";
  }
  const fitting = ABOUT_ALL.test(question.slice(0, LONGEST_QUESTION)) ? known : known.filter((memory) => fits(memory, question));
  if (fitting.length > 0) {
    return `From what you told me: ${list(fitting)}.`;
  }
  const earlier = said.findLast((text) => shareWords(text, question));
  if (earlier !== undefined) {
    return `Earlier you said: "${short(earlier)}"`;
  }
  return `I find nothing about that in what you told me${known.length > 0 ? "" : ", for you have told me nothing yet"}. ${REMEDY}`;
}

function acknowledge(facts: readonly RuleFact[], known: readonly string[]): string {
  if (facts.length > 0) {
    return `I read in your message: ${list(facts.map(({ text }) => text))}.`;
  }
  return known.length > 0 ? `What I know of you: ${list(known)}. ${REMEDY}` : `I found no plain fact about you in that. ${REMEDY}`;
}

/** How much of a question is looked at, in UTF-16 units. */
const LONGEST_QUESTION = 500;
const REMEDY = "For real replies start a model server, such as LM Studio, on this machine.";
const LOOKS_BACK = /\b(?:where were we|last time|did (?:we|i) (?:talk|say|tell)|talked? about|have we|so far|summar\w+)\b/i;
const ABOUT_ALL = /\b(?:know|remember|recall|stored?)\b.*\b(?:me|i)\b(?!.*\bmy\b)/i;

/** Which memories answer which questions, where they need not share a word. */
const SUBJECTS: readonly (readonly [question: RegExp, memory: RegExp])[] = [
  [
    /\b(?:hobb\w+|interests?|like|love|enjoy|free time|fun)\b/i,
    /\b(?:loves?|likes?|enjoys?|adores?|fan of|into|keen on|fond of|interested in|passionate)\b/i,
  ],
  [/\b(?:hate|dislike|not like|don't like)\b/i, /\b(?:hates?|dislikes?|detests?|not like|not a fan)\b/i],
  [/\b(?:my name|who am i|called)\b/i, /\bname is\b/i],
  [/\b(?:where|live|home|city|town|country|from)\b/i, /\b(?:lives|moved to|is from|born in|grew up)\b/i],
  [/\b(?:work|job|profession|career|occupation|living|employer|company)\b/i, /\b(?:works|is an? (?!big fan))\b/i],
  [/\b(?:allerg\w+|eat|food|diet|cook)\b/i, /\b(?:allergic|vegan|vegetarian|pescatarian|eat|food)\b/i],
  [/\b(?:family|relatives|siblings?|pets?|married)\b/i, /\b(?:named|married)\b/i],
  [/\b(?:how old|age|birthday|born)\b/i, /\b(?:years old|turned|birthday|born on)\b/i],
  [/\b(?:languages?|speak)\b/i, /\bspeaks\b/i],
];

function fits(memory: string, question: string): boolean {
  return SUBJECTS.some(([asked, told]) => asked.test(question) && told.test(memory)) || shareWords(memory, question);
}

function shareWords(text: string, question: string): boolean {
  const asked = contentWords(question);
  return contentWords(text).some((word) => asked.some((other) => sameWord(word, other)));
}

function list(memories: readonly string[]): string {
  const shown = memories.slice(0, MOST_ITEMS).map(toSecondPerson);
  const more = memories.length - shown.length;
  return `${shown.join("; ")}${more > 0 ? `; and ${more} more` : ""}`;
}

/** "User loves hiking" as it is said to the user; a memory in other words stays as it is. */
export function toSecondPerson(memory: string): string {
  const text = memory.replace(/[.]$/, "").replace(/\btheir\b/g, "your");
  const [, rest = ""] = /^User (.+)$/.exec(text) ?? [];
  if (rest === "") {
    return text.replace(/^User's\b/, "your");
  }
  const [, adverb = "", verb = "", more = ""] = /^((?:no longer |really |also )?)(\S+)(.*)$/.exec(rest) ?? [];
  return `you ${adverb}${VERBS.get(verb) ?? base(verb)}${more}`;
}

const VERBS: ReadonlyMap<string, string> = new Map([
  ["is", "are"],
  ["was", "were"],
  ["has", "have"],
  ["does", "do"],
  ["goes", "go"],
]);

function base(verb: string): string {
  return /(?:ch|sh|ss|x)es$/.test(verb) ? verb.slice(0, -2) : verb.replace(/ies$/, "y").replace(/(?<!s)s$/, "");
}

/** The lines a prompt keeps in a block. */
function blockLines(prompt: string, name: string): string[] {
  const inner = new RegExp(`^<(${name}-[0-9a-f]+)>\\n([\\s\\S]*?)\\n</\\1>`, "m").exec(prompt)?.[2] ?? "";
  return inner.split("\n").filter((line) => line !== "");
}

function short(text: string): string {
  const line = text.replace(/\s+/g, " ").trim();
  return line.length > LONGEST_QUOTE ? `${line.slice(0, LONGEST_QUOTE).toWellFormed()}…` : line;
}
