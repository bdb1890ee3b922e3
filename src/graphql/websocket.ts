import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { type ExecutionArgs, GraphQLError, type GraphQLSchema, parse, validate } from "graphql";
import type { SubscribePayload } from "graphql-ws";
import { useServer } from "graphql-ws/use/ws";
import { validate as isUuid } from "uuid";
import { type WebSocket, WebSocketServer } from "ws";
import { MAX_BODY_BYTES, MAX_OPERATION_TOKENS } from "../http.ts";
import type { Logger } from "../logger.ts";
import type { RequestContext } from "./acting-user.ts";
import { maskError } from "./errors.ts";

/** A client has this long to introduce itself, and this long to leave when the server stops. */
const INTRODUCTION_MS = 3_000;
const FAREWELL_MS = 2_000;
/** Tells clients that the server restarts: they come back. */
const SERVICE_RESTART = 1012;

export interface SocketServer {
  /** Takes over a connection that asked to become a WebSocket, once it was let in. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void;
  /** Sends everyone away and resolves when all are gone, within seconds. */
  close(): Promise<void>;
}

/** GraphQL over WebSocket: the protocol graphql-transport-ws and no other. */
export function serveSockets(
  schema: GraphQLSchema,
  contextFor: (operationId: string | null, signal: AbortSignal) => RequestContext,
  log: Logger,
): SocketServer {
  const sockets = new WebSocketServer({ noServer: true, maxPayload: MAX_BODY_BYTES });
  const gone = new WeakMap<WebSocket, AbortSignal>();
  const protocol = useServer(
    {
      isProd: true,
      connectionInitWaitTimeout: INTRODUCTION_MS,
      onSubscribe: ({ extra }, id, payload) => {
        const signal = gone.get(extra.socket) ?? AbortSignal.abort();
        return prepare(schema, payload, () => contextFor(isUuid(id) ? id : null, signal));
      },
      onNext: (_context, _id, _payload, _args, { data, errors }) =>
        errors && { ...(data !== undefined && { data }), errors: errors.map((error) => maskError(error, log)) },
      onError: (_context, _id, _payload, errors) => errors.map((error) => maskError(error, log)),
    },
    sockets,
  );
  return {
    upgrade(request, stream, head) {
      sockets.handleUpgrade(request, stream, head, (socket) => {
        const leaving = new AbortController();
        gone.set(socket, leaving.signal);
        socket.once("close", () => leaving.abort());
        sockets.emit("connection", socket, request);
        // In place of the protocol's own listener, which prints to the console: too large a frame is the client's mistake.
        socket.removeAllListeners("error");
        socket.on("error", (error) => log.debug({ err: error }, "a WebSocket failed"));
      });
    },
    async close() {
      for (const socket of sockets.clients) {
        socket.close(SERVICE_RESTART, "Service restart");
      }
      const deadline = setTimeout(() => {
        for (const socket of sockets.clients) {
          socket.terminate();
        }
      }, FAREWELL_MS);
      await protocol.dispose();
      clearTimeout(deadline);
    },
  };
}

/** What to execute, or what is wrong with it. Left to the protocol's own way, a syntax error would end the whole connection. */
function prepare(
  schema: GraphQLSchema,
  { query, operationName, variables }: SubscribePayload,
  contextFor: () => RequestContext,
): ExecutionArgs | readonly GraphQLError[] {
  try {
    const document = parse(query, { maxTokens: MAX_OPERATION_TOKENS });
    const errors = validate(schema, document);
    return errors.length > 0 ? errors : { schema, document, operationName, variableValues: variables, contextValue: contextFor() };
  } catch (error) {
    if (error instanceof GraphQLError) {
      return [error];
    }
    throw error;
  }
}
