/** Server-Sent Events on a response, at the pace of whoever reads them. */

import { once } from "node:events";
import type { ServerResponse } from "node:http";

/** How often a comment shows that the connection lives although nothing happens (ms). */
const HEARTBEAT = 15_000;
/** A reader that takes nothing of what waits for it is sent away after this long, and cut off when it has not read that either (ms). */
const PATIENCE = 30_000;
const GOODBYE = 10_000;
/** A comment: clients that go on by themselves read the field, people the rest. */
const TOO_SLOW =
  ": You read too slowly. Send the request again with its Idempotency-Key, and your last id as Last-Event-ID.\nretry: 1000\n\n";

export interface ServerSentEvent {
  name: string;
  /** Where a reader that comes back wants to go on; null for an event that is no such place. */
  id: number | null;
  data: object;
}

/**
 * Sends events until there are no more, then ends the response. Takes the next one only when the client has room for it.
 * Returns early when `leaving` aborts, and cuts the response off when the client takes nothing for `patience` ms; throws
 * what `events` throws, the response then not ended.
 */
export async function sendEvents(
  response: ServerResponse,
  events: AsyncIterable<ServerSentEvent>,
  leaving: AbortSignal,
  heartbeat = HEARTBEAT,
  patience = PATIENCE,
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
    if (await passOn(events, response, leaving, patience)) {
      response.end();
    } else {
      await sendAway(response, leaving);
    }
  } finally {
    clearInterval(beat);
  }
}

/** True when all events went out; false when the reader has left, or takes nothing. */
async function passOn(
  events: AsyncIterable<ServerSentEvent>,
  response: ServerResponse,
  leaving: AbortSignal,
  patience: number,
): Promise<boolean> {
  for await (const event of events) {
    if (leaving.aborted || (!response.write(frame(event)) && !(await drained(response, leaving, patience)))) {
      return false;
    }
  }
  return true;
}

function frame({ name, id, data }: ServerSentEvent): string {
  return `${id === null ? "" : `id: ${id}\n`}event: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
}

/** True once the client has room for more; false when it has left, or takes nothing for so long. */
async function drained(response: ServerResponse, leaving: AbortSignal, patience: number): Promise<boolean> {
  const stuck = new AbortController();
  const giveUp = (): void => stuck.abort();
  // Node starts this time anew whenever the connection took a part of what waits.
  response.once("timeout", giveUp).setTimeout(patience);
  try {
    await once(response, "drain", { signal: AbortSignal.any([leaving, stuck.signal]) });
    return true;
  } catch (error) {
    if (!leaving.aborted && !stuck.signal.aborted) {
      throw error;
    }
    return false;
  } finally {
    response.off("timeout", giveUp).setTimeout(0);
  }
}

/** Cut off rather than ended: a stream that ends in good order looks complete. */
async function sendAway(response: ServerResponse, leaving: AbortSignal): Promise<void> {
  if (!leaving.aborted) {
    response.write(TOO_SLOW);
    await drained(response, leaving, GOODBYE);
    response.destroy();
  }
}
