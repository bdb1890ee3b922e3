/** `recollect sessions`: a user's conversations. */

import { type Connection, type Listed, Problem } from "./connection.ts";
import { print, printJson } from "./output.ts";

const FIELDS = "sessionId name updatedAt summary { summary topics }";
const PAGE = 100;

interface ShownSession {
  sessionId: string;
  name: string | null;
  updatedAt: string;
  summary: { summary: string; topics: string[] } | null;
}

interface Json {
  json?: boolean;
}

export async function listSessions(connection: Connection, { json }: Json): Promise<void> {
  const query = `query ($userId: ID, $after: String) { sessions(userId: $userId, first: ${PAGE}, after: $after) {
    edges { node { ${FIELDS} } } pageInfo { hasNextPage endCursor } } }`;
  const variables = { userId: connection.target.user };
  const found = await connection.all(query, variables, ({ sessions }: { sessions: Listed<ShownSession> }) => sessions);
  if (json) {
    printJson(found);
    return;
  }
  for (const { sessionId, name, updatedAt, summary } of found) {
    print(`${sessionId}  ${updatedAt}  ${name ?? ""}${summary ? `\n    ${summary.summary}` : ""}`);
  }
  print(`${found.length} in all`);
}

/** The messages of a conversation, oldest first. */
export async function showSession(connection: Connection, sessionId: string, { json }: Json): Promise<void> {
  const query = `query ($userId: ID, $sessionId: ID!, $after: String) { session(userId: $userId, sessionId: $sessionId) {
    messages(first: ${PAGE}, after: $after) { edges { node { role content createdAt } } pageInfo { hasNextPage endCursor } } } }`;
  const variables = { userId: connection.target.user, sessionId };
  const messages = await connection.all(query, variables, ({ session }: { session: { messages: Listed<ShownMessage> } | null }) => {
    if (!session) {
      throw new Problem("There is no session with this id. Look it up with: recollect sessions list", "NOT_FOUND");
    }
    return session.messages;
  });
  if (json) {
    printJson(messages);
    return;
  }
  for (const { role, content } of messages) {
    print(`${role === "USER" ? "> " : ""}${content}`);
  }
}

interface ShownMessage {
  role: string;
  content: string;
  createdAt: string;
}

/** Brings a conversation's summary up to date and shows it. */
export async function summarizeSession(connection: Connection, sessionId: string, { json }: Json): Promise<void> {
  const { summarizeSession: done } = await connection.request<{ summarizeSession: { session: ShownSession } }>(
    `mutation ($input: SummarizeSessionInput!) { summarizeSession(input: $input) { session { ${FIELDS} } } }`,
    { input: { sessionId, userId: connection.target.user } },
  );
  json ? printJson(done.session) : print(done.session.summary?.summary ?? "Nothing to sum up yet.");
}

export async function deleteSession(connection: Connection, sessionId: string, { json }: Json): Promise<void> {
  const { deleteSession: done } = await connection.request<{ deleteSession: { deletedId: string } }>(
    "mutation ($input: DeleteSessionInput!) { deleteSession(input: $input) { deletedId } }",
    { input: { sessionId, userId: connection.target.user } },
  );
  json ? printJson(done) : print(`deleted: ${sessionId}`);
}
