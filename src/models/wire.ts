/** What model servers send, checked and brought into one shape. Fields they are known to leave out or to fill oddly are optional. */

import { z } from "zod";
import type { TokenUsage } from "../agent/types.ts";

const text = z.string().nullish();
const extra = text.catch(null);

const usage = z
  .object({ prompt_tokens: z.number().int().nonnegative(), completion_tokens: z.number().int().nonnegative() })
  .nullish()
  .catch(null);

const said = { content: text, reasoning_content: extra, reasoning: extra };

const chunk = z.object({
  model: extra,
  choices: z.array(z.object({ delta: z.object(said).nullish(), finish_reason: text })).nullish(),
  usage,
});

const completion = z.object({
  model: extra,
  choices: z.array(z.object({ message: z.object(said), finish_reason: text })).min(1),
  usage,
});

const modelList = z.object({ data: z.array(z.object({ id: z.string().min(1) })).nullish() });

/** One piece of a stream, or a whole completion. Absent text is "". */
export interface Said {
  content: string;
  reasoning: string;
  /** Null until the server says why it stopped. */
  finish: string | null;
  usage: TokenUsage | null;
  model: string | null;
}

/** Reads one chunk of a stream. Throws ZodError when it is of another shape. */
export function readChunk(value: unknown): Said {
  const { choices, ...rest } = chunk.parse(value);
  return flatten(choices?.[0]?.delta, choices?.[0]?.finish_reason, rest);
}

/** Reads a completion that was not streamed. Throws ZodError when it is of another shape. */
export function readCompletion(value: unknown): Said {
  const { choices, ...rest } = completion.parse(value);
  return flatten(choices[0]?.message, choices[0]?.finish_reason, rest);
}

/** A body as JSON, which the SDK gives as text when no header says that it is. Throws SyntaxError when it is not. */
export function readBody(body: unknown): unknown {
  return typeof body === "string" ? JSON.parse(body) : body;
}

/** Reads the ids of a list of models. Throws ZodError when it is of another shape. */
export function readModelIds(value: unknown): string[] {
  return (modelList.parse(value).data ?? []).map((model) => model.id);
}

type Words = { content?: string | null | undefined; reasoning_content?: string | null | undefined; reasoning?: string | null | undefined };

function flatten(
  words: Words | null | undefined,
  finish: string | null | undefined,
  rest: { model?: string | null | undefined; usage?: z.infer<typeof usage> },
): Said {
  return {
    content: words?.content ?? "",
    reasoning: words?.reasoning_content || words?.reasoning || "",
    // Some servers send an empty reason with every chunk.
    finish: finish || null,
    usage: rest.usage ? { inputTokens: rest.usage.prompt_tokens, outputTokens: rest.usage.completion_tokens, estimated: false } : null,
    model: rest.model || null,
  };
}
