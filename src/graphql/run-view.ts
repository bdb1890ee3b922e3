import type { Services } from "../agent/ports.ts";
import { isTerminal, type Message, type Run, type UserId } from "../agent/types.ts";

/** A run as clients see it, with its messages once they were read. */
export interface RunView extends Run {
  messages?: Message[] | Promise<Message[]>;
}

/** How often a run that is being written is read again for a state that held still. */
const MAX_READS = 5;

/** A run ready to be shown; null when it is missing or not this user's. */
export async function readRun(services: Services, user: UserId, runId: string): Promise<RunView | null> {
  const run = await services.runs.get(user, runId);
  return run && viewRun(services, run);
}

/**
 * Gives a run that is still going on its messages as of its `lastSequence`. A client appends the events after that
 * number to the reply it was given here, so both must be of one moment: read later, the reply would hold pieces that
 * come again as events.
 */
export async function viewRun(services: Services, run: Run): Promise<RunView> {
  let current = run;
  for (let reads = 1; !isTerminal(current.status); reads += 1) {
    const messages = await services.runs.messages(run.userId, run.runId);
    const next = await services.runs.get(run.userId, run.runId);
    if (!next || next.lastSequence === current.lastSequence) {
      return { ...(next ?? current), messages };
    }
    if (reads === MAX_READS && !isTerminal(next.status)) {
      // The text may be newer than the number: its last pieces then come twice, which beats never.
      return { ...current, messages };
    }
    current = next;
  }
  return { ...current };
}

/** The messages of a run, read once per view. */
export function messagesOf(services: Services, run: RunView): Message[] | Promise<Message[]> {
  run.messages ??= services.runs.messages(run.userId, run.runId);
  return run.messages;
}

/** The agent's message as far as it is written; null before its first word. */
export async function replyOf(services: Services, run: RunView): Promise<string | null> {
  const messages = await messagesOf(services, run);
  return messages.find((message) => message.role === "ASSISTANT")?.content || null;
}
