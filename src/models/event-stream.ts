import { AppError } from "../errors.ts";

/** The longest line, and the longest body, that is read from a model server, in bytes. */
export const MAX_LINE_BYTES = 8 * 1024 * 1024;
export const MAX_BODY_BYTES = 64 * 1024 * 1024;

const LINE_END = /\r\n|\n|\r/g;
const DONE = "[DONE]";

/**
 * The events of a stream of Server-Sent Events, each read as JSON; the sign that there are no more is left out. Throws what
 * reading the body throws, SyntaxError for an event that is no JSON, and MODEL_BAD_RESPONSE when there is more than a reply
 * can hold. Reads no further than it is asked, and lets go of the body when it is left early.
 */
export async function* readEvents(body: ReadableStream<Uint8Array>): AsyncGenerator<unknown, void> {
  const reader = body.getReader();
  const lines = new Lines();
  let data: string[] = [];
  try {
    for (let { done, value } = await reader.read(); !done; { done, value } = await reader.read()) {
      for (const line of lines.add(value)) {
        const field = readData(line);
        if (field !== null) {
          data.push(field);
        } else if (line === "" && data.length > 0) {
          const event = data.join("\n");
          data = [];
          if (event !== DONE) {
            yield JSON.parse(event);
          }
        }
      }
    }
    const rest = readData(lines.rest);
    const last = rest === null ? data : [...data, rest];
    const event = last.length > 0 ? whole(last.join("\n")) : undefined;
    if (event !== undefined) {
      yield event;
    }
  } finally {
    // Does nothing to a body that was read to its end.
    reader.cancel().catch(() => undefined);
  }
}

/** An event after which the empty line is missing; undefined when something of the event is missing too, or there is none. */
function whole(event: string): unknown {
  try {
    return JSON.parse(event);
  } catch {
    return undefined;
  }
}

/** What a line adds to an event's data; null for a line that adds nothing. */
function readData(line: string): string | null {
  if (!line.startsWith("data:")) {
    return null;
  }
  return line[5] === " " ? line.slice(6) : line.slice(5);
}

/** Bytes into lines, however the bytes are cut. */
class Lines {
  readonly #decoder = new TextDecoder();
  #bytes = 0;
  /** What no line end has come after yet. */
  rest = "";

  /** The lines that these bytes complete. */
  add(bytes: Uint8Array | undefined): string[] {
    this.#bytes += bytes?.length ?? 0;
    let text = this.rest + this.#decoder.decode(bytes, { stream: true });
    // A carriage return at the end may be half of a line's end.
    const waits = text.endsWith("\r");
    text = waits ? text.slice(0, -1) : text;
    const lines = text.split(LINE_END);
    const rest = (lines.pop() ?? "") + (waits ? "\r" : "");
    if (rest.length > MAX_LINE_BYTES || this.#bytes > MAX_BODY_BYTES) {
      throw tooMuch();
    }
    this.rest = rest;
    return lines;
  }
}

export function tooMuch(): AppError {
  return new AppError(
    "MODEL_BAD_RESPONSE",
    "The model server sent more than a reply can hold. Look at its log, and whether OPENAI_BASE_URL names a model server.",
  );
}
