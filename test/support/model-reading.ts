import type { ChatPart } from "../../src/agent/ports.ts";
import { AppError } from "../../src/errors.ts";

/** Everything a stream gave out, and the error it ended with; null for what there was not. */
export interface ReadParts {
  text: string;
  reasoning: string;
  finish: ChatPart | null;
  error: unknown;
}

/** Reads a stream to its end, which may be an error. */
export async function readParts(parts: AsyncIterable<ChatPart>): Promise<ReadParts> {
  const result: ReadParts = { text: "", reasoning: "", finish: null, error: null };
  try {
    for await (const part of parts) {
      if (part.type === "finish") {
        result.finish = part;
      } else {
        result[part.type === "text-delta" ? "text" : "reasoning"] += part.delta;
      }
    }
  } catch (error) {
    result.error = error;
  }
  return result;
}

/** The code of an expected failure; anything else as text. */
export function codeOf(error: unknown): string {
  return error instanceof AppError ? error.code : String(error);
}
