/** The agents this server offers. User and session come with each request, never from here. */

import { AppError } from "../errors.ts";

export interface AgentDefinition {
  /** Its name in requests and REST addresses. */
  agentId: string;
  /** Its name for people. */
  name: string;
  /** What it is good for, in a sentence. */
  description: string;
  /** The start of every prompt. */
  instructions: string;
  /** Model of its replies; null: CHAT_MODEL, or the first one the server lists. */
  model: string | null;
  /** Names of the tools it may call. */
  tools: string[];
  /** Whether it recalls and learns. */
  remembers: boolean;
  /** Whether it keeps a summary of each session. */
  summarizes: boolean;
  /** A summary is brought up to date every so many finished turns. */
  summarizeEvery: number;
  /** Room for the whole prompt, for memories in it, and the most turns of history, the first two in tokens. */
  promptTokens: number;
  memoryTokens: number;
  historyTurns: number;
}

const RAG_AGENT: AgentDefinition = {
  agentId: "rag-agent",
  name: "RAG Agent",
  description: "Answers from what it remembers of the user and from documents.",
  instructions:
    "You are a helpful assistant who remembers the user. Answer the last message, briefly and plainly, in its language. " +
    "Use what is known about the user where it helps; never invent facts about them. When you do not know, say so.",
  model: null,
  tools: [],
  remembers: true,
  summarizes: true,
  summarizeEvery: 3,
  promptTokens: 3_000,
  memoryTokens: 1_200,
  historyTurns: 20,
};

export const AGENTS: readonly AgentDefinition[] = [RAG_AGENT];

/** The agents by id. */
export class AgentRegistry {
  readonly #agents: ReadonlyMap<string, AgentDefinition>;

  constructor(agents: readonly AgentDefinition[]) {
    this.#agents = new Map(agents.map((agent) => [agent.agentId, agent]));
  }

  all(): AgentDefinition[] {
    return [...this.#agents.values()];
  }

  find(agentId: string): AgentDefinition | null {
    return this.#agents.get(agentId) ?? null;
  }

  /** Throws NOT_FOUND with the names there are. */
  get(agentId: string): AgentDefinition {
    const agent = this.#agents.get(agentId);
    if (!agent) {
      const names = [...this.#agents.keys()].join(", ");
      throw new AppError("NOT_FOUND", `There is no agent of that name. This server offers: ${names}.`);
    }
    return agent;
  }
}
