/** What a user may do to a session beside talking: name it, have it summed up now, delete it. */

import { AppError, badInput } from "../errors.ts";
import { checkText, requestKey } from "./input.ts";
import type { EventLog, JobStore, RequestStore, Runner, RunStore, SessionFeed, SessionKeeper, SessionStore } from "./ports.ts";
import type { Session, UserId } from "./types.ts";

export interface KeeperDeps {
  sessions: SessionStore;
  runs: RunStore;
  runner: Pick<Runner, "cancel">;
  jobs: JobStore;
  requests: RequestStore;
  events: Pick<EventLog, "lookAgain">;
  feed: SessionFeed;
  /** Tells the background work that there is a job. */
  onJob: () => void;
}

/** The longest name, in UTF-16 units. */
export const MAX_NAME_LENGTH = 200;
/** How long a summary is waited for, and how often its job is looked at although nothing woke us (ms). */
const SUMMARY_DEADLINE = 60_000;
const POLL_INTERVAL = 1_000;

export function createSessionKeeper(deps: KeeperDeps): SessionKeeper {
  return {
    async rename(user, sessionId, name, key) {
      const request = requestKey(key, "renameSession", { sessionId, name });
      const session = await deps.sessions.rename(user, sessionId, checkName(name), request);
      if (!session) {
        throw sessionNotFound();
      }
      deps.feed.announce(user, sessionId);
      return session;
    },

    async summarize(user, sessionId, key, signal) {
      const request = requestKey(key, "summarizeSession", { sessionId });
      if (!(await deps.requests.seen(user, request))) {
        const session = await summarize(user, sessionId, deps, signal);
        await deps.requests.keep(user, request);
        return session;
      }
      const session = await deps.sessions.get(user, sessionId);
      if (!session) {
        throw sessionNotFound();
      }
      return session;
    },

    async delete(user, sessionId, key) {
      const request = requestKey(key, "deleteSession", { sessionId });
      // Of a session begun anew under the same name, a repeat must stop nothing.
      const runs = (await deps.requests.seen(user, request)) ? [] : await deps.runs.active(user, sessionId);
      // The latest first: the end of the one being answered would let those behind it begin.
      for (const run of runs.toReversed()) {
        await cancelled(deps.runner, user, run.runId);
      }
      const removed = await deps.sessions.delete(user, sessionId, request);
      if (removed === null) {
        throw sessionNotFound();
      }
      deps.events.lookAgain(user, removed);
      deps.feed.announce(user, sessionId);
    },
  };
}

function checkName(name: string | null): string | null {
  if (name === null) {
    return null;
  }
  const text = checkText(name, "name").trim();
  if (text === "") {
    throw badInput("name", "is empty. Send a title, or null to take it away.");
  }
  if (text.length > MAX_NAME_LENGTH) {
    throw badInput("name", `is longer than ${MAX_NAME_LENGTH} characters. Send a shorter one.`);
  }
  return text;
}

/**
 * Asks for a summary job and waits for it, as often as turns are left: it is the job that the background work would do,
 * in the same lane, so the two never write at the same time.
 */
async function summarize(user: UserId, sessionId: string, deps: KeeperDeps, signal: AbortSignal): Promise<Session> {
  const patience = AbortSignal.any([signal, AbortSignal.timeout(SUMMARY_DEADLINE)]);
  for (;;) {
    const found = await deps.sessions.unsummarized(user, sessionId);
    if (!found) {
      throw sessionNotFound();
    }
    if (found.messages.length === 0) {
      return found.session;
    }
    await jobDone(user, sessionId, await deps.jobs.requestSummary(user, sessionId), deps, patience);
  }
}

/** Resolves once the job is done. Throws what it failed with; it is then tried again like any other job. */
async function jobDone(user: UserId, sessionId: string, jobId: string, deps: KeeperDeps, patience: AbortSignal): Promise<void> {
  deps.onJob();
  for (;;) {
    const news = deps.feed.next(user, sessionId, POLL_INTERVAL, patience);
    const state = await deps.jobs.state(user, jobId);
    if (state === null) {
      return;
    }
    if (state.failure) {
      throw new AppError(state.failure.code, state.failure.message);
    }
    if (patience.aborted) {
      throw new AppError(
        "MODEL_TIMEOUT",
        `The summary was not written within ${SUMMARY_DEADLINE / 1_000} s; the work goes on by itself. Look again later, or set SUMMARY_MODEL to a faster model.`,
      );
    }
    await news;
  }
}

/** A run that is gone by now needs no stopping. */
async function cancelled(runner: Pick<Runner, "cancel">, user: UserId, runId: string): Promise<void> {
  try {
    await runner.cancel(user, runId);
  } catch (error) {
    if (!(error instanceof AppError && error.code === "NOT_FOUND")) {
      throw error;
    }
  }
}

function sessionNotFound(): AppError {
  return new AppError("NOT_FOUND", "There is no such session of this user. Check sessionId and userId.");
}
