/** A user with data of every kind, and what moves it. */

import type { TestServer } from "./server.ts";

export async function exportUser(server: TestServer, userId: string): Promise<string> {
  const { exportUser: found } = await server.data("ExportUser", { input: { userId } });
  const response = await fetch(`${server.url}${found.path}`);
  const text = await response.text();
  if (response.status !== 200) {
    throw new Error(text);
  }
  return text;
}

export async function importUser(server: TestServer, userId: string, document: string): Promise<{ status: number; body: ImportAnswer }> {
  const response = await fetch(`${server.url}/v1/users/${encodeURIComponent(userId)}/import`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: document,
  });
  return { status: response.status, body: (await response.json()) as ImportAnswer };
}

export interface ImportAnswer {
  imported?: number;
  skipped?: number;
  error?: { code: string; message: string };
}

// biome-ignore lint/suspicious/noExplicitAny: tests read answers of every shape.
export async function eraseUser(server: TestServer, userId: string): Promise<any> {
  return (await server.data("EraseUser", { input: { userId, confirmUserId: userId } })).eraseUser;
}

/** Talks, learns, corrects, deletes, fails, cancels and sums up, so that every table and every kind of record holds something. */
export async function liveThrough(server: TestServer, userId: string): Promise<void> {
  const say = (message: string, sessionId = "one") =>
    server.data("RunAgent", { input: { userId, sessionId, message, idempotencyKey: `${sessionId} ${message}` }, waitFor: "MEMORY" });
  await say(`My name is Zoë "O'Hara" \\ 😀. I love hiking and tea.`);
  await say("I live in Bern.");
  await say("I moved to Kyoto.");
  await say("I love hiking.", "two");
  server.model.script("reply", { kind: "speech", text: "Half a reply", cutAfter: 1 });
  server.model.script("extraction", ...Array.from({ length: 4 }, () => ({ kind: "speech" as const, text: "{" })));
  await server.data("RunAgent", { input: { userId, sessionId: "two", message: "I love chess." }, waitFor: "REPLY" });
  await server.data("SummarizeSession", { input: { userId, sessionId: "one" } });
  await server.data("RenameSession", { input: { userId, sessionId: "two", name: "Zweites 第二" } });
  const { addMemories } = await server.data("AddMemories", {
    input: {
      userId,
      memories: [{ memory: "User likes dark mode", topics: ["ui"], expiresAt: "2099-01-01T00:00:00.123Z" }, { memory: "User has a cat" }],
      idempotencyKey: "k",
    },
  });
  const [first, second] = addMemories.changes;
  await server.data("UpdateMemory", { input: { userId, memoryId: first.memory.memoryId, memory: "User likes dark blue", pinned: true } });
  await server.data("DeleteMemory", { input: { userId, memoryId: second.memory.memoryId } });
}
