/** Sending a message and showing what comes back, as the chat and the demo do. */

import { type Connection, Problem } from "./connection.ts";
import { print, tags } from "./output.ts";

export const CHANGE = "kind quote memory { memory topics origin }";

const SEND = `subscription ($input: RunAgentInput!) { runAgent(input: $input, until: MEMORY) {
  __typename runId sequence at ... on RunStarted { run { sessionId } } ... on MemoriesRecalled { recall { used { text } } } ... on TextMessageContent { delta }
  ... on RunError { error { code message } } ... on MemoryUpdate { changes { ${CHANGE} } } ... on MemoryUpdateFailed { error { message } } } }`;

export interface ShownChange {
  kind: string;
  quote: string | null;
  memory: { memory: string; topics: string[]; origin: string } | null;
}

export interface ShownEvent {
  __typename: string;
  runId: string;
  sequence: number;
  at: string;
  run?: { sessionId: string };
  delta?: string;
  recall?: { used: { text: string }[] };
  error?: { code?: string; message: string };
  changes?: ShownChange[];
}

export interface Said {
  userId: string | null;
  sessionId: string | null;
  agentId?: string | undefined;
  message: string;
}

/** Sends a message, shows each event, and gives the ids of the run and its session. Throws Problem when the run fails. */
export async function say(
  connection: Connection,
  { userId, sessionId, agentId, message }: Said,
  show: (event: ShownEvent) => void = showEvent,
  signal?: AbortSignal,
): Promise<{ runId: string | null; sessionId: string | null }> {
  const input = { message, ...(userId !== null && { userId }), ...(sessionId !== null && { sessionId }), ...(agentId && { agentId }) };
  const found: { runId: string | null; sessionId: string | null } = { runId: null, sessionId };
  for await (const { runAgent: event } of connection.subscribe<{ runAgent: ShownEvent }>(SEND, { input }, signal)) {
    found.runId = event.runId;
    found.sessionId = event.run?.sessionId ?? found.sessionId;
    show(event);
    if (event.__typename === "RunError") {
      throw new Problem(event.error?.message ?? "The run failed.", event.error?.code ?? null);
    }
  }
  return found;
}

/** The reply as it is written, then what was remembered. */
export function showEvent(event: ShownEvent): void {
  switch (event.__typename) {
    case "TextMessageContent":
      process.stdout.write(event.delta ?? "");
      break;
    case "RunFinished":
    case "RunCancelled":
      process.stdout.write("\n");
      break;
    case "MemoryUpdate":
      showChanges(event.changes ?? []);
      break;
    case "MemoryUpdateFailed":
      print(`not remembered: ${event.error?.message}`);
      break;
  }
}

export function showChanges(changes: readonly ShownChange[]): void {
  for (const { kind, quote, memory } of changes) {
    const because = quote ? `, because you said “${quote}”` : "";
    print(`  ${kind.toLowerCase()}: ${memory?.memory} ${tags(memory?.topics ?? [])} ${memory?.origin}${because}`);
  }
}
