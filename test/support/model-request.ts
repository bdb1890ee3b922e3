import type { IncomingHttpHeaders } from "node:http";

/** What a request is for: a streamed reply, facts of a message, a session's summary, another answer in JSON, or not a chat at all. */
export type Purpose = "reply" | "extraction" | "summary" | "answer" | "models" | "embeddings" | "other";

export interface RequestMessage {
  role: string;
  content: string;
}

/** The parts of a request's body that tests look at. */
export interface RequestBody {
  model?: string;
  messages?: RequestMessage[];
  stream?: boolean;
  stream_options?: { include_usage?: boolean };
  response_format?: { type?: string; json_schema?: { name?: string; schema?: unknown; strict?: boolean } };
  temperature?: number;
  max_tokens?: number;
  tools?: unknown[];
  input?: string | string[];
  encoding_format?: string;
}

/** A request the model server was sent, kept for the test to look at. */
export interface RecordedRequest {
  method: string;
  path: string;
  headers: IncomingHttpHeaders;
  body: RequestBody;
  purpose: Purpose;
  /** All messages as one text. */
  prompt: string;
  /** True when the client left before the answer was complete; settled once `closed` is. */
  aborted: boolean;
  /** Resolves when the answer is complete or the client has left. */
  closed: Promise<void>;
}

/**
 * The purpose of a chat request, by the name of its schema: "facts" and "session_summary". A request without one that is
 * not streamed is the fallback for servers without schemas, which names the schema in its last message.
 */
export function purposeOf(path: string, body: RequestBody): Purpose {
  if (path.endsWith("/models")) {
    return "models";
  }
  if (path.endsWith("/embeddings")) {
    return "embeddings";
  }
  if (!path.endsWith("/chat/completions")) {
    return "other";
  }
  if (body.stream === true) {
    return "reply";
  }
  const name = body.response_format?.json_schema?.name ?? /schema "(\w+)"/.exec(lastUserText(body.messages ?? []))?.[1];
  return name === "facts" ? "extraction" : name === "session_summary" ? "summary" : "answer";
}

/** The last thing said in the role of the user; "" when there is none. */
export function lastUserText(messages: RequestMessage[]): string {
  return messages.findLast((message) => message.role === "user")?.content ?? "";
}
