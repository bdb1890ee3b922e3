/**
 * Messages that are on their way, kept in the tab until the server has said that it took them. After a reload they are sent again
 * under the same key, and the server answers with the run it has.
 */

export interface Unsent {
  /** The message's name for the server; the same at every try. */
  key: string;
  /** Who wrote it. */
  owner: string;
  sessionId: string;
  text: string;
}

const STORE = "recollect:outbox";

export function keepUnsent(message: Unsent): void {
  write([...read().filter(({ key }) => key !== message.key), message]);
}

export function dropUnsent(key: string): void {
  write(read().filter((message) => message.key !== key));
}

export function unsentIn(owner: string, sessionId: string): Unsent[] {
  return read().filter((message) => message.owner === owner && message.sessionId === sessionId);
}

/** Whoever wrote them has left. */
export function clearUnsent(): void {
  sessionStorage.removeItem(STORE);
}

/** A name nobody else gives. Not `randomUUID`: pages that were not loaded over TLS have none. */
export function newKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function read(): Unsent[] {
  try {
    return JSON.parse(sessionStorage.getItem(STORE) ?? "[]") as Unsent[];
  } catch {
    return [];
  }
}

function write(messages: Unsent[]): void {
  sessionStorage.setItem(STORE, JSON.stringify(messages));
}
