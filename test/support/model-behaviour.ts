/**
 * A model so small that its answers are predictable: what the scripted server says when a test tells it nothing else.
 * It knows only what the prompt holds, so whatever shows up in a reply has come through the prompt.
 */

import { type Answer, says, saysJson } from "./model-answers.ts";
import { lastUserText, type RecordedRequest, type RequestMessage } from "./model-request.ts";

/** A fact in the shape that extraction asks for. */
export interface ExtractedFact {
  text: string;
  /** The user's own words, letter by letter. */
  quote: string;
  topics: string[];
  subject: string;
  kind: string;
  slot: string;
  lasting: "stable" | "until" | "session";
  date: string;
  replaces: number;
}

/** The answer to any chat request. */
export function behave(request: RecordedRequest): Answer {
  const messages = request.body.messages ?? [];
  switch (request.purpose) {
    case "extraction":
      return saysJson({ facts: extractFacts(userWords(messages)) });
    case "summary":
      return saysJson(summarize(messages));
    case "answer":
      return saysJson({});
    default:
      return says(reply(messages));
  }
}

/** Repeats the memories and the summary in its prompt, then the last message. */
export function reply(messages: RequestMessage[]): string {
  const prompt = messages.map((message) => message.content).join("\n");
  const memories = linesOf(block(prompt, "memor"));
  const summary = linesOf(block(prompt, "session"));
  return [
    memories.length > 0 ? `I know: ${memories.join("; ")}.` : "I do not know you yet.",
    ...(summary.length > 0 ? [`Before: ${summary.join(" ")}`] : []),
    `You said: ${unwrapped(lastUserText(messages))}`,
  ].join(" ");
}

/** What a prompt keeps between a tag at the start of a line whose name holds `name`, and that tag's end; "" when there is no such block. */
function block(prompt: string, name: string): string {
  return new RegExp(`^\\s*<([\\w-]*${name}[\\w-]*)[^>]*>([\\s\\S]*?)</\\1>`, "im").exec(prompt)?.[2] ?? "";
}

function linesOf(text: string): string[] {
  return text
    .split("\n")
    .map((line) => line.replace(/^[\s\-*•]+/, "").trim())
    .filter((line) => line !== "");
}

/** The text inside <user>…</user>, where a prompt marks the user's words that way; else all of it. */
function unwrapped(text: string): string {
  return (/<user\b[^>]*>([\s\S]*)<\/user>/i.exec(text)?.[1] ?? text).trim();
}

function userWords(messages: RequestMessage[]): string {
  return unwrapped(lastUserText(messages));
}

interface Pattern {
  /** The first group is the value, or a list of values. */
  words: RegExp;
  text: (value: string, verb: string) => string;
  topics: (value: string, verb: string) => string[];
  kind: string;
  slot: string;
  list?: boolean;
}

const VALUE = "([\\p{L}\\p{N}][\\p{L}\\p{N}' -]*?)";
const END = "(?=[.!?,;\\n]|\\s+(?:and I|but I|now)\\b|$)";

const PATTERNS: Pattern[] = [
  {
    words: new RegExp(`\\bmy name is ${VALUE}${END}`, "giu"),
    text: (value) => `User's name is ${value}`,
    topics: () => ["personal", "identity"],
    kind: "identity",
    slot: "name",
  },
  {
    words: new RegExp(`\\bI (?:really )?(love|like|enjoy|prefer) ${VALUE}${END}`, "giu"),
    text: (value, verb) => `User ${verb}s ${value}`,
    topics: (value, verb) => (verb === "prefer" ? ["preferences"] : ["hobbies", /ing\b/.test(value) ? "activities" : "interests"]),
    kind: "preference",
    slot: "",
    list: true,
  },
  {
    words: new RegExp(`\\bI work as (?:an? )?${VALUE}${END}`, "giu"),
    text: (value) => `User works as a ${value}`,
    topics: () => ["career", "professional"],
    kind: "skill",
    slot: "job",
  },
  {
    words: new RegExp(`\\bI (?:live in|moved to) ${VALUE}${END}`, "giu"),
    text: (value) => `User lives in ${value}`,
    topics: () => ["personal", "location"],
    kind: "identity",
    slot: "home_city",
  },
  {
    words: new RegExp(`\\bI(?: am|'m) allergic to ${VALUE}${END}`, "giu"),
    text: (value) => `User is allergic to ${value}`,
    topics: () => ["health", "allergies"],
    kind: "constraint",
    slot: "",
    list: true,
  },
];

/** The facts in a message, by a handful of patterns, in the order of the patterns. */
export function extractFacts(message: string): ExtractedFact[] {
  return PATTERNS.flatMap((pattern) => [...message.matchAll(pattern.words)].flatMap((match) => factsOf(pattern, match)));
}

function factsOf(pattern: Pattern, match: RegExpExecArray): ExtractedFact[] {
  const value = match.at(-1) ?? "";
  const verb = match.length > 2 ? (match[1] ?? "").toLowerCase() : "";
  const values = pattern.list ? value.split(/\s*,\s*|\s+and\s+/) : [value];
  return values.map((each) => ({
    text: pattern.text(each, verb),
    quote: match[0],
    topics: pattern.topics(each, verb),
    subject: "user",
    kind: pattern.kind,
    slot: pattern.slot,
    lasting: "stable" as const,
    date: "",
    replaces: 0,
  }));
}

/** A summary that quotes what the user said in the turns it was given. */
function summarize(messages: RequestMessage[]): { summary: string; topics: string[] } {
  const turns = lastUserText(messages);
  const said = [...turns.matchAll(/<user\b[^>]*>([\s\S]*?)<\/user>|^user:\s*(.+)$/gim)].map((match) => (match[1] ?? match[2] ?? "").trim());
  const quotes = (said.length > 0 ? said : [turns.trim()]).map((text) => text.slice(0, 120));
  const topics = [...new Set(extractFacts(said.join("\n")).flatMap((fact) => fact.topics))];
  return { summary: `The user said: ${quotes.join(" | ")}`, topics: topics.length > 0 ? topics : ["conversation"] };
}
