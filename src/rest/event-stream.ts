/** Server-Sent Events on a response, at the pace of whoever reads them. */

import { once } from "node:events";
import type { ServerResponse } from "node:http";

/** How often a comment shows that the connection lives although nothing happens (ms). */
const HEARTBEAT = 15_000;

export interface ServerSentEvent {
  name: string;
  /** Where a reader that comes back wants to go on; null for an event that is no such place. */
  id: number | null;
  data: object;
}

/**
 * Sends events until there are no more, then ends the response. Takes the next one only when the client has room for it.
 * Returns early when `leaving` aborts; throws what `events` throws, the response then not ended.
 */
export async function sendEvents(
  response: ServerResponse,
  events: AsyncIterable<ServerSentEvent>,
  leaving: AbortSignal,
  heartbeat = HEARTBEAT,
): Promise<void> {
  response.writeHead(200, {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    // Proxies that know this header pass each event on at once.
    "x-accel-buffering": "no",
  });
  response.flushHeaders();
  const beat = setInterval(() => response.writableNeedDrain || response.write(": still here\n\n"), heartbeat);
  try {
    for await (const event of events) {
      if (leaving.aborted) {
        return;
      }
      if (!response.write(frame(event))) {
        await drained(response, leaving);
      }
    }
    response.end();
  } finally {
    clearInterval(beat);
  }
}

function frame({ name, id, data }: ServerSentEvent): string {
  return `${id === null ? "" : `id: ${id}\n`}event: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
}

async function drained(response: ServerResponse, leaving: AbortSignal): Promise<void> {
  try {
    await once(response, "drain", { signal: leaving });
  } catch (error) {
    if (!leaving.aborted) {
      throw error;
    }
  }
}
