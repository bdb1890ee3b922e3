/**
 * A model server that takes no time to think: 20 tokens for a reply, one fact for a message. A process of its own, so that its
 * work is not counted as the server's. `GET /stats` says what it was asked since the last `POST /stats`.
 */

import { createServer, type ServerResponse } from "node:http";
import { estimateTokens } from "../../src/agent/tokens.ts";

const REPLY = Array.from({ length: 20 }, (_, index) => `word${index} `);

interface ChatBody {
  messages: { role: string; content: string }[];
  stream?: boolean;
  response_format?: { json_schema?: { name: string } };
}

let stats = { replies: 0, extractions: 0, summaries: 0, replyTokens: 0, extractionTokens: 0 };

const server = createServer(async (request, response) => {
  const chunks: Buffer[] = [];
  for await (const chunk of request) {
    chunks.push(chunk as Buffer);
  }
  if (request.url === "/stats") {
    const answer = JSON.stringify(stats);
    if (request.method === "POST") {
      stats = { replies: 0, extractions: 0, summaries: 0, replyTokens: 0, extractionTokens: 0 };
    }
    response.setHeader("content-type", "application/json").end(answer);
    return;
  }
  const body = JSON.parse(Buffer.concat(chunks).toString()) as ChatBody;
  const tokens = body.messages.reduce((sum, message) => sum + estimateTokens(message.content), 0);
  if (body.stream) {
    stats.replies++;
    stats.replyTokens += tokens;
    streamReply(response);
    return;
  }
  if (body.response_format?.json_schema?.name === "session_summary") {
    stats.summaries++;
    answer(response, { summary: "They talked.", topics: ["talk"] });
    return;
  }
  stats.extractions++;
  stats.extractionTokens += tokens;
  const fact = /I like (thing\w+)/.exec(body.messages.at(-1)?.content ?? "");
  const quote = fact?.[0] ?? "";
  const text = `User likes ${fact?.[1]}`;
  answer(response, {
    facts: fact
      ? [{ text, quote, topics: ["things"], subject: "user", kind: "preference", slot: "", lasting: "stable", date: "", replaces: 0 }]
      : [],
  });
});

function streamReply(response: ServerResponse): void {
  response.writeHead(200, { "content-type": "text/event-stream" });
  for (const content of REPLY) {
    send(response, { choices: [{ index: 0, delta: { content }, finish_reason: null }] });
  }
  send(response, { choices: [{ index: 0, delta: {}, finish_reason: "stop" }] });
  response.end("data: [DONE]\n\n");
}

function send(response: ServerResponse, chunk: object): void {
  response.write(`data: ${JSON.stringify({ id: "1", object: "chat.completion.chunk", model: "bench", ...chunk })}\n\n`);
}

function answer(response: ServerResponse, value: object): void {
  const message = { role: "assistant", content: JSON.stringify(value) };
  response.setHeader("content-type", "application/json");
  response.end(JSON.stringify({ id: "1", model: "bench", choices: [{ index: 0, message, finish_reason: "stop" }] }));
}

server.listen(0, "127.0.0.1", () => {
  const address = server.address();
  process.stdout.write(`http://127.0.0.1:${typeof address === "object" ? address?.port : ""}\n`);
});
