/** Tries a memory model on a plain sentence: one that is too small finds nothing in it that code can believe. */

import { extractFacts } from "./extract.ts";
import type { ChatModel } from "./ports.ts";

const SENTENCE = "Hi! My name is Alice. I love hiking and photography. I work as a data scientist.";

export interface TrialSettings {
  memoryModel: string | null;
  captureInstructions: string | null;
  additionalInstructions: string | null;
}

/** Whether any fact was found that the sentence carries. Nothing is stored. Throws what `ChatModel.answer` throws. */
export async function memoryModelFindsFacts(model: ChatModel, settings: TrialSettings, signal: AbortSignal): Promise<boolean> {
  const { memoryModel, ...instructions } = settings;
  const input = { message: SENTENCE, saidAt: new Date(), previousReply: null, known: [], model: memoryModel, ...instructions };
  const { facts } = await extractFacts(input, model, signal);
  return facts.length > 0;
}
