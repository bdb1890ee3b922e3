/** `recollect memories`: what is remembered about a user, to list, find, write and delete. */

import { type Connection, type Listed, Problem } from "./connection.ts";
import { print, printJson, tags } from "./output.ts";

const FIELDS = "memoryId memory topics origin status pinned updatedAt";
const PAGE = 100;

interface ShownMemory {
  memoryId: string;
  memory: string;
  topics: string[];
  origin: string;
  status: string;
  pinned: boolean;
}

interface Json {
  json?: boolean;
}

export async function listMemories(connection: Connection, options: Json & { topic?: string[]; text?: string }): Promise<void> {
  const filter = { ...(options.topic && { topics: options.topic }), ...(options.text !== undefined && { text: options.text }) };
  const query = `query ($userId: ID, $filter: MemoryFilter, $after: String) { memories(userId: $userId, filter: $filter, first: ${PAGE}, after: $after) {
    edges { node { ${FIELDS} } } pageInfo { hasNextPage endCursor } } }`;
  const found = await connection.all(
    query,
    { userId: connection.target.user, filter },
    ({ memories }: { memories: Listed<ShownMemory> }) => memories,
  );
  show(found, options);
}

export async function searchMemories(connection: Connection, query: string, options: Json): Promise<void> {
  const { searchMemories: found } = await connection.request<{ searchMemories: { score: number; why: string; memory: ShownMemory }[] }>(
    `query ($userId: ID, $query: String!) { searchMemories(userId: $userId, query: $query) { score why memory { ${FIELDS} } } }`,
    { userId: connection.target.user, query },
  );
  if (options.json) {
    printJson(found);
    return;
  }
  for (const { score, why, memory } of found) {
    print(`${score.toFixed(2)}  ${lineOf(memory)}  (${why})`);
  }
  print(`${found.length} found`);
}

export async function addMemory(connection: Connection, memory: string, options: Json & { topic?: string[] }): Promise<void> {
  const input = { memory, topics: options.topic ?? [], userId: connection.target.user };
  const { addMemory: added } = await connection.request<{ addMemory: { memory: ShownMemory; change: { kind: string } | null } }>(
    `mutation ($input: AddMemoryInput!) { addMemory(input: $input) { memory { ${FIELDS} } change { kind } } }`,
    { input },
  );
  options.json ? printJson(added) : print(`${added.change?.kind.toLowerCase() ?? "there already"}: ${lineOf(added.memory)}`);
}

export async function deleteMemory(connection: Connection, memoryId: string, options: Json): Promise<void> {
  const input = { memoryId, userId: connection.target.user };
  const { deleteMemory: deleted } = await connection.request<{ deleteMemory: { memory: ShownMemory } }>(
    `mutation ($input: DeleteMemoryInput!) { deleteMemory(input: $input) { memory { ${FIELDS} } } }`,
    { input },
  );
  options.json ? printJson(deleted) : print(`deleted: ${lineOf(deleted.memory)}`);
}

/** One memory with the user's words it rests on, and its history. */
export async function showMemory(connection: Connection, memoryId: string, options: Json): Promise<void> {
  const { memory } = await connection.request<{ memory: DetailedMemory | null }>(
    `query ($userId: ID, $memoryId: ID!) { memory(userId: $userId, memoryId: $memoryId) {
      ${FIELDS} evidence { quote saidAt } history { kind at before { memory } after { memory } } } }`,
    { userId: connection.target.user, memoryId },
  );
  if (!memory) {
    throw new Problem("There is no memory with this id. Look it up with: recollect memories list", "NOT_FOUND");
  }
  if (options.json) {
    printJson(memory);
    return;
  }
  print(lineOf(memory));
  for (const { quote, saidAt } of memory.evidence) {
    print(`  said ${saidAt}: “${quote}”`);
  }
  for (const { kind, at, before, after } of memory.history) {
    print(`  ${at} ${kind.toLowerCase()}${before && before.memory !== after?.memory ? `, before: ${before.memory}` : ""}`);
  }
}

interface DetailedMemory extends ShownMemory {
  evidence: { quote: string; saidAt: string }[];
  history: { kind: string; at: string; before: { memory: string } | null; after: { memory: string } | null }[];
}

function show(found: ShownMemory[], { json }: Json): void {
  if (json) {
    printJson(found);
    return;
  }
  for (const memory of found) {
    print(lineOf(memory));
  }
  print(`${found.length} in all`);
}

function lineOf({ memoryId, memory, topics, origin, pinned }: ShownMemory): string {
  return `${memoryId}  ${memory}  ${tags(topics)} ${origin.toLowerCase()}${pinned ? ", pinned" : ""}`;
}
