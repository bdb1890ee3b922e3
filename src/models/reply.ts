import type { ChatMessage, ChatPart } from "../agent/ports.ts";
import { estimateUsage } from "../agent/tokens.ts";
import type { TokenUsage } from "../agent/types.ts";
import { AppError } from "../errors.ts";
import type { Deadlines, Watch } from "./deadlines.ts";
import type { Dialect } from "./dialect.ts";
import { truncated } from "./model-fault.ts";
import { type Piece, ThinkFilter } from "./think-filter.ts";
import { readChunk } from "./wire.ts";

/** How long a server may take to report its count after the reply's end, in milliseconds. */
const LONGEST_FAREWELL = 2_000;
/** The longest reply that is taken, thinking included, in UTF-16 units. */
const LONGEST_REPLY = 1_000_000;

export interface ReplyOptions {
  messages: readonly ChatMessage[];
  /** The model that was asked. */
  model: string;
  dialect: Dialect;
  /** The server's, for messages. */
  address: string;
  watch: Watch;
  deadlines: Deadlines;
}

/**
 * Reads one streamed reply. Ends with `finish` only when the server said why it stopped and meant "done"; throws AppError,
 * or whatever the stream throws, in every other case. The caller has armed the watch for the first token.
 */
export async function* readReply(chunks: AsyncIterable<unknown>, options: ReplyOptions): AsyncGenerator<ChatPart, void> {
  const { watch, deadlines } = options;
  const reply = new Reply(options);
  try {
    for await (const chunk of chunks) {
      const parts = reply.add(chunk);
      if (reply.begun) {
        watch.disarm();
      }
      yield* parts;
      if (reply.finish === OVERLONG) {
        break;
      }
      if (reply.finish !== null) {
        watch.arm(Math.min(LONGEST_FAREWELL, deadlines.idle), "did not end its reply");
      } else if (reply.begun) {
        watch.arm(deadlines.idle, "sent nothing more");
      }
    }
  } catch (thrown) {
    if (reply.finish === null) {
      throw thrown;
    }
  }
  watch.disarm();
  // Once the finish reason is here nothing of the reply is missing: what goes wrong after it costs the server's count only.
  if (watch.stopped && (reply.finish === null || watch.stopped.code === "CANCELLED")) {
    throw watch.stopped;
  }
  yield* reply.end();
}

/** A reply as it comes in. */
class Reply {
  readonly #options: ReplyOptions;
  readonly #filter: ThinkFilter;
  #written = "";
  #hasText = false;
  #usage: TokenUsage | null = null;
  #model: string | null = null;
  /** The server's reason for stopping, or ours; null until there is one. */
  finish: string | null = null;

  constructor(options: ReplyOptions) {
    this.#options = options;
    this.#filter = new ThinkFilter(options.dialect.opensThinking);
  }

  /** Whether the model has written anything, shown or not. */
  get begun(): boolean {
    return this.#written !== "";
  }

  add(chunk: unknown): ChatPart[] {
    const said = readChunk(chunk);
    this.#model ??= said.model;
    this.#usage = said.usage ?? this.#usage;
    this.finish ??= said.finish;
    const room = LONGEST_REPLY - this.#written.length;
    const thought = said.reasoning.slice(0, room);
    const content = said.content.slice(0, room - thought.length);
    this.#written += thought + content;
    if (thought.length + content.length < said.reasoning.length + said.content.length) {
      this.finish = OVERLONG;
    }
    const reasoning: Piece[] = thought === "" ? [] : [{ type: "reasoning", text: thought }];
    return this.#parts([...reasoning, ...this.#filter.push(content)]);
  }

  /** The rest of the text and `finish`. Throws MODEL_BAD_RESPONSE when the reply is not complete, after its text. */
  *end(): Generator<ChatPart, void> {
    const isComplete = this.finish !== null && !SHORTFALLS.has(this.finish);
    yield* this.#parts(this.#filter.end(isComplete));
    this.#learn(isComplete);
    if (this.finish === null) {
      throw truncated(this.#options.address);
    }
    const shortfall = SHORTFALLS.get(this.finish) ?? (this.#hasText ? null : this.#nothing());
    if (shortfall !== null) {
      throw new AppError("MODEL_BAD_RESPONSE", shortfall);
    }
    const { messages, model } = this.#options;
    yield { type: "finish", usage: this.#usage ?? estimateUsage(messages, this.#written), model: this.#model ?? model };
  }

  #parts(pieces: Piece[]): ChatPart[] {
    return pieces.map(({ type, text }) => {
      this.#hasText ||= type === "text" && text.trim() !== "";
      return { type: `${type}-delta`, delta: text };
    });
  }

  #nothing(): string {
    return this.#written.trim() === ""
      ? "The model answered with nothing; its context may be too small for the prompt. Load it with a larger context length, or choose another model."
      : "The model only thought and gave no answer. Switch its thinking off, or choose another model.";
  }

  /** One reply without the tag of a model that used to send it leaves the question open. */
  #learn(isComplete: boolean): void {
    const { dialect } = this.#options;
    if (this.#filter.opened) {
      dialect.opensThinking = true;
    } else if (isComplete) {
      dialect.opensThinking = dialect.opensThinking === true ? null : false;
    }
  }
}

const CUT = "The reply was cut at the model's length limit. Ask for a shorter one, or load the model with a larger context length.";
const WITHHELD = "The model server withheld the reply (content filter). Put the message differently, or choose another model.";
const GAVE_UP = "The model server gave up in the middle of the reply. Try again; if it happens often, look at that server's log.";

const ENDLESS =
  "The model did not come to an end: its reply was stopped at a million characters. Send the message again, or choose another model.";

/** Our own reason for stopping. */
const OVERLONG = "recollect:overlong";

/** Reasons for stopping that mean the reply is not whole. */
const SHORTFALLS: ReadonlyMap<string, string> = new Map([
  ["length", CUT],
  ["max_tokens", CUT],
  ["content_filter", WITHHELD],
  ["error", GAVE_UP],
  ["abort", GAVE_UP],
  [OVERLONG, ENDLESS],
]);
