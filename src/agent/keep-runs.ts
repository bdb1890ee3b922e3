/** What a user may do to a run beside watching it: stop it, leave it, have its memory update tried again. */

import { AppError } from "../errors.ts";
import { requestKey } from "./input.ts";
import type { JobStore, Log, RequestStore, RunKeeper, Runner, RunStore } from "./ports.ts";
import type { Run, UserId } from "./types.ts";

export interface RunKeeperDeps {
  runs: Pick<RunStore, "get">;
  runner: Pick<Runner, "cancel">;
  jobs: Pick<JobStore, "failedLearning" | "retryLearning">;
  requests: RequestStore;
  log: Log;
  /** Tells the background work that there is a job. */
  onJob: () => void;
}

export function createRunKeeper({ runs, runner, jobs, requests, log, onJob }: RunKeeperDeps): RunKeeper {
  const find = async (user: UserId, runId: string): Promise<Run> => {
    const run = await runs.get(user, runId);
    if (!run) {
      throw runNotFound();
    }
    return run;
  };
  return {
    async cancel(user, runId, key) {
      const request = requestKey(key, "cancelRun", { runId });
      if (await requests.seen(user, request)) {
        return find(user, runId);
      }
      const run = await runner.cancel(user, runId);
      await requests.keep(user, request);
      return run;
    },

    clientLeft(user, runId, wanted, closing) {
      if (wanted === "CANCEL" && !closing.aborted) {
        runner.cancel(user, runId).catch((error: unknown) => {
          log.warn({ err: error, runId }, "the client of this run left and wanted it stopped, which failed: it goes on");
        });
      }
    },

    async retryMemoryUpdate(user, runId, key) {
      if (!(await jobs.retryLearning(user, runId, requestKey(key, "retryMemoryUpdate", { runId })))) {
        throw runNotFound();
      }
      onJob();
      return find(user, runId);
    },

    failedMemoryUpdates: jobs.failedLearning,
  };
}

function runNotFound(): AppError {
  return new AppError("NOT_FOUND", "There is no such run of this user. Check runId and userId.");
}
