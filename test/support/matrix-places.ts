/** What another user has, and where in the API it could be named: a line for every place of the schema that takes an id. */

import type { UserId } from "../../src/agent/types.ts";
import { encodeId } from "../../src/graphql/ids.ts";

export const ALICE = "alice@example.com";
export const BOB = "bob-zebra@example.com";
export const CAROL = "carol@example.com";
export const SECRET = "zebra";
/** Of each thing that Bob has, enough for every place and transport. */
export const PLENTY = 60;

/** What Bob has. Whoever names a conversation, run or key makes it their own by it, so each is used once. */
export interface Theirs {
  runs: { sessionId: string; runId: string }[];
  memories: string[];
  keys: string[];
  runId: string;
  sessionId: string;
  changeNode: string;
  messageId: string;
  cursors: Record<"memories" | "sessions" | "messages" | "runs", string>;
}

export type Place = (bob: Theirs) => string | string[];
const user: Place = () => BOB;
export const session: Place = ({ runs }) => taken(runs.pop()).sessionId;
const run: Place = ({ runs }) => taken(runs.pop()).runId;
/** To look for does not make it one's own. */
const learnedFrom: Place = ({ sessionId }) => sessionId;
const memory: Place = ({ memories }) => taken(memories.pop());
export const key: Place = ({ keys }) => taken(keys.pop());
const nodes: Place = (bob) => [
  encodeId("Session", BOB as UserId, bob.sessionId),
  encodeId("Run", BOB as UserId, bob.runId),
  encodeId("Message", BOB as UserId, bob.runId, bob.messageId),
  encodeId("Memory", BOB as UserId, taken(bob.memories.at(0))),
  bob.changeNode,
];

/** Every place that takes an id, and what of Bob's is sent there. Null: what it names belongs to nobody. */
export const PLACES: Record<string, Place | null> = {
  "Query.agent(agentId)": null,
  "Query.failedMemoryUpdates(userId)": user,
  "Query.memories(userId)": user,
  "Query.memories(filter.agentId)": null,
  "Query.memories(filter.sessionId)": learnedFrom,
  "Query.memory(userId)": user,
  "Query.memory(memoryId)": memory,
  "Query.memoryTopics(userId)": user,
  "Query.node(id)": nodes,
  "Query.run(userId)": user,
  "Query.run(runId)": run,
  "Query.searchMemories(userId)": user,
  "Query.searchMemories(filter.agentId)": null,
  "Query.searchMemories(filter.sessionId)": learnedFrom,
  "Query.session(userId)": user,
  "Query.session(sessionId)": session,
  "Query.sessions(userId)": user,
  "Query.sessions(filter.agentId)": null,
  "Mutation.addMemories(input.userId)": user,
  "Mutation.addMemories(input.idempotencyKey)": key,
  "Mutation.addMemory(input.userId)": user,
  "Mutation.addMemory(input.idempotencyKey)": key,
  "Mutation.cancelRun(input.userId)": user,
  "Mutation.cancelRun(input.runId)": run,
  "Mutation.cancelRun(input.idempotencyKey)": key,
  "Mutation.clearMemories(input.userId)": user,
  "Mutation.clearMemories(input.idempotencyKey)": key,
  "Mutation.deleteMemory(input.userId)": user,
  "Mutation.deleteMemory(input.memoryId)": memory,
  "Mutation.deleteMemory(input.idempotencyKey)": key,
  "Mutation.deleteSession(input.userId)": user,
  "Mutation.deleteSession(input.sessionId)": session,
  "Mutation.deleteSession(input.idempotencyKey)": key,
  "Mutation.exportUser(input.userId)": user,
  "Mutation.importUser(input.userId)": user,
  "Mutation.renameSession(input.userId)": user,
  "Mutation.renameSession(input.sessionId)": session,
  "Mutation.renameSession(input.idempotencyKey)": key,
  "Mutation.retryMemoryUpdate(input.userId)": user,
  "Mutation.retryMemoryUpdate(input.runId)": run,
  "Mutation.retryMemoryUpdate(input.idempotencyKey)": key,
  "Mutation.runAgent(input.agentId)": null,
  "Mutation.runAgent(input.userId)": user,
  "Mutation.runAgent(input.sessionId)": session,
  "Mutation.runAgent(input.idempotencyKey)": key,
  "Mutation.summarizeSession(input.userId)": user,
  "Mutation.summarizeSession(input.sessionId)": session,
  "Mutation.summarizeSession(input.idempotencyKey)": key,
  "Mutation.updateMemory(input.userId)": user,
  "Mutation.updateMemory(input.memoryId)": memory,
  "Mutation.updateMemory(input.idempotencyKey)": key,
  "Subscription.memoryEvents(userId)": user,
  "Subscription.runAgent(input.agentId)": null,
  "Subscription.runAgent(input.userId)": user,
  "Subscription.runAgent(input.sessionId)": session,
  "Subscription.runAgent(input.idempotencyKey)": key,
  "Subscription.runEvents(userId)": user,
  "Subscription.runEvents(runId)": run,
  "Subscription.sessionEvents(userId)": user,
  "Subscription.sessionEvents(sessionId)": session,
  // Last, because Bob may.
  "Mutation.eraseUser(input.userId)": user,
  "Mutation.eraseUser(input.confirmUserId)": user,
};

/** Places of one page of a list: a number within the list of whoever asks. Tested by what the page holds. */
export const CURSORS: Record<string, keyof Theirs["cursors"] | "failed-learning"> = {
  "Query.failedMemoryUpdates(after)": "failed-learning",
  "Query.memories(after)": "memories",
  "Query.memories(before)": "memories",
  "Query.sessions(after)": "sessions",
  "Session.messages(after)": "messages",
  "Session.messages(before)": "messages",
  "Session.runs(after)": "runs",
};

/** Text that names nothing: it is stored, or looked for among the caller's own. */
export const PLAIN_TEXT = new Set([
  "Query.memories(filter.topics)",
  "Query.memories(filter.text)",
  "Query.searchMemories(query)",
  "Query.searchMemories(filter.topics)",
  "Query.searchMemories(filter.text)",
  "Query.sessions(filter.text)",
  "Mutation.addMemories(input.memories.memory)",
  "Mutation.addMemories(input.memories.topics)",
  "Mutation.addMemory(input.memory)",
  "Mutation.addMemory(input.topics)",
  // Its records are taken into the caller's account, whatever they name.
  "Mutation.importUser(input.document)",
  "Mutation.renameSession(input.name)",
  "Mutation.runAgent(input.message)",
  "Mutation.updateMemory(input.memory)",
  "Mutation.updateMemory(input.topics)",
  "Subscription.runAgent(input.message)",
]);

export function taken<T>(value: T | undefined): T {
  if (value === undefined) {
    throw new Error("Bob has no more of these. Give him PLENTY.");
  }
  return value;
}
