import type { Services } from "../agent/ports.ts";
import type { Message, Run } from "../agent/types.ts";

const read = new WeakMap<Run, Promise<Message[]>>();

/** The messages of a run as of its `lastSequence`, read once per run object however many fields want them. */
export function messagesOf(services: Services, run: Run): Promise<Message[]> {
  const messages = read.get(run) ?? services.runs.messages(run);
  read.set(run, messages);
  return messages;
}

/** The agent's message as far as it is written; null before its first word. */
export async function replyOf(services: Services, run: Run): Promise<string | null> {
  const messages = await messagesOf(services, run);
  return messages.find((message) => message.role === "ASSISTANT")?.content || null;
}
