/** A message with its reply, as it is put together from what is stored and from what happens while it is written. */

import { type Problem, problemOfFailure } from "../api/problem.ts";
import type { ChangePartsFragment, FollowSubscription, MessagePartsFragment, RunPartsFragment, RunStatus } from "../generated/graphql.ts";

export type RunEvent = FollowSubscription["runEvents"];

export interface Turn {
  /** Stays the same from the moment of sending: the run's id, or the message's own key before there is a run. */
  key: string;
  runId: string | null;
  /** When it was accepted; null before. Turns are shown in this order. */
  acceptedAt: string | null;
  question: string;
  reply: string;
  /** SENDING: on its way. UNSENT: it was not taken, and `problem` says why. */
  status: RunStatus | "SENDING" | "UNSENT";
  /** The model is thinking, and shows it. */
  reasoning: string;
  model: string | null;
  problem: Problem | null;
  /** What was learned from the question; null while that is not known. */
  changes: ChangePartsFragment[] | null;
  /** Why nothing was learned; null unless that failed. */
  learningProblem: Problem | null;
  /** Memory work is still to come. */
  learning: boolean;
  /** The last event it includes. */
  sequence: number;
}

/** Turns in the order of their messages. */
export function turnsOf(messages: MessagePartsFragment[], runs: ReadonlyMap<string, RunPartsFragment>): Turn[] {
  const turns = new Map<string, Turn>();
  for (const { runId, role, content } of messages) {
    const run = runs.get(runId);
    const turn = turns.get(runId) ?? (run ? turnOfRun(run, "") : { ...unsentTurn(runId, ""), runId, status: "COMPLETED" });
    turns.set(runId, role === "USER" ? { ...turn, question: content } : { ...turn, reply: content });
  }
  return [...turns.values()];
}

/** `reply`: what there is of it up to the run's `lastSequence`. */
export function turnOfRun(run: RunPartsFragment & { reply?: string | null }, question: string): Turn {
  const blank = { ...unsentTurn(run.runId, question), runId: run.runId, reply: run.reply ?? "", sequence: run.lastSequence };
  return withRun(blank, run);
}

export function unsentTurn(key: string, question: string): Turn {
  const blank = {
    key,
    runId: null,
    acceptedAt: null,
    question,
    reply: "",
    reasoning: "",
    model: null,
    problem: null,
    changes: null,
    learningProblem: null,
  };
  return { ...blank, status: "SENDING", learning: false, sequence: 0 };
}

export function isOpen({ status }: Turn): boolean {
  return status === "SENDING" || status === "QUEUED" || status === "RUNNING" || status === "PAUSED";
}

/** The turn after an event. One that is in it already changes nothing. */
export function applyEvent(turn: Turn, event: RunEvent): Turn {
  if (event.sequence <= turn.sequence) {
    return turn;
  }
  const next = { ...turn, sequence: event.sequence };
  switch (event.__typename) {
    case "RunStarted":
      return { ...next, status: "RUNNING" };
    case "ReasoningDelta":
      return { ...next, reasoning: next.reasoning + event.delta };
    case "TextMessageStart":
      return { ...next, reply: "" };
    case "TextMessageContent":
      return { ...next, status: "RUNNING", reply: next.reply + event.delta };
    case "RunSnapshot":
      return { ...withRun(next, event.run), reply: event.run.reply ?? "", sequence: Math.max(event.sequence, event.run.lastSequence) };
    case "RunFinished":
      return { ...withRun(next, event.run), reply: event.reply };
    case "RunError":
      return { ...withRun(next, event.run), problem: problemOfFailure(event.error) };
    case "RunCancelled":
      return withRun(next, event.run);
    case "MemoryUpdate":
      return { ...next, changes: event.changes, learningProblem: null, learning: false };
    case "MemoryUpdateFailed":
      return { ...next, learningProblem: problemOfFailure(event.error), learning: false };
    default:
      return next;
  }
}

function withRun(turn: Turn, { status, model, createdAt, error, memoryUpdate }: RunPartsFragment): Turn {
  return {
    ...turn,
    acceptedAt: createdAt,
    status,
    model,
    problem: error ? problemOfFailure(error) : null,
    learning: memoryUpdate.status === "PENDING",
    learningProblem: memoryUpdate.error ? problemOfFailure(memoryUpdate.error) : null,
  };
}
