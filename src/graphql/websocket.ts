import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import { performance } from "node:perf_hooks";
import type { Duplex } from "node:stream";
import { type ExecutionArgs, GraphQLError } from "graphql";
import { CloseCode, handleProtocols, makeServer, type Server, type SubscribePayload } from "graphql-ws";
import { validate as isUuid } from "uuid";
import { type RawData, type WebSocket, WebSocketServer } from "ws";
import { MAX_BODY_BYTES } from "../http.ts";
import type { Access, Authenticator } from "../identity/identity.ts";
import { Places, tooMany } from "../limits/rates.ts";
import type { Limits } from "../limits/settings.ts";
import type { Logger } from "../logger.ts";
import { reportFailure } from "../report-failure.ts";
import { countOperation, type RequestContext } from "./acting-user.ts";
import { ClientSocket, type Patience, TRY_AGAIN_LATER } from "./client-socket.ts";
import { type Masking, maskError } from "./errors.ts";
import type { KnownDocuments } from "./known-documents.ts";

/** A client has this long to introduce itself, and this long to leave when the server stops. */
const INTRODUCTION_MS = 3_000;
const FAREWELL_MS = 2_000;
const PATIENCE: Patience = { reading: 30_000, silence: 12_000 };
/** How often the clients are looked at, each for a ping when it is time. */
const CHECK_MS = 1_000;
/** Tells clients that the server restarts: they come back. */
const SERVICE_RESTART = 1012;
/** How graphql-ws complains of a message that only servers send. */
const MISPLACED = "Unexpected message of type";

export interface SocketServer {
  /** Takes over a connection that asked to become a WebSocket, once it was let in. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void;
  /** Sends everyone away and resolves when all are gone, within seconds. */
  close(): Promise<void>;
}

export interface SocketOptions {
  documents: KnownDocuments;
  authenticator: Authenticator;
  contextFor: (access: Access, operationId: string | null, signal: AbortSignal) => RequestContext;
  masking: Masking & { log: Logger };
  limits: Pick<Limits, "socketOperations" | "userSockets">;
  patience?: Patience;
}

/** What the protocol knows of a connection. */
interface Connection {
  client: ClientSocket;
  leaving: AbortSignal;
  /** Null until the client was let in. */
  access: Access | null;
}

/** GraphQL over WebSocket: the protocol graphql-transport-ws and no other. */
export function serveSockets({ documents, authenticator, contextFor, masking, limits, patience = PATIENCE }: SocketOptions): SocketServer {
  const { log } = masking;
  const places = new Places(limits.userSockets);
  const sockets = new WebSocketServer({ noServer: true, maxPayload: MAX_BODY_BYTES, handleProtocols });
  const clients = new Set<ClientSocket>();
  const protocol = makeServer<Record<string, unknown>, Connection>({
    connectionInitWaitTimeout: INTRODUCTION_MS,
    onConnect: ({ extra, connectionParams }) => letIn(extra, connectionParams, { authenticator, places, log }),
    onSubscribe: ({ extra, subscriptions }, id, payload) =>
      refuseMore(Object.keys(subscriptions).length, limits.socketOperations) ??
      prepare(documents, payload, () => contextFor(letInBefore(extra), isUuid(id) ? id : null, extra.leaving)),
    onNext: (_context, _id, _payload, _args, { data, errors }) =>
      errors && { ...(data !== undefined && { data }), errors: errors.map((error) => maskError(error, masking)) },
    onError: (_context, _id, _payload, errors) => errors.map((error) => maskError(error, masking)),
  });
  const checks = setInterval(() => {
    const now = performance.now();
    for (const client of clients) {
      client.check(now);
    }
  }, CHECK_MS);
  // A function of its own: what it leaves behind lives as long as the socket, and must not hold the request.
  const admit = (socket: WebSocket, stream: Socket): void => {
    const client = new ClientSocket(socket, stream, patience);
    clients.add(client);
    socket.once("close", () => clients.delete(client));
    serve(protocol, socket, client, log);
  };
  return {
    upgrade(request, stream, head) {
      sockets.handleUpgrade(request, stream, head, (socket) => admit(socket, request.socket));
    },
    async close() {
      clearInterval(checks);
      for (const socket of sockets.clients) {
        socket.close(SERVICE_RESTART, "Service restart");
      }
      const deadline = setTimeout(() => {
        for (const socket of sockets.clients) {
          socket.terminate();
        }
      }, FAREWELL_MS);
      await new Promise<void>((resolve) => sockets.close(() => resolve()));
      clearTimeout(deadline);
    },
  };
}

/** Speaks the protocol with one client until it has gone. */
function serve(protocol: Server<Connection>, socket: WebSocket, client: ClientSocket, log: Logger): void {
  const leaving = new AbortController();
  let hear: (message: string) => Promise<void> = async () => undefined;
  const closed = protocol.opened(
    {
      protocol: socket.protocol,
      send: (message) => client.send(message),
      close: (code, reason) => socket.close(code, reason),
      onMessage: (listener) => {
        hear = listener;
      },
    },
    { client, leaving: leaving.signal, access: null },
  );
  client.onGone = () => {
    leaving.abort();
    closed().catch((error: unknown) => log.error({ err: error }, "what a client followed could not be ended"));
  };
  socket.on("message", (data: RawData) => {
    client.hear();
    if (client.open) {
      hear(String(data)).catch((error: unknown) => {
        if (error instanceof Error && error.message.startsWith(MISPLACED)) {
          return client.dismiss(CloseCode.BadRequest, "Only servers send messages of this type");
        }
        log.error({ err: error }, "a message over WebSocket could not be dealt with");
        client.dismiss(CloseCode.InternalServerError, "Internal server error");
      });
    }
  });
  // Too large a frame, or one that is none, is the client's mistake; the socket closes itself.
  socket.on("error", (error) => log.debug({ err: error }, "a WebSocket failed"));
}

/**
 * Whether the client may come in: its token is in the payload of its first message, as browsers can send no header. Once the token
 * is not good any more the client is sent away.
 */
async function letIn(
  connection: Connection,
  payload: unknown,
  { authenticator, places, log }: { authenticator: Authenticator; places: Places; log: Logger },
): Promise<boolean> {
  const { client, leaving } = connection;
  try {
    const access = await authenticator.identify(credentialIn(payload));
    if (!leaving.aborted && !takePlace(access, places, leaving)) {
      client.dismiss(TRY_AGAIN_LATER, "This user has too many connections. Close others first, or share one.");
      return false;
    }
    connection.access = access;
    if (!leaving.aborted) {
      leaving.addEventListener(
        "abort",
        access.watch((reason) => client.dismiss(CloseCode.Forbidden, reason.message)),
      );
    }
    return true;
  } catch (error) {
    const { failure } = reportFailure(error, log);
    const code =
      failure.code === "UNAUTHENTICATED" ? CloseCode.Forbidden : failure.retryable ? TRY_AGAIN_LATER : CloseCode.InternalServerError;
    client.dismiss(code, failure.message);
    return false;
  }
}

/** A user has so many connections at a time; whoever acts for many users has as many as it needs. */
function takePlace({ identity }: Access, places: Places, leaving: AbortSignal): boolean {
  if (identity.kind !== "user") {
    return true;
  }
  const leave = places.take(identity.userId);
  if (leave) {
    leaving.addEventListener("abort", leave);
  }
  return leave !== null;
}

function credentialIn(payload: unknown): string | null {
  const { authorization, Authorization = authorization } = (payload ?? {}) as Record<string, unknown>;
  return typeof Authorization === "string" ? Authorization : null;
}

/** The protocol takes no operation before it. */
function letInBefore({ access }: Connection): Access {
  if (!access) {
    throw new Error("an operation of a client that was not let in");
  }
  return access;
}

/** What is wrong with one operation more; undefined when there is room for it. */
function refuseMore(operations: number, most: number | null): readonly GraphQLError[] | undefined {
  if (most === null || operations <= most) {
    return undefined;
  }
  const message = `More than ${most} operations go on over this connection. Complete some first, or open another.`;
  const originalError = tooMany(message, 1, { name: "socketOperations", max: most });
  return [new GraphQLError(message, { originalError })];
}

/** What to execute, or what is wrong with it. Left to the protocol's own way, a syntax error would end the whole connection. */
function prepare(
  documents: KnownDocuments,
  payload: SubscribePayload,
  contextFor: () => RequestContext,
): ExecutionArgs | readonly GraphQLError[] {
  const contextValue = contextFor();
  try {
    countOperation(contextValue);
  } catch (error) {
    return [new GraphQLError("", { originalError: error instanceof Error ? error : null })];
  }
  const document = documents.read(payload);
  if (!("kind" in document)) {
    return document;
  }
  const { operationName, variables } = payload;
  return { schema: documents.schema, document, operationName, variableValues: variables, contextValue };
}
