/** The web chat at /: the files that the build put into dist/web, served from memory. */

import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import path from "node:path";
import { HttpError } from "./http.ts";
import { type Compressible, compressible, inlineScriptHashes, once, preferredEncoding, wantsPage } from "./page.ts";

/** The same from src and from dist. */
const FOLDER = new URL("../dist/web/", import.meta.url);
const PAGE = "index.html";
const BROTLI_QUALITY = 9;
const TYPES: Record<string, string> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".svg": "image/svg+xml",
};

export interface WebChat {
  /** Answers with the page or one of its files; false when the request is for something else. Asks for no token: there is nothing of anybody in it. */
  serve(request: IncomingMessage, response: ServerResponse, path: string): Promise<boolean>;
}

interface File {
  body: Compressible;
  type: string;
  tag: string;
  /** Null: no page. */
  policy: ((host: string) => string) | null;
}

/** Nothing is read before the first visitor. */
export function createWebChat(): WebChat {
  const files = once(readFiles);
  return {
    async serve(request, response, address) {
      const isPage = address === "/" && wantsPage(request);
      const isAsset = address.startsWith("/assets/") && (request.method === "GET" || request.method === "HEAD");
      if (!isPage && !isAsset) {
        return false;
      }
      const found = (await files()).get(isPage ? PAGE : address.slice(1));
      if (found) {
        await send(request, response, found);
      } else if (isPage) {
        throw new HttpError(404, "NOT_FOUND", "The web chat is not built. Run: npm run build. The GraphQL playground is at /graphql.");
      }
      return found !== undefined;
    },
  };
}

async function send(request: IncomingMessage, response: ServerResponse, { body, type, tag, policy }: File): Promise<void> {
  const encoding = preferredEncoding(request);
  const etag = `"${tag}-${encoding}"`;
  const headers = {
    // The names of the other files change with their content.
    "cache-control": policy ? "no-cache" : "public, max-age=31536000, immutable",
    etag,
    vary: policy ? "accept, accept-encoding" : "accept-encoding",
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "same-origin",
    ...(policy && {
      "content-security-policy": policy(request.headers.host ?? ""),
      "cross-origin-opener-policy": "same-origin",
      "referrer-policy": "no-referrer",
      "x-frame-options": "DENY",
    }),
  };
  if (request.headers["if-none-match"] === etag) {
    response.writeHead(304, headers).end();
    return;
  }
  const bytes = await body[encoding]();
  response.writeHead(200, {
    ...headers,
    "content-type": type,
    "content-length": bytes.length,
    ...(encoding !== "identity" && { "content-encoding": encoding }),
  });
  response.end(request.method === "HEAD" ? undefined : bytes);
}

/** By their paths; empty when nothing was built. */
async function readFiles(): Promise<Map<string, File>> {
  const names = await readdir(FOLDER, { recursive: true }).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") {
      return [];
    }
    throw error;
  });
  const known = names.map((name) => name.split(path.sep).join("/")).filter((name) => path.extname(name) in TYPES);
  return new Map(await Promise.all(known.map(async (name): Promise<[string, File]> => [name, await readOne(name)])));
}

async function readOne(name: string): Promise<File> {
  const bytes = await readFile(new URL(name, FOLDER));
  const scripts = name === PAGE ? inlineScriptHashes(bytes.toString()) : null;
  return {
    body: compressible(bytes, BROTLI_QUALITY),
    type: TYPES[path.extname(name)] ?? "application/octet-stream",
    tag: createHash("sha256").update(bytes).digest("base64url").slice(0, 16),
    policy: scripts && ((host) => contentPolicy(scripts, host)),
  };
}

/** The page's own files and this server, and nothing else. Not every browser takes 'self' to mean the WebSocket as well. */
function contentPolicy(scriptHashes: string[], host: string): string {
  return [
    "default-src 'none'",
    `script-src 'self' ${scriptHashes.join(" ")}`,
    "style-src 'self'",
    "img-src 'self'",
    `connect-src 'self' ws://${host} wss://${host}`,
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ].join("; ");
}
