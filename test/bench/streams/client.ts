/** A client of graphql-transport-ws that does nothing but count, so that the servers are measured and not the client. */

import { WebSocket } from "ws";

export interface Subscription {
  query: string;
  variables?: object;
  /** Whose run it is. */
  userId?: string;
}

interface Event {
  runId: string;
  sequence: number;
  delta?: string;
}

/** What has come over all streams. */
export class Tally {
  events = 0;
  tokens = 0;
  gaps = 0;
  /** The runs that were shown, each with its user. */
  readonly runs = new Map<string, string>();
  /** How many tokens came how late, by the millisecond. */
  readonly #late = new Uint32Array(10_000);

  add(event: Event, last: number, userId: string): void {
    this.events++;
    this.gaps += event.sequence === last + 1 ? 0 : 1;
    this.runs.set(event.runId, userId);
    if (event.delta !== undefined) {
      const now = Date.now();
      for (const sent of event.delta.split(" ")) {
        if (sent !== "") {
          const late = Math.min(Math.max(0, now - Number(sent)), this.#late.length - 1);
          this.#late[late] = (this.#late[late] ?? 0) + 1;
          this.tokens++;
        }
      }
    }
  }

  /** The delay that this share of the tokens did not exceed (ms). */
  late(share: number): number {
    let left = this.tokens * share;
    return this.#late.findIndex((count) => {
      left -= count;
      return left <= 0;
    });
  }
}

export interface Stream {
  socket: WebSocket;
  /** Resolves when the stream has ended; rejects when it broke. */
  ended: Promise<void>;
  /** Resolves when the connection is accepted. */
  accepted: Promise<void>;
  /** Resolves when the subscription is sent. */
  begun: Promise<void>;
}

export interface FollowOptions {
  /** The address to come from. */
  localAddress?: string | undefined;
  /** Waited for before subscribing. */
  start?: Promise<void>;
}

/** Follows one subscription over a socket of its own. */
export function follow(
  url: string,
  { query, variables, userId = "" }: Subscription,
  tally: Tally,
  { localAddress, start }: FollowOptions = {},
): Stream {
  const socket = new WebSocket(`${url.replace("http", "ws")}/graphql`, "graphql-transport-ws", { localAddress });
  let last = 0;
  const accepted = Promise.withResolvers<void>();
  const begun = Promise.withResolvers<void>();
  const ended = new Promise<void>((resolve, reject) => {
    socket.on("open", () => socket.send('{"type":"connection_init"}'));
    socket.on("error", reject);
    socket.on("close", (code) => reject(new Error(`A socket was closed with ${code}.`)));
    socket.on("message", (data) => {
      const message = JSON.parse(String(data)) as { type: string; payload?: { data?: Record<string, Event>; errors?: unknown } };
      const event = message.type === "next" ? Object.values(message.payload?.data ?? {})[0] : undefined;
      if (event) {
        tally.add(event, last, userId);
        last = event.sequence;
      } else if (message.type === "connection_ack") {
        accepted.resolve();
        void Promise.resolve(start).then(() => {
          socket.send(JSON.stringify({ id: "1", type: "subscribe", payload: { query, variables } }), () => begun.resolve());
        });
      } else if (message.type === "complete") {
        resolve();
        socket.terminate();
      } else if (message.type === "error" || message.type === "next") {
        reject(new Error(JSON.stringify(message)));
      }
    });
  });
  // Whoever waits hears of it; a stream that breaks while nobody does must not end the process.
  ended.catch(() => undefined);
  for (const step of [accepted, begun]) {
    ended.catch(step.reject);
    step.promise.catch(() => undefined);
  }
  return { socket, ended, accepted: accepted.promise, begun: begun.promise };
}
