/** The job that keeps a session's summary up to date, a few turns at a time. */

import { step } from "../step.ts";
import type { ChatModel, JobStore, Log, SessionFeed, SessionStore } from "./ports.ts";
import { summarizeTurns } from "./summarize.ts";
import type { JobLease } from "./types.ts";

export interface SumUpDeps {
  sessions: SessionStore;
  jobs: JobStore;
  feed: SessionFeed;
  model: ChatModel;
  log: Log;
  /** Model of summaries; null: the server's. */
  summaryModel: string | null;
  summaryInstructions: string | null;
}

export async function sumUpSession(job: JobLease, deps: SumUpDeps, signal: AbortSignal): Promise<void> {
  const payload = await deps.jobs.payload(job);
  const sessionId = String(payload?.sessionId);
  const found = await deps.sessions.unsummarized(job.userId, sessionId);
  const last = found?.messages.at(-1);
  if (!found || !last) {
    await deps.jobs.complete(job);
    deps.feed.announce(job.userId, sessionId);
    deps.log.debug({ sessionId }, "no summary written: nothing new to sum up");
    return;
  }
  const { summary, topics, usage } = await summarizeTurns(
    { previous: found.session.summary, messages: found.messages, instructions: deps.summaryInstructions, model: deps.summaryModel },
    deps.model,
    signal,
  );
  step("summary-written");
  const coveredTurn = Math.ceil(last.sequence / 2);
  const saved = await deps.sessions.saveSummary(
    job,
    sessionId,
    { summary, topics, updatedAt: new Date().toISOString(), coveredTurn },
    usage,
  );
  step("summary-stored");
  if (!saved) {
    // The session was deleted meanwhile, or another process has the job.
    return;
  }
  deps.feed.announce(job.userId, sessionId);
  deps.log.info({ sessionTurns: coveredTurn, usage }, "session summarized");
}
