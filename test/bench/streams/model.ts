/**
 * A model server whose every token is the moment it was sent, in milliseconds. The user's message says how many tokens, and how many
 * a second: `tokens=500 rate=50`; a rate of 0 is as fast as they are taken. `together=200` waits until so many have asked.
 */

import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

interface ChatBody {
  messages: { content: string }[];
  stream?: boolean;
}

const server = createServer(async (request, response) => {
  const chunks: Buffer[] = [];
  for await (const chunk of request) {
    chunks.push(chunk as Buffer);
  }
  if (chunks.length === 0) {
    response
      .setHeader("content-type", "application/json")
      .end(JSON.stringify({ object: "list", data: [{ id: "bench", object: "model" }] }));
    return;
  }
  const body = JSON.parse(Buffer.concat(chunks).toString()) as ChatBody;
  const [, tokens, rate, together] = /tokens=(\d+) rate=(\d+) together=(\d+)/.exec(body.messages.at(-1)?.content ?? "") ?? [];
  await others(Number(together ?? 1));
  await stream(response, Number(tokens ?? 1), Number(rate ?? 0));
});

let gathered: (() => void)[] = [];

/** Waits for the others, so that none of them is accepted while the first are written already. */
async function others(together: number): Promise<void> {
  await new Promise<void>((resolve) => {
    gathered.push(resolve);
    if (gathered.length >= together) {
      for (const go of gathered) {
        go();
      }
      gathered = [];
    }
  });
}

async function stream(response: ServerResponse, tokens: number, rate: number): Promise<void> {
  response.writeHead(200, { "content-type": "text/event-stream" });
  const begun = performance.now();
  for (let token = 0; token < tokens && !response.destroyed; token++) {
    const early = rate === 0 ? 0 : begun + (token * 1_000) / rate - performance.now();
    if (early > 0) {
      await sleep(early);
    }
    if (!send(response, { delta: { content: `${Date.now()} ` }, finish_reason: null }) && rate === 0) {
      await Promise.race([once(response, "drain"), once(response, "close")]);
    }
  }
  send(response, { delta: {}, finish_reason: "stop" });
  response.end("data: [DONE]\n\n");
}

function send(response: ServerResponse, choice: object): boolean {
  return response.write(
    `data: ${JSON.stringify({ id: "1", object: "chat.completion.chunk", model: "bench", choices: [{ index: 0, ...choice }] })}\n\n`,
  );
}

server.listen(0, "127.0.0.1", () => {
  const address = server.address();
  process.stdout.write(`http://127.0.0.1:${typeof address === "object" ? address?.port : ""}\n`);
});
