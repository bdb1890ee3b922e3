/** The job that follows every message worth it: find its facts, and store what they do to the memories. */

import type { AgentRegistry } from "./agents.ts";
import { extractFacts } from "./extract.ts";
import type { ChatModel, EventLog, JobStore, Log, MemoryStore } from "./ports.ts";
import { resolve } from "./resolve.ts";
import type { JobLease } from "./types.ts";

export interface LearnDeps {
  agents: AgentRegistry;
  memories: MemoryStore;
  jobs: JobStore;
  events: EventLog;
  model: ChatModel;
  log: Log;
  /** Model of memory work; null: the server's. */
  memoryModel: string | null;
  captureInstructions: string | null;
  additionalInstructions: string | null;
}

export async function learnFromMessage(job: JobLease, deps: LearnDeps, signal: AbortSignal): Promise<void> {
  const input = await deps.memories.extractionInput(job);
  if (!input) {
    // The conversation was deleted meanwhile.
    await deps.jobs.complete(job);
    return;
  }
  const { message, run, previousReply, known } = input;
  const { facts, dropped, usage } = await extractFacts(
    {
      message: message.content,
      saidAt: message.createdAt,
      previousReply,
      known,
      captureInstructions: deps.captureInstructions,
      additionalInstructions: deps.additionalInstructions,
      model: deps.memoryModel,
    },
    deps.model,
    signal,
  );
  deps.log.debug({ runId: run.runId, facts: facts.map((fact) => fact.memory), dropped, usage }, "facts extracted");
  const learned = {
    runId: run.runId,
    messageId: message.messageId,
    saidAt: message.createdAt,
    agentId: run.agentId,
    origin: "EXTRACTED" as const,
    facts,
  };
  const events = await deps.memories.learn(job, learned, resolve);
  deps.events.announce(job.userId, events ?? []);
  deps.log.info({ runId: run.runId, facts: facts.length, dropped: dropped.length }, "memories updated");
}
