/** All that is stored about a user over REST: GET …/export and POST …/import, with limits of their own. */

import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Services } from "../agent/ports.ts";
import { allowMethods, HttpError, readJson, sendJson } from "../http.ts";
import { type Access, actingUser } from "../identity/identity.ts";
import { Places, tooMany } from "../limits/rates.ts";

const ROUTE = /^\/v1\/users\/([^/]+)\/(export|import)$/;
/** The largest document that is taken in, in bytes. It is held in memory, and stored in one transaction of a few seconds. */
export const MAX_IMPORT_BYTES = 16 * 1024 * 1024;
/** Documents of a user that are held in memory at the same time, and how long a reader may take nothing of one (ms). */
const AT_A_TIME = 2;
const PATIENCE_MS = 30_000;
const places = new Places(AT_A_TIME);
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
  allowMethods(request, action === "export" ? "GET" : "POST");
  // Before anything large is read.
  const owner = user();
  const leave = places.take(owner);
  if (!leave) {
    throw tooMany(`More than ${AT_A_TIME} exports and imports of a user at a time. Wait for the others to end.`, 1, {
      name: "documentsAtATime",
      max: AT_A_TIME,
    });
  }
  try {
    if (action === "export") {
      await sendDocument(response, await services.userData.export(owner), leaving);
    } else {
      const { imported, skipped } = await services.userData.import(owner, await readJson(request, MAX_IMPORT_BYTES));
      sendJson(response, 200, { imported, skipped });
    }
  } finally {
    leave();
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
        await once(response, "drain", { signal: AbortSignal.any([leaving, AbortSignal.timeout(PATIENCE_MS)]) });
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
