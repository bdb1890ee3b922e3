/** What pages for browsers have in common. */

import { createHash } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { promisify } from "node:util";
import { brotliCompress, constants, gzip } from "node:zlib";

export type Encoding = "br" | "gzip" | "identity";

/** A body in each encoding, made when it is first asked for. */
export type Compressible = Record<Encoding, () => Promise<Buffer>>;

/** Whether a request comes from the address bar of a browser; programs ask for JSON. */
export function wantsPage({ method, headers: { accept = "" } }: IncomingMessage): boolean {
  return method === "GET" && accept.includes("text/html") && !/application\/(graphql-response\+)?json/.test(accept);
}

export function compressible(bytes: Buffer, brotliQuality: number): Compressible {
  return {
    br: once(() => promisify(brotliCompress)(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: brotliQuality } })),
    gzip: once(() => promisify(gzip)(bytes)),
    identity: async () => bytes,
  };
}

/** The best encoding that a request takes. */
export function preferredEncoding({ headers }: IncomingMessage): Encoding {
  const accepted = new Set(
    String(headers["accept-encoding"] ?? "")
      .split(",")
      .filter((part) => !/;\s*q=0(\.0*)?\s*$/.test(part))
      .map((part) => part.split(";", 1)[0]?.trim().toLowerCase()),
  );
  return accepted.has("br") ? "br" : accepted.has("gzip") ? "gzip" : "identity";
}

/** Of the scripts within a page, as a content security policy names them. */
export function inlineScriptHashes(html: string): string[] {
  const scripts = [...html.matchAll(/<script>([\s\S]*?)<\/script>/g)].map(([, script = ""]) => script);
  return scripts.map((script) => `'sha256-${createHash("sha256").update(script).digest("base64")}'`);
}

/** Does it at the first call and keeps what came of it; after a failure, tries again. */
export function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return () => {
    made ??= make().catch((error: unknown) => {
      made = undefined;
      throw error;
    });
    return made;
  };
}
