/** Which conversation is shown: it stands in the address, so that a reload, a bookmark and the back button find it. */

import { useSyncExternalStore } from "react";

const PREFIX = "#/chat/";

/** Null: a new one. */
export function useRoute(): string | null {
  return useSyncExternalStore(onHashChange, currentSession);
}

export function goTo(sessionId: string | null): void {
  location.hash = sessionId === null ? "" : `${PREFIX}${encodeURIComponent(sessionId)}`;
}

function currentSession(): string | null {
  try {
    return location.hash.startsWith(PREFIX) ? decodeURIComponent(location.hash.slice(PREFIX.length)) || null : null;
  } catch {
    return null;
  }
}

function onHashChange(listener: () => void): () => void {
  addEventListener("hashchange", listener);
  return () => removeEventListener("hashchange", listener);
}
