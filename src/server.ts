/** One port for everything: the web chat at /, GraphQL over HTTP and WebSocket at /graphql, REST beside it, and what operators ask. */

import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import type { Services } from "./agent/ports.ts";
import { AppError } from "./errors.ts";
import type { RequestContext } from "./graphql/acting-user.ts";
import { handleGraphQL, startApollo } from "./graphql/apollo.ts";
import { formatReport } from "./graphql/errors.ts";
import { KnownDocuments } from "./graphql/known-documents.ts";
import { createPlayground } from "./graphql/playground.ts";
import { buildGraphQLSchema } from "./graphql/schema.ts";
import { serveSockets } from "./graphql/websocket.ts";
import { allowMethods, errorBody, HttpError, sendJson, statusOf } from "./http.ts";
import type { Access, Authenticator } from "./identity/identity.ts";
import { answerOrigin, isLoopback, type OriginRules, upgradeRefusal } from "./identity/origins.ts";
import { Places, RequestRate } from "./limits/rates.ts";
import type { Limits } from "./limits/settings.ts";
import type { Logger } from "./logger.ts";
import { wantsPage } from "./page.ts";
import { reportFailure } from "./report-failure.ts";
import { handleRest } from "./rest.ts";
import { createWebChat } from "./web-chat.ts";

const GRAPHQL_PATH = "/graphql";
/** For tools that want the schema as a file. */
const SCHEMA_PATH = "/schema.graphql";
const SCHEMA_FILE = new URL("../schema/schema.graphql", import.meta.url);
const OWN_ADDRESS = /^(?:127\.0\.0\.1|::1)$/;
/** How long a client may take to send a request's head, and all of it; and how often that is looked at. */
const HEADERS_TIMEOUT_MS = 10_000;
const REQUEST_TIMEOUT_MS = 30_000;
const TIMEOUT_CHECK_MS = 1_000;
/** How long /ready may look before it says no. */
const READY_TIMEOUT_MS = 2_000;
/** How long requests may go on once the server closes: as long as runs are given to end, so that their replies still go out. */
const CLOSE_TIMEOUT_MS = 22_000;

export interface ServerOptions {
  services: Services;
  authenticator: Authenticator;
  /** Origins of web pages that may use this server beside its own. */
  corsOrigins: readonly string[];
  /** The address to listen at; without authentication, one of this machine's own. */
  host: string;
  /** 0: any free one. */
  port: number;
  log: Logger;
  /** Whether requests can be served now: database and schema are there, and nothing is stopping. */
  ready: () => Promise<boolean>;
  limits: Limits;
  /** Whether clients may ask for the schema. */
  introspection: boolean;
}

export interface RunningServer {
  url: string;
  port: number;
  /** Takes nothing new, sends sockets away, lets requests under way end for 22 s, then cuts them off. */
  close(): Promise<void>;
}

/** Resolves once requests are taken; rejects when the address is taken. */
export async function startServer({
  services,
  authenticator,
  corsOrigins,
  host,
  port,
  log,
  ready,
  limits,
  introspection,
}: ServerOptions): Promise<RunningServer> {
  const documents = new KnownDocuments(buildGraphQLSchema(), introspection);
  const masking = { log, hints: introspection };
  const apollo = await startApollo(documents, masking);
  const origins: OriginRules = { allowed: corsOrigins, loopbackOnly: !authenticator.required };
  const contextFor = ({ identity }: Access, operationId: string | null, signal: AbortSignal): RequestContext => {
    return { services, identity, operationId, signal, closing: closingSignal.signal };
  };
  const sockets = serveSockets({ documents, authenticator, contextFor, masking, limits });
  const playground = createPlayground({ asksForToken: authenticator.required });
  const webChat = createWebChat();
  const addressRate = new RequestRate(limits.addressRequestsPerMinute);
  const addressPlaces = new Places(limits.addressSockets);
  const closingSignal = new AbortController();
  let closing: Promise<void> | undefined;

  const server = createServer(
    {
      headersTimeout: HEADERS_TIMEOUT_MS,
      requestTimeout: REQUEST_TIMEOUT_MS,
      connectionsCheckingInterval: TIMEOUT_CHECK_MS,
      // Some clients offer HTTP/2 with every request (Upgrade: h2c); declined, they go on as they are. Node before 24.9 cannot decline.
      shouldUpgradeCallback: (request) => request.headers.upgrade?.toLowerCase() === "websocket",
    },
    (request, response) => {
      const url = addressOf(request.url ?? "");
      response.once("close", () => closing && server.closeIdleConnections());
      route(request, response, url).catch((error: unknown) => {
        services.status.noteRefusal(error);
        refuse(response, url, error, log);
      });
    },
  );
  server.on("upgrade", (request, socket, head) => {
    socket.on("error", (error) => log.debug({ err: error }, "a connection failed before it was a WebSocket"));
    const refusal = closing ? "503 Service Unavailable" : upgradeRefusal(request, GRAPHQL_PATH, origins);
    const leave = refusal ? null : takeAddressPlace(request, addressPlaces, addressRate);
    if (refusal || !leave) {
      refuseUpgrade(socket, refusal ?? "429 Too Many Requests");
    } else {
      socket.once("close", leave);
      sockets.upgrade(request, socket, head);
    }
  });

  async function route(request: IncomingMessage, response: ServerResponse, url: URL | null): Promise<void> {
    switch (url?.pathname) {
      case "/health":
        allowMethods(request, "GET", "HEAD");
        return sendJson(response, 200, { status: "ok" });
      case "/ready":
        allowMethods(request, "GET", "HEAD");
        return !closing && (await withinDeadline(ready))
          ? sendJson(response, 200, { status: "ready" })
          : sendJson(response, 503, { status: "not ready" });
    }
    const address = foreignAddress(request);
    if (address !== null) {
      addressRate.count(address);
    }
    if (origins.loopbackOnly && !isLoopback(request.headers.host)) {
      const message = "This server asks for no tokens, so it answers only under localhost, 127.0.0.1 or [::1]. Use one of these addresses.";
      throw new AppError("FORBIDDEN", message);
    }
    if (answerOrigin(request, response, origins)) {
      return;
    }
    if (url?.pathname === GRAPHQL_PATH && wantsPage(request)) {
      return playground.serve(request, response);
    }
    if (url && (await webChat.serve(request, response, url.pathname))) {
      return;
    }
    const access = await authenticator.identify(request.headers.authorization ?? null);
    if (url?.pathname === SCHEMA_PATH && introspection) {
      return sendSchema(request, response);
    }
    if (url?.pathname === GRAPHQL_PATH) {
      return handleGraphQL(apollo, request, response, url, contextFor(access, null, leaving(response)));
    }
    if (
      !url ||
      !(await handleRest(request, response, url, services, access, { leaving: leaving(response), closing: closingSignal.signal }))
    ) {
      throw new HttpError(
        404,
        "NOT_FOUND",
        "There is no such address. GraphQL is at /graphql, REST at /v1/agents/rag-agent/run and …/memories.",
      );
    }
  }

  try {
    server.listen(port, host);
    await once(server, "listening");
  } catch (error) {
    await sockets.close();
    await apollo.stop();
    throw error;
  }
  server.on("error", (error) => log.error({ err: error }, "the server could not take a connection"));
  const address = server.address() as AddressInfo;
  return {
    url: `http://${urlHost(host)}:${address.port}`,
    port: address.port,
    close() {
      closingSignal.abort();
      closing ??= closeAll(server, sockets.close).finally(() => apollo.stop());
      return closing;
    },
  };
}

async function sendSchema(request: IncomingMessage, response: ServerResponse): Promise<void> {
  allowMethods(request, "GET", "HEAD");
  const body = await readFile(SCHEMA_FILE);
  response.writeHead(200, {
    "content-type": "text/plain; charset=utf-8",
    "content-length": body.length,
    "x-content-type-options": "nosniff",
  });
  response.end(request.method === "HEAD" ? undefined : body);
}

async function closeAll(server: Server, closeSockets: () => Promise<void>): Promise<void> {
  const closed = once(server, "close");
  server.close();
  const deadline = setTimeout(() => server.closeAllConnections(), CLOSE_TIMEOUT_MS);
  await closeSockets();
  await closed;
  clearTimeout(deadline);
}

/** Answers a request that failed, in the words of its transport. */
function refuse(response: ServerResponse, url: URL | null, error: unknown, log: Logger): void {
  if (response.destroyed) {
    log.debug({ err: error }, "a client left before its answer");
    return;
  }
  if (response.headersSent) {
    response.destroy();
    log.error({ err: error }, "an answer broke off");
    return;
  }
  const report = reportFailure(error, log);
  const { status, headers } = statusOf(error, report);
  if (status === 401) {
    headers["www-authenticate"] =
      `Bearer realm="recollect"${response.req.headers.authorization === undefined ? "" : ', error="invalid_token"'}`;
  }
  const body = url?.pathname === GRAPHQL_PATH ? { errors: [formatReport(report)] } : errorBody(report);
  sendJson(response, status, body, headers);
}

/** What a request asks for. An address that begins with two slashes would name another host; here it is a path that leads nowhere. */
function addressOf(target: string): URL | null {
  return URL.parse(target.startsWith("/") ? `http://localhost${target}` : target);
}

/** The address a request comes from; null when it is this machine's own, behind which a proxy may stand for everybody. */
function foreignAddress({ socket }: IncomingMessage): string | null {
  const address = (socket.remoteAddress ?? "").replace(/^::ffff:(?=\d+\.)/, "");
  // Whoever has one IPv6 address has the 2^64 beside it.
  const network = address.includes(":") ? networkOf(address) : address;
  return OWN_ADDRESS.test(address) ? null : network;
}

/** The first four groups of an IPv6 address. */
function networkOf(address: string): string {
  const [head = "", tail] = address.split("%")[0]?.split("::") ?? [];
  const before = head.split(":").filter(Boolean);
  const after = tail?.split(":").filter(Boolean) ?? [];
  const groups = [...before, ...Array.from({ length: Math.max(0, 8 - before.length - after.length) }, () => "0"), ...after];
  return `${groups.slice(0, 4).join(":")}::/64`;
}

/** Null when the address has as many WebSockets as it may, or asks too often. */
function takeAddressPlace(request: IncomingMessage, places: Places, rate: RequestRate): (() => void) | null {
  const address = foreignAddress(request);
  if (address === null) {
    return () => undefined;
  }
  try {
    rate.count(address);
    return places.take(address);
  } catch {
    return null;
  }
}

/** Aborts when the client leaves before it was answered. */
function leaving(response: ServerResponse): AbortSignal {
  const controller = new AbortController();
  response.once("close", () => {
    if (!response.writableFinished) {
      controller.abort();
    }
  });
  return controller.signal;
}

function refuseUpgrade(socket: Duplex, status: string): void {
  // The other side may keep its half open for ever.
  socket.once("finish", () => socket.destroy());
  socket.end(`HTTP/1.1 ${status}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`);
}

async function withinDeadline(ready: () => Promise<boolean>): Promise<boolean> {
  const deadline = Promise.withResolvers<boolean>();
  const timer = setTimeout(() => deadline.resolve(false), READY_TIMEOUT_MS);
  try {
    return await Promise.race([ready(), deadline.promise]);
  } catch {
    return false;
  } finally {
    clearTimeout(timer);
  }
}

function urlHost(host: string): string {
  return host.includes(":") ? `[${host}]` : host;
}
