/** What the scripted model server can be told to answer, well behaved or not. */

/** A way to stop a model in the middle of what it does, and let it go on. */
export class Gate {
  /** Resolves when the request is held here. */
  readonly reached: Promise<void>;
  /** How many pieces of text are sent before the gate. */
  readonly after: number;
  readonly #passed: Promise<void>;
  #reach = () => {};
  #pass = () => {};

  constructor(after: number) {
    this.after = after;
    this.reached = new Promise((resolve) => {
      this.#reach = resolve;
    });
    this.#passed = new Promise((resolve) => {
      this.#pass = resolve;
    });
  }

  /** Lets the model go on; does no harm when called twice or early. */
  release(): void {
    this.#pass();
  }

  /** For the server: waits here. */
  async wait(): Promise<void> {
    this.#reach();
    await this.#passed;
  }
}

/** A chat answer. It is streamed in pieces when the request asks for a stream, else sent whole. */
export interface Speech {
  kind: "speech";
  text: string;
  /** The pieces to stream; by default the text word by word. */
  pieces?: string[];
  /** Milliseconds before each piece. */
  pause?: number;
  reasoning?: string;
  /** The field that carries `reasoning`; default reasoning_content. */
  reasoningField?: "reasoning_content" | "reasoning";
  /** Default "stop". Null: the connection is closed in good order, but no reason is ever given. */
  finish?: string | null;
  /** False: the server never counts tokens, whatever the request asks for. */
  usage?: boolean;
  /** The model's name as reported; by default the requested one. Null: not reported. */
  model?: string | null;
  /** Once so many pieces are sent: destroy the connection, or send nothing more until it is closed. */
  cutAfter?: number;
  hangAfter?: number;
}

/** Bytes sent as they are. */
export interface Raw {
  kind: "raw";
  status: number;
  headers: Record<string, string>;
  body: string;
  /** After the body: destroy the connection, or leave it open, instead of ending in good order. */
  ending: "clean" | "cut" | "open";
}

/** No byte is sent until the client gives up. */
export interface Silence {
  kind: "silence";
}

export type Answer = Speech | Raw | Silence;

/** Says `text`, with whatever is to be odd about it. */
export function says(text: string, oddities: Omit<Partial<Speech>, "kind" | "text"> = {}): Speech {
  return { kind: "speech", text, ...oddities };
}

/** Answers with a value as JSON. */
export function saysJson(value: unknown, oddities: Omit<Partial<Speech>, "kind" | "text"> = {}): Speech {
  return says(JSON.stringify(value), oddities);
}

/** Answers with a status. A body that is not text is sent as JSON: `{ error: "…" }`, `{ error: { message, code } }` or flat. */
export function fails(
  status: number,
  body: unknown = { error: { message: "scripted failure" } },
  headers: Record<string, string> = {},
): Raw {
  const isText = typeof body === "string";
  return {
    kind: "raw",
    status,
    headers: { "content-type": isText ? "text/plain" : "application/json", ...headers },
    body: isText ? body : JSON.stringify(body),
    ending: "clean",
  };
}

/** Sends `body` as a stream of events with status 200; see `event` for its lines. */
export function streams(body: string, ending: Raw["ending"] = "clean"): Raw {
  return { kind: "raw", status: 200, headers: { "content-type": "text/event-stream" }, body, ending };
}

/** Sends a body of another type with status 200. */
export function sends(type: string, body: string): Raw {
  return { kind: "raw", status: 200, headers: { "content-type": type }, body, ending: "clean" };
}

/** Never answers. */
export function hangs(): Silence {
  return { kind: "silence" };
}

/** One server-sent event. */
export function event(data: unknown): string {
  return `data: ${typeof data === "string" ? data : JSON.stringify(data)}\n\n`;
}

/** One chunk of a streamed completion. `choice` null: a chunk without choices, as the one that carries the usage. */
export function chunk(
  choice: { delta?: Record<string, unknown>; finish_reason?: string | null } | null,
  more: Record<string, unknown> = {},
): unknown {
  const choices = choice === null ? [] : [{ index: 0, finish_reason: null, ...choice }];
  return { id: "chatcmpl-1", object: "chat.completion.chunk", created: 0, choices, ...more };
}

/** The events of a speech as a stream, in order: text pieces apart from what comes before and after them. */
export function speechEvents(
  speech: Speech,
  model: string,
  usage: object | null,
  extras: object = {},
): { before: string[]; pieces: string[]; after: string[] } {
  const named = speech.model === null ? {} : { model: speech.model ?? model };
  const part = (delta: Record<string, unknown>) => event(chunk({ delta }, named));
  const finish = speech.finish === undefined ? "stop" : speech.finish;
  const reasoning = words(speech.reasoning ?? "").map((word) => part({ [speech.reasoningField ?? "reasoning_content"]: word }));
  const after = [];
  if (finish !== null) {
    after.push(event(chunk({ delta: {}, finish_reason: finish }, named)));
    if (usage !== null && speech.usage !== false) {
      after.push(event(chunk(null, { ...named, usage, ...extras })));
    }
    after.push(event("[DONE]"));
  }
  return {
    before: [part({ role: "assistant", content: "" }), ...reasoning],
    pieces: (speech.pieces ?? words(speech.text)).map((content) => part({ content })),
    after,
  };
}

/** A speech as a whole completion. */
export function speechBody(speech: Speech, model: string, usage: object | null): Record<string, unknown> {
  const reasoning = speech.reasoning === undefined ? {} : { [speech.reasoningField ?? "reasoning_content"]: speech.reasoning };
  return {
    id: "chatcmpl-1",
    object: "chat.completion",
    created: 0,
    ...(speech.model === null ? {} : { model: speech.model ?? model }),
    choices: [{ index: 0, message: { role: "assistant", content: speech.text, ...reasoning }, finish_reason: speech.finish ?? "stop" }],
    ...(usage !== null && speech.usage !== false ? { usage } : {}),
  };
}

/** A text cut before each of its words, nothing lost. */
function words(text: string): string[] {
  return text.match(/\s*\S+|\s+$/g) ?? [];
}
