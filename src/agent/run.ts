/** What happens to one message. Start reading here. */

import { v7 as uuid } from "uuid";
import { AppError, storable, toFailure } from "../errors.ts";
import { step } from "../step.ts";
import type { AgentDefinition, AgentRegistry } from "./agents.ts";
import { hostsIn } from "./links.ts";
import { patiently } from "./patience.ts";
import type { ChatMessage, ChatModel, EventLog, EventWriter, KnowledgeStore, Log, RunOutcome, RunStore } from "./ports.ts";
import { LeaseLost } from "./ports.ts";
import { composePrompt } from "./prompt.ts";
import { MAX_CANDIDATES, recall } from "./recall.ts";
import { ReplyText } from "./reply-text.ts";
import { estimateUsage } from "./tokens.ts";
import type { Run, RunEventBody, RunLease, TokenUsage } from "./types.ts";

export interface RunDeps {
  agents: AgentRegistry;
  runs: RunStore;
  knowledge: KnowledgeStore;
  events: EventLog;
  model: ChatModel;
  log: Log;
  /** Where links and images of replies may lead, beside links to what the user has named; see `links.ts`. */
  allowedLinkHosts: readonly string[];
}

/** What the end of a run means for others. */
export interface RunEnd {
  /** A model has written the whole reply. */
  answered: boolean;
  /** Another run of the session waits for its turn. */
  queued: boolean;
}

/** Why an executor stops before the reply is complete; given as the reason of its signal's abort. */
export type StopReason = "cancelled" | "stopping";

/** How often the end of a run is tried to be stored. */
const FINISH_ATTEMPTS = 3;

/** At most this many passages of documents are looked for. */
const PASSAGES = 5;

/**
 * Carries out an accepted run to its end. Whatever goes wrong with the reply becomes the run's outcome; throws only when
 * that cannot be stored, and LeaseLost when another process has the run.
 */
export async function carryOut(lease: RunLease, run: Run, message: string, deps: RunDeps, signal: AbortSignal): Promise<RunEnd> {
  const events = deps.events.writer(lease, run.lastSequence);
  try {
    return await carryOutWith(events, lease, run, message, deps, signal);
  } finally {
    events.close();
  }
}

async function carryOutWith(
  events: EventWriter,
  lease: RunLease,
  run: Run,
  message: string,
  deps: RunDeps,
  signal: AbortSignal,
): Promise<RunEnd> {
  const reply = new ReplyText(uuid(), events, deps.allowedLinkHosts);
  let outcome: RunOutcome;
  let asked: ChatMessage[] = [];
  try {
    const agent = deps.agents.get(run.agentId);
    const prompt = await prepare(run, message, agent, events, deps);
    reply.allowLinks(hostsIn(prompt.filter(({ role }) => role === "user").map(({ content }) => content)));
    asked = prompt;
    const answered = await answer(prompt, agent, reply, deps, signal);
    step("reply-complete");
    outcome = { ...reply.finish(), status: "COMPLETED", ...answered, summarizeEvery: agent.summarizes ? agent.summarizeEvery : null };
  } catch (error) {
    if (error instanceof LeaseLost) {
      throw error;
    }
    const begun = reply.finish();
    const spent = begun.reply === "" ? {} : { spent: estimateUsage(asked, begun.reply) };
    outcome = { ...begun, ...spent, ...failed(error, signal, run, deps.log) };
  }
  const queued = await close(lease, outcome, await restOf(events), deps);
  return { answered: outcome.status === "COMPLETED", queued };
}

/** The events not written yet; null when earlier ones could not be written, so that nobody knows what readers have been shown. */
async function restOf(events: EventWriter): Promise<RunEventBody[] | null> {
  try {
    return await events.takeRest();
  } catch (error) {
    if (error instanceof LeaseLost) {
      throw error;
    }
    return null;
  }
}

/** What is left to show of a reply, going by what is stored: whoever joins the pieces has to come to the whole. */
async function unshown({ userId, runId }: RunLease, { reply, messageId }: RunOutcome, deps: RunDeps): Promise<RunEventBody[]> {
  const run = await deps.runs.get(userId, runId);
  const stored = run && (await deps.runs.messages(run)).find((message) => message.role === "ASSISTANT");
  const shown = stored?.content ?? "";
  if (reply === shown || !reply.startsWith(shown)) {
    return [];
  }
  const content: RunEventBody = { type: "TextMessageContent", messageId, delta: reply.slice(shown.length) };
  return stored ? [content] : [{ type: "TextMessageStart", messageId }, content];
}

/** Stores how the run ended. A database that is away for a moment is waited for; what it refuses to hold is replaced by a failure it can. */
async function close(
  lease: RunLease,
  outcome: RunOutcome,
  rest: RunEventBody[] | null,
  deps: RunDeps,
  attempts = FINISH_ATTEMPTS,
): Promise<boolean> {
  const { runId } = lease;
  try {
    const end = await patiently(async () => deps.runs.finish(lease, outcome, rest ?? (await unshown(lease, outcome, deps))));
    step("run-ended");
    if (end) {
      deps.events.announce(lease.userId, end.events);
    } else {
      // It may be stored, and the answer lost: whoever follows it looks.
      deps.events.lookAgain(lease.userId, [runId]);
    }
    deps.log.info({ runId, status: outcome.status }, "run ended");
    return end?.queued ?? false;
  } catch (error) {
    if (error instanceof AppError || attempts === 1) {
      throw error;
    }
    const errorId = uuid();
    deps.log.error({ runId, errorId, err: error }, "the end of a run could not be stored as it was");
    const failure: RunOutcome = { reply: "", messageId: outcome.messageId, status: "FAILED", error: toFailure(error, errorId) };
    return close(lease, failure, [], deps, attempts - 1);
  }
}

/** Gathers what the reply may use, and says so. */
async function prepare(run: Run, message: string, agent: AgentDefinition, events: EventWriter, deps: RunDeps) {
  const remembers = run.memory === "ON" && agent.remembers;
  const [{ conversation, memories }, passages] = await Promise.all([
    patiently(() => deps.runs.context(run, { turns: agent.historyTurns, memories: remembers ? MAX_CANDIDATES : 0, text: message })),
    deps.knowledge.search(run.userId, message, PASSAGES),
  ]);
  if (run.lastSequence === 0) {
    events.push({ type: "RunStarted" });
  }
  const recalled = remembers ? recall(memories, agent.memoryTokens) : null;
  if (recalled) {
    events.push({ type: "MemoriesRecalled", recall: recalled });
  }
  deps.log.debug(
    {
      runId: run.runId,
      recalled: recalled?.used.map((item) => item.text),
      nearMisses: recalled?.nearMisses,
      turns: conversation.history.length,
    },
    "prompt gathered",
  );
  const { instructions, promptTokens } = agent;
  return composePrompt({ instructions, recalled, passages, conversation, message, promptTokens, today: new Date() });
}

async function answer(
  messages: ReturnType<typeof composePrompt>,
  agent: AgentDefinition,
  reply: ReplyText,
  deps: RunDeps,
  signal: AbortSignal,
): Promise<{ usage: TokenUsage; model: string }> {
  for await (const part of deps.model.stream({ model: agent.model, messages, purpose: "reply" }, signal)) {
    switch (part.type) {
      case "text-delta":
        reply.addText(part.delta);
        break;
      case "reasoning-delta":
        reply.addReasoning(part.delta);
        break;
      case "finish":
        return finished(part, reply);
      default:
        part satisfies never;
    }
  }
  throw new AppError("MODEL_BAD_RESPONSE", "The model's reply was cut off. Send the message again.");
}

function finished(part: { usage: TokenUsage; model: string }, reply: ReplyText): { usage: TokenUsage; model: string } {
  if (reply.finish().reply === "") {
    throw new AppError(
      "MODEL_BAD_RESPONSE",
      "The model answered with nothing that can be shown. Send the message again, or try another model.",
    );
  }
  const { inputTokens, outputTokens, estimated } = part.usage;
  return { usage: { inputTokens: counted(inputTokens), outputTokens: counted(outputTokens), estimated }, model: storable(part.model) };
}

/** What a server says it counted, as a number the API can carry. */
function counted(tokens: number): number {
  return Number.isFinite(tokens) ? Math.min(Math.max(0, Math.round(tokens)), 2 ** 31 - 1) : 0;
}

function failed(error: unknown, signal: AbortSignal, run: Run, log: Log) {
  if (signal.aborted && (signal.reason as StopReason) === "cancelled") {
    return { status: "CANCELLED" as const };
  }
  if (signal.aborted) {
    const message = "The server was stopped while the reply was being written. What was written is kept; send the message again.";
    return { status: "INTERRUPTED" as const, error: { code: "RUN_INTERRUPTED" as const, message, retryable: true, errorId: null } };
  }
  const errorId = error instanceof AppError ? null : uuid();
  const failure = toFailure(error, errorId);
  // A model server's own words may repeat what the user wrote.
  log.debug({ runId: run.runId, err: error }, "why the run failed");
  log.warn({ runId: run.runId, code: failure.code, errorId, ...(errorId !== null && { err: error }) }, "run failed");
  return { status: "FAILED" as const, error: failure };
}
