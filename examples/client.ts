/** A typed client. With a server running: npm run codegen && node scripts/run.mjs examples/client.ts */

import type { TypedDocumentNode } from "@graphql-typed-document-node/core";
import { print } from "graphql";
import { createClient } from "graphql-ws";
import { AddMemoryDocument, MemoriesByTopicDocument, SendMessageDocument } from "./generated/graphql.ts";

const url = process.argv[2] ?? "http://localhost:7777/graphql";
const userId = process.argv[3] ?? "alice@example.com";

/** A query or a mutation. Throws the first error. */
async function request<Data, Variables>(document: TypedDocumentNode<Data, Variables>, variables: Variables): Promise<Data> {
  const response = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ query: print(document), variables }),
  });
  const { data, errors } = (await response.json()) as { data?: Data; errors?: { message: string }[] };
  if (!data || errors) {
    throw new Error(errors?.[0]?.message ?? "The server sent no data.");
  }
  return data;
}

const socket = createClient({ url: url.replace(/^http/, "ws"), shouldRetry: () => true });

/** A subscription. A dropped socket comes back to the same run and shows it from the start: what was seen is left out. */
async function* follow<Data extends { runAgent: { sequence: number } }, Variables extends Record<string, unknown>>(
  document: TypedDocumentNode<Data, Variables>,
  variables: Variables,
): AsyncGenerator<Data["runAgent"]> {
  let last = 0;
  for await (const { data, errors } of socket.iterate<Data>({ query: print(document), variables })) {
    if (!data || errors) {
      throw new Error(errors?.[0]?.message ?? "The server sent no data.");
    }
    if (data.runAgent.sequence > last) {
      last = data.runAgent.sequence;
      yield data.runAgent;
    }
  }
}

const { addMemory } = await request(AddMemoryDocument, {
  input: { userId, memory: "User prefers dark mode", topics: ["preferences", "ui"] },
});
console.log(`Noted: ${addMemory.memory.memory}`);

for await (const event of follow(SendMessageDocument, { input: { userId, message: "I love hiking." }, until: "MEMORY" })) {
  if (event.__typename === "TextMessageContent") process.stdout.write(event.delta);
  if (event.__typename === "RunError") throw new Error(event.error.message);
  if (event.__typename === "MemoryUpdate") console.log(`\nLearned: ${event.changes.map((change) => change.memory?.memory).join("; ")}`);
}

const { memories } = await request(MemoriesByTopicDocument, { userId, topics: ["hobbies"] });
console.log(`Hobbies: ${memories.edges.map(({ node }) => node.memory).join("; ")}`);
await socket.dispose();
