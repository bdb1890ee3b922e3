/** Stands in for a model server where there is none: rules find facts, templates reply. Labelled as what it is wherever it shows. */

import type { AnswerSchema, ChatMessage, ChatModel, ChatPart, ChatRequest, StructuredAnswer } from "../agent/ports.ts";
import type { TokenUsage } from "../agent/types.ts";
import { AppError } from "../errors.ts";
import { composeReply } from "./offline-reply.ts";
import { findFacts, type RuleFact } from "./offline-rules.ts";

/** The name rules go by where a model's name stands. */
export const RULES_NAME = "rules (no language model)";

/** No tokens are used, and none are guessed. */
const NO_USAGE: TokenUsage = { inputTokens: 0, outputTokens: 0, estimated: false };
const SUMMARY_LABEL = "(Sentences picked by rules, not a language model.)";
const LONGEST_SENTENCE = 160;
const LONGEST_SUMMARY = 900;
const MOST_TOPICS = 6;

/** Works on the prompts that models are sent, and answers in the shapes that models answer in. Throws CANCELLED. */
export function createOfflineModel(): ChatModel {
  return {
    async *stream({ messages }: ChatRequest, signal: AbortSignal): AsyncGenerator<ChatPart, void> {
      const reply = composeReply(messages, await factsIn(messages.at(-1)?.content ?? ""));
      for (const delta of reply.match(/\s*\S+|\s+$/g) ?? []) {
        stopWhenCancelled(signal);
        yield { type: "text-delta", delta };
      }
      yield { type: "finish", usage: NO_USAGE, model: RULES_NAME };
    },
    async answer({ messages }: ChatRequest, schema: AnswerSchema, signal: AbortSignal): Promise<StructuredAnswer> {
      stopWhenCancelled(signal);
      return { value: await valueFor(schema.name, messages), usage: NO_USAGE, model: RULES_NAME, byRules: true };
    },
  };
}

async function valueFor(name: string, messages: readonly ChatMessage[]): Promise<unknown> {
  const prompt = messages.at(-1)?.content ?? "";
  switch (name) {
    case "facts":
      return { facts: await factsIn(block(prompt, "user")) };
    case "session_summary":
      return summarize(block(prompt, "summary"), block(prompt, "conversation"));
    default:
      throw new AppError("MODEL_UNAVAILABLE", "Rules cannot do this. Start a model server, such as LM Studio, on this machine.");
  }
}

/** The tagger takes a moment to load and is loaded only here: a server with a model never needs it. */
async function factsIn(text: string): Promise<RuleFact[]> {
  const { default: tagger } = await import("compromise/two");
  return findFacts(text, tagger);
}

/** What the user stated, in their own words: what was kept before, then what was said since. The oldest goes first when it grows long. */
async function summarize(previous: string, conversation: string): Promise<{ summary: string; topics: string[] }> {
  const isOurs = previous.startsWith(SUMMARY_LABEL);
  const said = [...conversation.matchAll(/^User: (.+)$/gm)].flatMap((match) => sentences(match[1] ?? ""));
  const statements = said.filter((sentence) => !sentence.endsWith("?") && sentence.split(" ").length > 2);
  const sentencesKept = [...(isOurs ? quoted(previous) : []), ...(statements.length > 0 ? statements : said.slice(-1))];
  while (sentencesKept.join(" ").length > LONGEST_SUMMARY) {
    sentencesKept.shift();
  }
  const topics = (await factsIn(sentencesKept.join("\n"))).flatMap((fact) => fact.topics);
  const before = isOurs || previous === "" ? "" : `${previous.slice(0, LONGEST_SUMMARY).toWellFormed()} `;
  const summary = `${SUMMARY_LABEL} ${before}The user said: ${sentencesKept.map((sentence) => `\u201c${sentence}\u201d`).join(" ")}`;
  return { summary, topics: [...new Set(topics)].slice(0, MOST_TOPICS) };
}

function sentences(text: string): string[] {
  return text.split(/(?<=[.!?])\s+/).map((sentence) =>
    sentence
      .replace(/[\u201c\u201d]/g, '"')
      .slice(0, LONGEST_SENTENCE)
      .toWellFormed(),
  );
}

/** The sentences in a summary of ours. */
function quoted(summary: string): string[] {
  return [...summary.matchAll(/\u201c([^\u201d]*)\u201d/g)].map((match) => match[1] ?? "");
}

/** What stands in a block of a prompt; "" when there is none. */
function block(prompt: string, name: string): string {
  return new RegExp(`^<${name}>\\n([\\s\\S]*)\\n</${name}>`, "m").exec(prompt)?.[1] ?? "";
}

function stopWhenCancelled(signal: AbortSignal): void {
  if (signal.aborted) {
    throw new AppError("CANCELLED", "The request to the model was cancelled.");
  }
}
