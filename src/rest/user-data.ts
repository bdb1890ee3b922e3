/** All that is stored about a user over REST: GET …/export and POST …/import, with limits of their own. */

import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Services } from "../agent/ports.ts";
import { allowMethods, HttpError, readJson, sendJson } from "../http.ts";
import { type Access, actingUser } from "../identity/identity.ts";

const ROUTE = /^\/v1\/users\/([^/]+)\/(export|import)$/;
/** The largest document that is taken in, in bytes. It is held in memory, and stored in one transaction of a few seconds. */
export const MAX_IMPORT_BYTES = 16 * 1024 * 1024;
/** How much of a document is sent at a time, in UTF-16 units. */
const CHUNK = 64 * 1024;

/** Answers a request for a user's data; false when the address is none of these. */
export async function handleUserData(
  request: IncomingMessage,
  response: ServerResponse,
  url: URL,
  services: Services,
  { identity }: Access,
  leaving: AbortSignal,
): Promise<boolean> {
  const [, segment, action] = ROUTE.exec(url.pathname) ?? [];
  if (segment === undefined) {
    return false;
  }
  const user = () => {
    const found = actingUser(identity, decode(segment), "user_id");
    services.rates.count(found);
    return found;
  };
  if (action === "export") {
    allowMethods(request, "GET");
    await sendDocument(response, await services.userData.export(user()), leaving);
  } else {
    allowMethods(request, "POST");
    // Before a large body is read.
    const owner = user();
    const { imported, skipped } = await services.userData.import(owner, await readJson(request, MAX_IMPORT_BYTES));
    sendJson(response, 200, { imported, skipped });
  }
  return true;
}

/** Sends a document as fast as it is read. */
async function sendDocument(response: ServerResponse, pieces: Iterable<string>, leaving: AbortSignal): Promise<void> {
  response.writeHead(200, {
    "content-type": "application/json; charset=utf-8",
    "content-disposition": 'attachment; filename="recollect-export.json"',
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
  });
  let chunk = "";
  for (const piece of pieces) {
    chunk += piece;
    if (chunk.length >= CHUNK) {
      if (!response.write(chunk)) {
        await once(response, "drain", { signal: leaving });
      }
      chunk = "";
    }
  }
  response.end(chunk);
}

function decode(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    throw new HttpError(404, "NOT_FOUND", "There is no such address: its percent signs do not stand for UTF-8.");
  }
}
