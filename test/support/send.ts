/** The same operation over both transports of GraphQL, as a client sends it that keeps to nothing but the wire. */

import { once } from "node:events";
import { WebSocket } from "ws";
import type { GraphQLAnswer } from "./server.ts";

export interface Operation {
  query: string;
  operationName?: string;
  /** As text: JSON that no program would write. */
  variables?: object | string;
}

function textOf({ variables, ...rest }: Operation): string {
  return typeof variables === "string"
    ? `${JSON.stringify(rest).slice(0, -1)},"variables":${variables}}`
    : JSON.stringify({ ...rest, variables });
}

export async function overHttp(url: string, operation: Operation): Promise<Pick<GraphQLAnswer, "data" | "errors">> {
  const response = await fetch(`${url}/graphql`, {
    method: "POST",
    headers: { "content-type": "application/json", accept: "application/json" },
    body: textOf(operation),
  });
  return (await response.json()) as GraphQLAnswer;
}

/** The first answer to an operation, on a connection of its own. */
export async function overSocket(url: string, operation: Operation): Promise<Pick<GraphQLAnswer, "data" | "errors">> {
  const socket = await openSocket(url);
  try {
    return await answerOf(socket, "1", operation);
  } finally {
    socket.terminate();
  }
}

/** A connection that was let in. */
export async function openSocket(url: string, payload: object = {}): Promise<WebSocket> {
  const socket = new WebSocket(`${url.replace(/^http/, "ws")}/graphql`, "graphql-transport-ws");
  await once(socket, "open");
  const welcome = once(socket, "message");
  socket.send(JSON.stringify({ type: "connection_init", payload }));
  await welcome;
  return socket;
}

export async function answerOf(socket: WebSocket, id: string, payload: Operation): Promise<Pick<GraphQLAnswer, "data" | "errors">> {
  const answer = Promise.withResolvers<Pick<GraphQLAnswer, "data" | "errors">>();
  const listen = (data: unknown): void => {
    const message = JSON.parse(String(data));
    if (message.id === id && message.type !== "complete") {
      answer.resolve(message.type === "error" ? { data: undefined, errors: message.payload } : message.payload);
    }
  };
  socket.on("message", listen);
  socket.once("close", (code: number, reason: Buffer) => answer.reject(new Error(`closed with ${code} ${reason}`)));
  socket.send(`{"id":${JSON.stringify(id)},"type":"subscribe","payload":${textOf(payload)}}`);
  try {
    return await answer.promise;
  } finally {
    socket.off("message", listen);
  }
}

export const TRANSPORTS = [
  ["HTTP", overHttp],
  ["WebSocket", overSocket],
] as const;
