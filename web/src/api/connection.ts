/** The one WebSocket of the page, and how it is doing. */

import { type Client, createClient } from "graphql-ws";
import { credentialOf, type Identity } from "./identity.ts";

/** lost: there was a connection, or should be one, and it is being tried. */
export type ConnectionState = "idle" | "open" | "lost";

export interface Connection {
  socket: Client;
  state(): ConnectionState;
  subscribe(listener: () => void): () => void;
  dispose(): void;
}

/** A silent connection is asked for a sign of life after so long, and given up when there is none in time (ms). */
const PING_AFTER = 12_000;
const PONG_WITHIN = 5_000;
/** A connection that nobody uses is kept for a moment: the next message comes soon. */
const LINGER = 30_000;
const LEFT_IN_ORDER = 1_000;

/** Opens with the first subscription. Whoever made it disposes of it. */
export function createConnection(identity: Identity): Connection {
  const listeners = new Set<() => void>();
  let state: ConnectionState = "idle";
  let overdue: ReturnType<typeof setTimeout> | undefined;
  const become = (next: ConnectionState): void => {
    if (state !== next) {
      state = next;
      for (const listener of listeners) {
        listener();
      }
    }
  };
  const authorization = credentialOf(identity);
  const socket = createClient({
    url: new URL("/graphql", location.href).href.replace(/^http/, "ws"),
    ...(authorization !== null && { connectionParams: { authorization } }),
    // What is followed is followed again from where it was, which only `follow` knows.
    retryAttempts: 0,
    keepAlive: PING_AFTER,
    lazyCloseTimeout: LINGER,
    on: {
      connected: () => become("open"),
      closed: (event) => become((event as CloseEvent).code === LEFT_IN_ORDER ? "idle" : "lost"),
      error: () => become("lost"),
      ping: (received) => {
        if (!received) {
          overdue = setTimeout(() => socket.terminate(), PONG_WITHIN);
        }
      },
      pong: (received) => received && clearTimeout(overdue),
    },
  });
  return {
    socket,
    state: () => state,
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    dispose() {
      clearTimeout(overdue);
      listeners.clear();
      void socket.dispose();
    },
  };
}
