/**
 * The least a server can do for one turn: node:http and pg by hand. It stores the message, reads the history and the memories,
 * streams the reply, stores it, asks for facts and stores them. No isolation, no events, no resume, no retries: the floor to compare with.
 */

import { createServer } from "node:http";
import { Pool } from "pg";

const [databaseUrl = "", modelUrl = ""] = process.argv.slice(2);
const pool = new Pool({ connectionString: databaseUrl, max: 10 });
await pool.query(`create table if not exists bare_messages
  (id bigint generated always as identity primary key, user_id text, session_id text, role text, content text)`);
await pool.query("create index if not exists bare_messages_session on bare_messages (user_id, session_id, id)");
await pool.query(
  "create table if not exists bare_memories (id bigint generated always as identity primary key, user_id text, memory text, topics jsonb)",
);
await pool.query("create index if not exists bare_memories_user on bare_memories (user_id)");

const server = createServer(async (request, response) => {
  const chunks: Buffer[] = [];
  for await (const chunk of request) {
    chunks.push(chunk as Buffer);
  }
  const { userId, sessionId, message } = JSON.parse(Buffer.concat(chunks).toString()) as Record<string, string>;
  const { rows } = await pool.query(
    `with said as (insert into bare_messages (user_id, session_id, role, content) values ($1, $2, 'user', $3))
    select (select json_agg(m) from (select role, content from bare_messages where user_id = $1 and session_id = $2 order by id desc limit 20) m) as history,
      (select json_agg(memory) from (select memory from bare_memories where user_id = $1 order by id desc limit 50) m) as memories`,
    [userId, sessionId, message],
  );
  const system = { role: "system", content: `You are a helpful assistant. You know: ${(rows[0]?.memories ?? []).join("; ")}` };
  const messages = [system, ...(rows[0]?.history ?? []).reverse(), { role: "user", content: message }];
  const reply = await streamed(messages);
  await pool.query("insert into bare_messages (user_id, session_id, role, content) values ($1, $2, 'assistant', $3)", [
    userId,
    sessionId,
    reply,
  ]);
  const facts = await extracted(message ?? "");
  for (const fact of facts) {
    await pool.query("insert into bare_memories (user_id, memory, topics) values ($1, $2, $3)", [
      userId,
      fact.text,
      JSON.stringify(fact.topics),
    ]);
  }
  response.setHeader("content-type", "application/json").end(JSON.stringify({ reply }));
});

async function streamed(messages: object[]): Promise<string> {
  const response = await ask({ stream: true, messages });
  let reply = "";
  for (const line of (await response.text()).split("\n")) {
    if (line.startsWith("data: {")) {
      const chunk = JSON.parse(line.slice(6)) as { choices: { delta: { content?: string } }[] };
      reply += chunk.choices[0]?.delta.content ?? "";
    }
  }
  return reply;
}

async function extracted(message: string): Promise<{ text: string; topics: string[] }[]> {
  const messages = [
    { role: "system", content: "List the lasting facts the user states." },
    { role: "user", content: message },
  ];
  const response = await ask({ messages, response_format: { type: "json_schema", json_schema: { name: "facts" } } });
  const { choices } = (await response.json()) as { choices: { message: { content: string } }[] };
  return (JSON.parse(choices[0]?.message.content ?? "{}") as { facts: { text: string; topics: string[] }[] }).facts;
}

function ask(body: object): Promise<Response> {
  return fetch(`${modelUrl}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
}

server.listen(0, "127.0.0.1", () => {
  const address = server.address();
  process.stdout.write(`http://127.0.0.1:${typeof address === "object" ? address?.port : ""}\n`);
});
