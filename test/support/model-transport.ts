import type { IncomingMessage, ServerResponse } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { type Answer, type Gate, type Raw, type Speech, speechBody, speechEvents } from "./model-answers.ts";
import { purposeOf, type RecordedRequest, type RequestBody } from "./model-request.ts";

/** What an answer is sent with. */
export interface Delivery {
  gate: Gate | null;
  request: RecordedRequest;
  response: ServerResponse;
  /** The name the server gives its model. */
  model: string;
  /** Whether the count comes with figures of the server's own. */
  timings: boolean;
}

/** Responses whose connection we broke: their clients did not leave. */
const brokenByUs = new WeakSet<ServerResponse>();

/** Reads a request and watches for its end; null when the client left before its body was complete. */
export async function receive(incoming: IncomingMessage, response: ServerResponse): Promise<RecordedRequest | null> {
  const body = await readBody(incoming);
  if (body === null) {
    return null;
  }
  const path = incoming.url ?? "";
  const request: RecordedRequest = {
    method: incoming.method ?? "",
    path,
    headers: incoming.headers,
    body,
    purpose: purposeOf(path, body),
    prompt: (body.messages ?? []).map((message) => message.content).join("\n"),
    aborted: false,
    closed: Promise.resolve(),
  };
  request.closed = new Promise((resolve) => {
    response.once("close", () => {
      request.aborted = !response.writableFinished && !brokenByUs.has(response);
      resolve();
    });
  });
  return request;
}

/** Sends an answer as it is described, to its end or until the client leaves. */
export async function send(answer: Answer, delivery: Delivery): Promise<void> {
  switch (answer.kind) {
    case "silence":
      return delivery.request.closed;
    case "raw":
      return sendRaw(answer, delivery);
    case "speech":
      return delivery.request.body.stream === true ? stream(answer, delivery) : sendWhole(answer, delivery);
  }
}

async function readBody(incoming: IncomingMessage): Promise<RequestBody | null> {
  const parts: Buffer[] = [];
  try {
    for await (const part of incoming) {
      parts.push(part as Buffer);
    }
  } catch {
    return null;
  }
  const text = Buffer.concat(parts).toString();
  return text === "" ? {} : (JSON.parse(text) as RequestBody);
}

async function sendRaw(raw: Raw, { gate, request, response }: Delivery): Promise<void> {
  await gate?.wait();
  response.writeHead(raw.status, raw.headers);
  if (raw.ending === "clean") {
    response.end(raw.body);
    return;
  }
  response.flushHeaders();
  await write(response, raw.body);
  await (raw.ending === "cut" ? cut(response) : request.closed);
}

async function sendWhole(speech: Speech, { gate, request, response, model }: Delivery): Promise<void> {
  await gate?.wait();
  response.writeHead(200, { "content-type": "application/json" });
  response.end(JSON.stringify(speechBody(speech, model, usageOf(speech, request))));
}

async function stream(speech: Speech, { gate, request, response, model, timings }: Delivery): Promise<void> {
  const usage = request.body.stream_options?.include_usage === true ? usageOf(speech, request) : null;
  const { before, pieces, after } = speechEvents(
    speech,
    model,
    usage,
    timings ? { timings: { prompt_n: 1, predicted_per_second: 42.5 } } : {},
  );
  const pass = async (sent: number) => {
    if (gate?.after === sent) {
      await gate.wait();
    }
    if (speech.cutAfter === sent) {
      cut(response);
    }
    if (speech.hangAfter === sent) {
      await request.closed;
    }
  };
  if (gate?.after === 0) {
    await gate.wait();
  }
  response.writeHead(200, { "content-type": "text/event-stream" });
  for (const event of before) {
    await write(response, event);
  }
  for (const [index, piece] of pieces.entries()) {
    await pass(index);
    if (speech.pause) {
      await sleep(speech.pause);
    }
    await write(response, piece);
  }
  await pass(pieces.length);
  for (const event of after) {
    await write(response, event);
  }
  response.end();
}

/** Resolves once the data has left, or cannot leave any more. */
async function write(response: ServerResponse, data: string): Promise<void> {
  if (!response.destroyed) {
    await new Promise<void>((resolve) => response.write(data, () => resolve()));
  }
}

function cut(response: ServerResponse): void {
  brokenByUs.add(response);
  response.socket?.destroy();
}

/** A word counts as a token. */
function usageOf(speech: Speech, request: RecordedRequest): object {
  const [input, output] = [countWords(request.prompt), countWords(`${speech.reasoning ?? ""} ${speech.text}`)];
  return { prompt_tokens: input, completion_tokens: output, total_tokens: input + output };
}

function countWords(text: string): number {
  return text.split(/\s+/).filter((word) => word !== "").length;
}
