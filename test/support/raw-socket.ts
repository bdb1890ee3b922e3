/** A WebSocket without a client library: what exactly goes over it, and how it ends. */

import { once } from "node:events";
import { type ClientOptions, WebSocket } from "ws";

export interface RawSocket {
  socket: WebSocket;
  /** Everything the server has sent so far. */
  received: Record<string, unknown>[];
  send(message: object | string): void;
  /** The next message of this type, from the start on. Rejects when the connection ends before it. */
  next(type: string, id?: string): Promise<Record<string, unknown>>;
  /** Code and reason of the end. */
  closed: Promise<{ code: number; reason: string }>;
}

/** Connects; `url` is that of the server. */
export async function openSocket(
  url: string,
  options: ClientOptions = {},
  protocols: string[] = ["graphql-transport-ws"],
): Promise<RawSocket> {
  const socket = new WebSocket(`${url.replace(/^http/, "ws")}/graphql`, protocols, options);
  const received: Record<string, unknown>[] = [];
  let wake = Promise.withResolvers<void>();
  socket.on("message", (data) => {
    received.push(JSON.parse(String(data)));
    wake.resolve();
    wake = Promise.withResolvers();
  });
  const closed = new Promise<{ code: number; reason: string }>((resolve) => {
    socket.once("close", (code, reason) => {
      wake.resolve();
      resolve({ code, reason: String(reason) });
    });
  });
  await once(socket, "open");
  return {
    socket,
    received,
    closed,
    send: (message) => socket.send(typeof message === "string" ? message : JSON.stringify(message)),
    async next(type, id) {
      for (let seen = 0; ; ) {
        for (; seen < received.length; seen++) {
          const message = received[seen];
          if (message?.type === type && (id === undefined || message.id === id)) {
            return message;
          }
        }
        if (socket.readyState >= WebSocket.CLOSING) {
          throw new Error(`The connection ended before a message of type ${type}`);
        }
        await wake.promise;
      }
    },
  };
}

/** Connects and introduces itself, with this payload. */
export async function openConnection(url: string, payload?: object): Promise<RawSocket> {
  const connection = await openSocket(url);
  connection.send({ type: "connection_init", ...(payload && { payload }) });
  await connection.next("connection_ack");
  return connection;
}

/** The HTTP status with which the server refuses the upgrade; 101 when it does not. */
export function upgradeStatus(url: string, headers: Record<string, string>): Promise<number> {
  const socket = new WebSocket(`${url.replace(/^http/, "ws")}/graphql`, ["graphql-transport-ws"], { headers });
  return new Promise((resolve, reject) => {
    socket.once("unexpected-response", (request, response) => {
      request.destroy();
      resolve(response.statusCode ?? 0);
    });
    socket.once("open", () => {
      socket.terminate();
      resolve(101);
    });
    socket.once("error", reject);
  });
}
