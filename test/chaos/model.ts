/** The scripted model server, and a record of what it was asked about whom. */

import { says } from "../support/model-answers.ts";
import { reply } from "../support/model-behaviour.ts";
import { lastUserText } from "../support/model-request.ts";
import { type ModelServer, startModelServer } from "../support/model-server.ts";
import { factsIn, usersIn } from "./facts.ts";

export interface RecordedModel {
  server: ModelServer;
  /** When (ms since 1970) the reply to the message with this fact was asked for. */
  repliesAsked: Map<string, number[]>;
  /** Prompts in which words of more than one user stood. */
  mixedPrompts: string[];
  close(): Promise<void>;
}

/** Milliseconds between two words of a reply, and in one to a message that asks for it slowly. */
const PAUSE = 8;
const SLOW_PAUSE = 250;
const LONGEST_REPLY = 24;

export async function startModel(): Promise<RecordedModel> {
  const server = await startModelServer();
  const repliesAsked = new Map<string, number[]>();
  const mixedPrompts: string[] = [];
  server.respond((request) => {
    // Thousands of prompts would otherwise stay in memory.
    server.requests.length = 0;
    const users = usersIn(request.prompt);
    if (users.length > 1) {
      mixedPrompts.push(`a ${request.purpose} prompt holds words of the users ${users.join(", ")}`);
    }
    if (request.purpose !== "reply") {
      return undefined;
    }
    const messages = request.body.messages ?? [];
    for (const fact of factsIn(lastUserText(messages))) {
      repliesAsked.set(fact, [...(repliesAsked.get(fact) ?? []), Date.now()]);
    }
    const words = reply(messages).split(" ");
    const text = [...words.slice(0, LONGEST_REPLY / 2), "…", ...words.slice(-LONGEST_REPLY / 2)].join(" ");
    return says(text, { pause: lastUserText(messages).includes("slowly") ? SLOW_PAUSE : PAUSE });
  });
  return { server, repliesAsked, mixedPrompts, close: () => server.close() };
}
