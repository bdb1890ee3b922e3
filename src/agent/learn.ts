/** The job that follows every message worth it: find its facts, and store what they do to the memories. */

import { step } from "../step.ts";
import { extractFacts } from "./extract.ts";
import type { ChatModel, EventLog, JobStore, Log, MemoryStore } from "./ports.ts";
import { resolve, withinRoom } from "./resolve.ts";
import type { Fact, JobLease, Memory, Resolution } from "./types.ts";

export interface LearnDeps {
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
  const { facts, dropped, usage, origin } = await extractFacts(
    {
      message: message.content,
      saidAt: message.createdAt,
      previousReply,
      known,
      captureInstructions: deps.captureInstructions,
      additionalInstructions: deps.additionalInstructions,
      model: deps.memoryModel,
      job: { since: run.finishedAt ?? message.createdAt, userId: job.userId },
    },
    deps.model,
    signal,
  );
  step("facts-found");
  deps.log.debug({ runId: run.runId, facts: facts.map((fact) => fact.memory), dropped, usage }, "facts extracted");
  const learned = {
    runId: run.runId,
    messageId: message.messageId,
    saidAt: message.createdAt,
    agentId: run.agentId,
    origin,
    facts,
    usage,
  };
  let decided: object[] = [];
  let leftOut = 0;
  const events = await deps.memories.learn(job, learned, (found, stored, room) => {
    const resolved = resolve(found, stored, message.createdAt);
    const resolutions = withinRoom(resolved, room);
    leftOut = resolved.length - resolutions.length;
    decided = found.map((fact) => decision(fact, resolutions, stored));
    return resolutions;
  });
  step("facts-stored");
  if (events) {
    deps.events.announce(job.userId, events);
  } else {
    deps.events.lookAgain(job.userId, [run.runId]);
  }
  deps.log.debug({ runId: run.runId, stored: events !== null, decided }, "facts resolved");
  if (events !== null) {
    if (leftOut > 0) {
      deps.log.warn({ runId: run.runId, facts: leftOut }, "facts were not stored: the user has as many memories as LIMIT_MEMORIES allows");
    }
    deps.log.info({ runId: run.runId, facts: facts.length, dropped: dropped.length }, "memories updated");
  }
}

/** What became of a fact, for the log at debug level. */
function decision(fact: Fact, resolutions: Resolution[], stored: Memory[]): object {
  const resolution = resolutions.find((one) => one.fact.fingerprint === fact.fingerprint);
  const said = { fact: fact.memory, topics: fact.topics };
  if (!resolution) {
    return { ...said, decision: "left out: another fact of the message says the same, or there is no room" };
  }
  if (resolution.action === "add") {
    return { ...said, decision: fact.quarantined ? "set aside: it reads like an order to the agent" : "added" };
  }
  const existing = stored.find((memory) => memory.memoryId === resolution.memoryId)?.memory;
  return { ...said, decision: resolution.action === "reinforce" ? "reinforced" : "superseded", existing };
}
