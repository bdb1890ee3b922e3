/** A run as a stream of events under Agno's names, so that Agno's clients can read it. */

import type { Services } from "../agent/ports.ts";
import type { Run, RunEvent } from "../agent/types.ts";
import { AppError } from "../errors.ts";
import type { Access } from "../identity/identity.ts";
import type { ServerSentEvent } from "./event-stream.ts";
import { memoryView } from "./views.ts";

/** How long a stream stays open for the memories of its message (ms). */
const MEMORY_DEADLINE = 60_000;

export interface StreamSignals {
  /** Aborts when the client has left. */
  leaving: AbortSignal;
  /** Aborts when the server closes: replies still go out, nobody waits for memories. */
  closing: AbortSignal;
}

/**
 * The run's events after `after`, then what its message did to the memories. RunCompleted comes as soon as the reply is
 * complete; Agno holds it back until the memories are stored.
 */
export async function* agnoEvents(run: Run, after: number, services: Services, signals: StreamSignals): AsyncGenerator<ServerSentEvent> {
  const { userId, runId } = run;
  const translator = new Translator(run, after, services);
  let last = after;
  for await (const event of services.events.follow(userId, runId, after, "REPLY", signals.leaving)) {
    last = event.sequence;
    yield* translator.translate(event);
  }
  if (signals.leaving.aborted || !(await expectsMemories(run, last, services))) {
    return;
  }
  yield translator.event("MemoryUpdateStarted", null, new Date());
  const patience = AbortSignal.any([signals.leaving, signals.closing, AbortSignal.timeout(MEMORY_DEADLINE)]);
  for await (const event of services.events.follow(userId, runId, last, "MEMORY", patience)) {
    yield* translator.translate(event);
  }
}

/**
 * The events that `follow` makes, for as long as the caller's token is good: what ends it is the last event then. The run goes on.
 */
export async function* untilRefused(
  run: Run,
  access: Access,
  signals: StreamSignals,
  follow: (signals: StreamSignals) => AsyncGenerator<ServerSentEvent>,
): AsyncGenerator<ServerSentEvent> {
  const refused = new AbortController();
  const unwatch = access.watch((reason) => refused.abort(reason));
  try {
    for await (const event of follow({ ...signals, leaving: AbortSignal.any([signals.leaving, refused.signal]) })) {
      if (refused.signal.aborted) {
        break;
      }
      yield event;
    }
    if (refused.signal.aborted) {
      const { code, message } = refused.signal.reason as AppError;
      const content = `${message} The run goes on: send the request again with its Idempotency-Key.`;
      const data = { event: "RunError", run_id: run.runId, session_id: run.sessionId, content, error_type: code };
      yield { name: "RunError", id: null, data };
    }
  } finally {
    unwatch();
  }
}

async function expectsMemories(run: Run, last: number, services: Services): Promise<boolean> {
  const { memoryUpdate, lastSequence } = await load(run, services);
  return memoryUpdate.status === "PENDING" || (memoryUpdate.status !== "SKIPPED" && lastSequence > last);
}

async function load(run: Run, services: Services): Promise<Run> {
  const loaded = await services.runs.get(run.userId, run.runId);
  if (!loaded) {
    throw new AppError("NOT_FOUND", "This run was deleted while it was read.");
  }
  return loaded;
}

class Translator {
  readonly #run: Run;
  readonly #after: number;
  readonly #services: Services;
  readonly #agentName: string;
  /** Text up to this event was sent as a whole. */
  #sentUntil = 0;
  #sentLength = 0;

  constructor(run: Run, after: number, services: Services) {
    this.#run = run;
    this.#after = after;
    this.#services = services;
    this.#agentName = services.agents.get(run.agentId).name;
  }

  event(name: string, id: number | null, at: Date, fields: object = {}): ServerSentEvent {
    const { agentId, runId, sessionId } = this.#run;
    const data = {
      event: name,
      created_at: Math.floor(at.getTime() / 1000),
      agent_id: agentId,
      agent_name: this.#agentName,
      run_id: runId,
      session_id: sessionId,
      ...fields,
    };
    return { name, id, data };
  }

  /** Agno's events for one of ours; none for what its clients have no use for. What they have no name for is a CustomEvent with a `name`. */
  async *translate(event: RunEvent): AsyncGenerator<ServerSentEvent> {
    const named = (name: string, fields: object = {}): ServerSentEvent => this.event(name, event.sequence, event.at, fields);
    switch (event.type) {
      case "RunStarted":
        return yield named("RunStarted");
      case "MemoriesRecalled": {
        const memories = event.recall.used.map(({ memoryId, text }) => ({ memory_id: memoryId, memory: text }));
        return yield named("CustomEvent", { name: "MemoriesRecalled", memories });
      }
      case "ReasoningDelta":
        return yield named("ReasoningContentDelta", { reasoning_content: event.delta });
      case "TextMessageContent":
        if (event.sequence > this.#sentUntil) {
          this.#sentLength += event.delta.length;
          yield named("RunContent", { content: event.delta, content_type: "str" });
        }
        return;
      case "TextMessageEnd":
        return yield named("RunContentCompleted");
      case "RunSnapshot":
        return yield* this.#catchUp(named);
      case "RunFinished": {
        const { inputTokens, outputTokens } = event.usage;
        const metrics = { input_tokens: inputTokens, output_tokens: outputTokens, total_tokens: inputTokens + outputTokens };
        const { run, content } = await this.#read();
        return yield named("RunCompleted", { content, content_type: "str", model: run.model, metrics });
      }
      case "RunError": {
        const { code, message, retryable, errorId } = event.error;
        return yield named("RunError", { content: message, error_type: code, error_id: errorId, additional_data: { retryable } });
      }
      case "RunCancelled":
        return yield named("RunCancelled", { reason: "Someone stopped this run. What was written is kept." });
      case "ToolCallStart":
        return yield named("ToolCallStarted", { tool: { tool_call_id: event.toolCallId, tool_name: event.toolCallName } });
      case "ToolCallArgs":
        return yield named("ToolCallArgsDelta", { tool_call_id: event.toolCallId, arguments_delta: event.delta });
      case "ToolCallResult": {
        const { toolCallId, content, failed } = event;
        const tool = { tool_call_id: toolCallId, result: content, tool_call_error: failed };
        return yield failed ? named("ToolCallError", { tool, error: content }) : named("ToolCallCompleted", { tool, content });
      }
      case "MemoryUpdate":
        return yield named("MemoryUpdateCompleted", await this.#changed(event.changeIds));
      case "MemoryUpdateFailed": {
        const { code, message, retryable, errorId } = event.error;
        return yield named("CustomEvent", { name: "MemoryUpdateFailed", error: { code, message, retryable, error_id: errorId } });
      }
      case "TextMessageStart":
      case "ToolCallEnd":
        return;
      default:
        event satisfies never;
    }
  }

  /** The text of events that are no longer kept one by one: the rest of the reply, or all of it when there is no telling what the client has. */
  async *#catchUp(named: (name: string, fields: object) => ServerSentEvent): AsyncGenerator<ServerSentEvent> {
    const { run, content } = await this.#read();
    const missing = content.slice(this.#sentLength);
    this.#sentUntil = run.lastSequence;
    this.#sentLength = content.length;
    if (this.#after > 0) {
      yield named("CustomEvent", { name: "RunSnapshot", content });
    } else if (missing !== "") {
      yield named("RunContent", { content: missing, content_type: "str" });
    }
  }

  async #read(): Promise<{ run: Run; content: string }> {
    const run = await load(this.#run, this.#services);
    const messages = await this.#services.runs.messages(run);
    return { run, content: messages.find((message) => message.role === "ASSISTANT")?.content ?? "" };
  }

  /** The memories that a message added or confirmed, and each change it made. Agno lists all of the user's memories instead. */
  async #changed(changeIds: string[]) {
    const { userId, runId } = this.#run;
    const { memories: store } = this.#services;
    const changes = (await store.changes(userId, runId)).filter(({ changeId }) => changeIds.includes(changeId));
    const memories = await store.getMany(userId, [...new Set(changes.map(({ memoryId }) => memoryId))]);
    return {
      memories: memories.filter(({ status }) => status === "ACTIVE").map(memoryView),
      changes: changes.map(({ kind, memoryId, sequence, quote }) => ({ kind, memory_id: memoryId, sequence, quote })),
    };
  }
}
