/** `recollect chat`: talks to an agent in the terminal, and shows memories as they are made. */

import { createInterface } from "node:readline/promises";
import { text } from "node:stream/consumers";
import { type Connection, Problem } from "./connection.ts";
import { note, printJson } from "./output.ts";
import { type ShownEvent, say, showEvent } from "./talk.ts";

export interface ChatOptions {
  session?: string;
  agent?: string;
  json?: boolean;
}

/** One message and its reply when there is one; else a conversation, until its input ends. */
export async function chat(connection: Connection, words: string[], options: ChatOptions): Promise<void> {
  const message = words.length > 0 ? words.join(" ") : process.stdin.isTTY ? null : (await text(process.stdin)).trim();
  if (message === "") {
    throw new Problem("Say something: recollect chat 'I love hiking.', or a text on standard input.");
  }
  const talk = new Talk(connection, options);
  if (message !== null) {
    await talk.send(message);
  } else {
    await converse(talk);
  }
}

async function converse(talk: Talk): Promise<void> {
  note("Ctrl-C stops a reply, Ctrl-D ends the conversation.");
  const lines = createInterface({ input: process.stdin, output: process.stdout });
  lines.on("SIGINT", () => talk.stop() || lines.close());
  try {
    for (;;) {
      const line = await lines.question("> ").catch(() => null);
      if (line === null) {
        break;
      }
      if (line.trim() !== "") {
        await talk.send(line).catch((error: unknown) => {
          if (!(error instanceof Problem)) {
            throw error;
          }
          note(error.message);
        });
      }
    }
  } finally {
    lines.close();
  }
}

class Talk {
  readonly #connection: Connection;
  readonly #options: ChatOptions;
  #sessionId: string | null;
  #runId: string | null = null;

  constructor(connection: Connection, options: ChatOptions) {
    this.#connection = connection;
    this.#options = options;
    this.#sessionId = options.session ?? null;
  }

  async send(message: string): Promise<void> {
    const events: ShownEvent[] = [];
    const show = (event: ShownEvent): void => {
      this.#runId = event.runId;
      this.#options.json ? events.push(event) : showEvent(event);
    };
    const stop = (): void => void this.stop();
    process.on("SIGINT", stop);
    try {
      const { agent } = this.#options;
      const said = { userId: this.#connection.target.user, sessionId: this.#sessionId, message, agentId: agent };
      const { sessionId } = await say(this.#connection, said, show);
      this.#sessionId = sessionId;
    } finally {
      process.removeListener("SIGINT", stop);
      this.#runId = null;
      if (this.#options.json) {
        printJson({ sessionId: this.#sessionId, reply: events.map((event) => event.delta ?? "").join(""), events });
      }
    }
  }

  /** Stops the reply under way; false when there is none. What was written is kept, and the stream ends by itself. */
  stop(): boolean {
    const runId = this.#runId;
    if (runId === null) {
      return false;
    }
    const input = { runId, ...(this.#connection.target.user !== null && { userId: this.#connection.target.user }) };
    this.#connection
      .request("mutation ($input: CancelRunInput!) { cancelRun(input: $input) { run { id } } }", { input })
      .catch((error: unknown) => note(error instanceof Error ? error.message : String(error)));
    return true;
  }
}
