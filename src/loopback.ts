import type { IncomingMessage } from "node:http";

/** Whether a request was meant for this machine. A foreign site whose name was made to point here still sends its own name. */
export function isLoopback(host: string | undefined): boolean {
  return host !== undefined && /^(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?$/i.test(host);
}

/** The HTTP status with which to refuse a WebSocket; null to let it in. Browsers let any page open one, so its origin is looked at too. */
export function upgradeRefusal(request: IncomingMessage, path: string): string | null {
  if (URL.parse(request.url ?? "", "http://localhost")?.pathname !== path) {
    return "404 Not Found";
  }
  const { host, origin } = request.headers;
  const originHost = origin === undefined ? host : URL.parse(origin)?.host;
  return isLoopback(host) && isLoopback(originHost) ? null : "403 Forbidden";
}
