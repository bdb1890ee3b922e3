/** `recollect migrate-from-agno`: brings the users of an Agno database, with memories, conversations and summaries, to a running server. */

import { readDocument } from "../../agent/export-format.ts";
import { type Connection, Problem } from "../connection.ts";
import { note, print, printJson, progress } from "../output.ts";
import { sendDocument } from "../transfer.ts";
import { type AgnoUser, mapUser } from "./map.ts";
import { type AgnoDatabase, readAgno } from "./read.ts";

export interface MigrationOptions {
  from: string;
  schema: string;
  agent: string;
  /** Whose the rows become that name no user; left out: they stay where they are. */
  anonymous?: string;
  user?: string;
  dryRun?: boolean;
  json?: boolean;
}

interface Report {
  userId: string;
  memories: number;
  sessions: number;
  messages: number;
  leftOut: string[];
  /** What became of it. */
  outcome: "would be taken in" | "taken in" | "was there already" | "failed";
  message: string | null;
}

/** True when every user is there in the end. Can be done again: who is there already, unchanged since, stays as they are. */
export async function migrateFromAgno(connection: Connection, options: MigrationOptions): Promise<boolean> {
  const found = usersOf(await readAgno(options.from, options.schema), options.anonymous);
  const users = options.user === undefined ? found.users : found.users.filter(({ userId }) => userId === options.user);
  const bar = progress("users", users.length);
  const reports: Report[] = [];
  try {
    for (const user of users) {
      reports.push(await migrateUser(connection, user, options));
      bar.step();
    }
  } finally {
    bar.end();
  }
  if (options.json) {
    printJson({ users: reports, withoutUser: found.withoutUser });
  } else {
    show(reports, found.withoutUser);
  }
  return reports.every(({ outcome }) => outcome !== "failed");
}

async function migrateUser(connection: Connection, user: AgnoUser, { agent, dryRun }: MigrationOptions): Promise<Report> {
  const { document, ...counts } = mapUser(user, agent);
  const report = { userId: user.userId, ...counts };
  try {
    readDocument(JSON.parse(document));
    if (dryRun) {
      return { ...report, outcome: "would be taken in", message: null };
    }
    const { imported } = await sendDocument(connection, user.userId, document);
    return { ...report, outcome: imported > 0 ? "taken in" : "was there already", message: null };
  } catch (error) {
    if (error instanceof Problem && error.code === null) {
      // No server: the next user would fare no better.
      throw error;
    }
    return { ...report, outcome: "failed", message: error instanceof Error ? error.message : String(error) };
  }
}

function usersOf({ memories, sessions }: AgnoDatabase, anonymous: string | undefined): { users: AgnoUser[]; withoutUser: number } {
  const users = new Map<string, AgnoUser>();
  let withoutUser = 0;
  const of = (userId: string | null): AgnoUser | null => {
    const name = userId || anonymous;
    if (!name) {
      withoutUser++;
      return null;
    }
    const user = users.get(name) ?? { userId: name, memories: [], sessions: [] };
    users.set(name, user);
    return user;
  };
  for (const memory of memories) {
    of(memory.user_id)?.memories.push(memory);
  }
  for (const session of sessions) {
    of(session.user_id)?.sessions.push(session);
  }
  return { users: [...users.values()].sort((one, other) => (one.userId < other.userId ? -1 : 1)), withoutUser };
}

function show(reports: Report[], withoutUser: number): void {
  for (const { userId, memories, sessions, messages, leftOut, outcome, message } of reports) {
    print(`${userId}: ${memories} memories, ${sessions} sessions, ${messages} messages ${outcome}`);
    for (const line of leftOut) {
      print(`  left out: ${line}`);
    }
    if (message !== null) {
      print(`  ${message}`);
    }
  }
  const count = (outcome: Report["outcome"]): number => reports.filter((report) => report.outcome === outcome).length;
  const outcomes = ["taken in", "would be taken in", "was there already", "failed"] as const;
  print(outcomes.flatMap((outcome) => (count(outcome) > 0 ? [`${count(outcome)} ${outcome}`] : [])).join(", ") || "No users.");
  if (withoutUser > 0) {
    note(`${withoutUser} rows name no user and stayed where they are. Give them one with --anonymous <id>.`);
  }
}
