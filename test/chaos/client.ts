/** Clients of a server in another process, for programs that Node runs as they are: those of `support/server.ts` bring the server's own source with them. */

import { createClient, type Client as SocketClient } from "graphql-ws";
import { WebSocket } from "ws";
import { readOperations } from "../../src/graphql/operations.ts";

export interface Answer {
  // biome-ignore lint/suspicious/noExplicitAny: answers of every shape.
  data?: any;
  errors?: { message: string; extensions: { code: string } }[];
}

const operations = readOperations();

/** The text of an operation of schema/operations; anything else as it is. */
export function documentOf(operation: string): string {
  return operations.get(operation) ?? operation;
}

/** Rejects when nobody answers within `deadline` (ms). */
export async function post(url: string, operation: string, variables: object, deadline = 30_000): Promise<Answer> {
  const response = await fetch(`${url}/graphql`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ query: documentOf(operation), variables }),
    signal: AbortSignal.timeout(deadline),
  });
  return (await response.json()) as Answer;
}

/** Does not connect again by itself. */
export function createSocketClient(url: string): SocketClient {
  return createClient({ url: `${url.replace(/^http/, "ws")}/graphql`, webSocketImpl: QuietSocket, retryAttempts: 0 });
}

/** A socket closed before it was open says so once more when nobody listens any longer, which would end the process. */
class QuietSocket extends WebSocket {
  constructor(address: string | URL, protocols?: string | string[]) {
    super(address, protocols);
    this.on("error", () => undefined);
  }
}
