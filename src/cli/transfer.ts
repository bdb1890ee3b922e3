/** `recollect export` and `recollect import`: all that is stored about a user, as one document. */

import { createWriteStream } from "node:fs";
import { readFile } from "node:fs/promises";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { type Connection, Problem } from "./connection.ts";
import { note, print, printJson } from "./output.ts";

/** Writes the document into a file, or on standard output. */
export async function exportUser(connection: Connection, file: string | undefined): Promise<void> {
  const { exportUser: found } = await connection.request<{ exportUser: { path: string } }>(
    "mutation ($input: ExportUserInput!) { exportUser(input: $input) { path } }",
    { input: { userId: connection.target.user } },
  );
  const response = await connection.fetch(found.path);
  if (!response.ok || !response.body) {
    throw await problemOf(response);
  }
  const target = file === undefined ? process.stdout : createWriteStream(file, { mode: 0o600 });
  await pipeline(Readable.fromWeb(response.body as Parameters<typeof Readable.fromWeb>[0]), target, { end: file !== undefined });
  if (file !== undefined) {
    note(`Written to ${file}.`);
  }
}

export async function importUser(connection: Connection, file: string, { json }: { json?: boolean }): Promise<void> {
  const user = connection.target.user;
  if (user === null) {
    throw new Problem("Say whose data it becomes: --user <id>.");
  }
  const document = await readFile(file, "utf8").catch((error: Error) => {
    throw new Problem(`${file} cannot be read: ${error.message}`);
  });
  const counts = await sendDocument(connection, user, document);
  json ? printJson(counts) : print(`${counts.imported} taken in, ${counts.skipped} there already`);
}

/** Sends a document to be taken in for a user. Throws Problem with the server's code. */
export async function sendDocument(connection: Connection, user: string, document: string): Promise<{ imported: number; skipped: number }> {
  const response = await connection.fetch(`/v1/users/${encodeURIComponent(user)}/import`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: document,
  });
  if (!response.ok) {
    throw await problemOf(response);
  }
  return (await response.json()) as { imported: number; skipped: number };
}

async function problemOf(response: Response): Promise<Problem> {
  const { error } = (await response.json().catch(() => ({}))) as { error?: { code?: string; message?: string } };
  return new Problem(error?.message ?? `The server answered with ${response.status}.`, error?.code ?? null);
}
