/**
 * Many users at once, each with a word that nobody else knows: whatever leaves the server is searched for the words of others.
 * 50 users with 20 runs each on Postgres; with 4 each on the embedded database, whose one connection they share.
 */

import { afterAll, beforeAll, expect, test } from "vitest";
import { POSTGRES_URL } from "./support/database.ts";
import { startTestServer, type TestServer } from "./support/server.ts";

const USERS = 50;
const RUNS = POSTGRES_URL === null ? 4 : 20;
const CANARY = /cnry[0-9a-f]{12}/g;

let server: TestServer;
const lines: string[] = [];

beforeAll(async () => {
  server = await startTestServer({ env: { LOG_LEVEL: "info" }, logTo: { write: (line) => lines.push(line) } });
});

afterAll(() => server.close());

/** The words of users in a text. */
function wordsIn(text: string): Set<string> {
  return new Set(text.match(CANARY) ?? []);
}

function canaryOf(user: number): string {
  return `cnry${(user * 7_919 + 104_729).toString(16).padStart(12, "0")}`;
}

test(`${USERS} users with ${RUNS} runs each at once: no word of another's is sent to a model, to a client, or logged`, {
  timeout: 180_000,
}, async () => {
  const shown = await Promise.all(Array.from({ length: USERS }, (_, user) => live(canaryOf(user))));
  await server.drain();
  for (const [user, texts] of shown.entries()) {
    const canary = canaryOf(user);
    expect(texts.length).toBeGreaterThan(RUNS);
    for (const text of texts) {
      expect([...wordsIn(text)].filter((word) => word !== canary)).toEqual([]);
    }
    // What was recalled shows that the words were there to be found.
    expect(texts.some((text) => text.includes(`User loves ${canary}`))).toBe(true);
  }
  expect(server.model.requests.length).toBeGreaterThan(USERS * RUNS);
  const mixed = server.model.requests.filter(({ body, headers }) => wordsIn(JSON.stringify([body, headers])).size > 1);
  expect(mixed.map(({ body }) => JSON.stringify(body))).toEqual([]);
  expect(lines.length).toBeGreaterThan(USERS * RUNS);
  expect([...wordsIn(lines.join("\n"))]).toEqual([]);
});

/** One user's runs over all transports, three at a time, and what they read meanwhile and afterwards; everything they are shown. */
async function live(canary: string): Promise<string[]> {
  const userId = `user-${canary}`;
  const texts: string[] = [];
  const transports = [overHttp, overSocket, overEventStream];
  for (let run = 0; run < RUNS; run += transports.length) {
    const some = transports
      .slice(0, RUNS - run)
      .map((send, index) => send(userId, `session ${(run + index) % 4}`, `I love ${canary} kites ${run + index}.`));
    texts.push(...(await Promise.all(some)));
    texts.push(JSON.stringify(await server.data("Memories", { userId, first: 20 })));
  }
  texts.push(JSON.stringify(await server.data("SessionList", { userId })));
  texts.push(await (await fetch(`${server.url}/v1/users/${userId}/export`)).text());
  return texts;
}

async function overHttp(userId: string, sessionId: string, message: string): Promise<string> {
  return JSON.stringify(await server.graphql("RunAgent", { input: { userId, sessionId, message }, waitFor: "MEMORY" }));
}

async function overSocket(userId: string, sessionId: string, message: string): Promise<string> {
  const events: unknown[] = [];
  for await (const event of server.subscribe("SendMessage", { input: { userId, sessionId, message } })) {
    events.push(event);
  }
  return JSON.stringify(events);
}

async function overEventStream(userId: string, sessionId: string, message: string): Promise<string> {
  const response = await fetch(`${server.url}/v1/agents/rag-agent/run`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ user_id: userId, session_id: sessionId, message, stream: true }),
  });
  return response.text();
}
