/** Which web pages may use this server. A browser lets any page send requests anywhere, and says which page it was. */

import type { IncomingMessage, ServerResponse } from "node:http";

/** Who may come from where. */
export interface OriginRules {
  /** Origins of web pages that may read answers and open sockets, such as https://chat.example; beside the server's own. */
  allowed: readonly string[];
  /** True without tokens: only requests to this machine by its own names are taken, and from pages of this machine. */
  loopbackOnly: boolean;
}

const REQUEST_HEADERS = "authorization, content-type, idempotency-key, last-event-id, x-recollect-request, apollo-require-preflight";
/** Of those that pages may not read anyway. */
const RESPONSE_HEADERS = "retry-after, www-authenticate";
const PREFLIGHT_SECONDS = 600;

/** Whether a request was meant for this machine. A foreign site whose name was made to point here still sends its own name. */
export function isLoopback(host: string | undefined): boolean {
  return host !== undefined && /^(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?$/i.test(host);
}

/** The HTTP status with which to refuse a WebSocket; null to let it in. Cross-origin rules of browsers do not cover sockets. */
export function upgradeRefusal(request: IncomingMessage, path: string, { allowed, loopbackOnly }: OriginRules): string | null {
  if (URL.parse(request.url ?? "", "http://localhost")?.pathname !== path) {
    return "404 Not Found";
  }
  const { host, origin } = request.headers;
  if (loopbackOnly && !isLoopback(host)) {
    return "403 Forbidden";
  }
  if (origin === undefined || allowed.includes(origin)) {
    return null;
  }
  const originHost = URL.parse(origin)?.host;
  const own = loopbackOnly ? isLoopback(originHost) : originHost !== undefined && originHost === host?.toLowerCase();
  return own ? null : "403 Forbidden";
}

/**
 * Lets pages of allowed origins read the answer. True when the request was a browser's question whether it may send
 * another one: then it is answered, and without a token, because browsers send none with it.
 */
export function answerOrigin({ headers, method }: IncomingMessage, response: ServerResponse, { allowed }: OriginRules): boolean {
  if (allowed.length > 0) {
    response.setHeader("vary", "origin");
  }
  if (headers.origin === undefined || !allowed.includes(headers.origin)) {
    return false;
  }
  response.setHeader("access-control-allow-origin", headers.origin);
  response.setHeader("access-control-expose-headers", RESPONSE_HEADERS);
  if (method !== "OPTIONS" || headers["access-control-request-method"] === undefined) {
    return false;
  }
  response.writeHead(204, {
    "access-control-allow-methods": "GET, POST",
    "access-control-allow-headers": REQUEST_HEADERS,
    "access-control-max-age": String(PREFLIGHT_SECONDS),
  });
  response.end();
  return true;
}
