/** What users may do with all that is stored about them: take it with them, bring it, have it erased. */

import { AppError } from "../errors.ts";
import { readDocument, writeDocument } from "./export-format.ts";
import type { EventLog, Log, MemoryFeed, Runner, UserDataKeeper, UserDataStore } from "./ports.ts";
import type { UserId } from "./types.ts";

export interface UserDataDeps {
  userData: UserDataStore;
  runner: Pick<Runner, "cancel">;
  events: Pick<EventLog, "lookAgain">;
  memoryFeed: Pick<MemoryFeed, "wake">;
  log: Log;
}

/** How long an erasure waits for the runs under way to end; it takes what they hold of the user's from them in any case (ms). */
const STOP_DEADLINE = 5_000;

export function createUserDataKeeper(deps: UserDataDeps): UserDataKeeper {
  return {
    async export(user) {
      return writeDocument(user, await deps.userData.read(user));
    },

    async import(user, document) {
      const counts = await deps.userData.write(user, readDocument(document));
      deps.memoryFeed.wake(user);
      return counts;
    },

    async erase(user) {
      await stopRuns(user, deps);
      const { runIds, ...receipt } = await deps.userData.erase(user);
      deps.events.lookAgain(user, runIds);
      deps.memoryFeed.wake(user);
      deps.log.info({ receiptId: receipt.receiptId }, "everything stored about a user was erased");
      return receipt;
    },
  };
}

/** Stops what the models are asked for. The latest first: the end of one being answered would let those behind it begin. */
async function stopRuns(user: UserId, deps: UserDataDeps): Promise<void> {
  const patience = Promise.withResolvers<void>();
  const timer = setTimeout(patience.resolve, STOP_DEADLINE);
  try {
    for (const runId of await deps.userData.active(user)) {
      await Promise.race([deps.runner.cancel(user, runId).catch(ifGone), patience.promise]);
    }
  } finally {
    clearTimeout(timer);
  }
}

/** A run that is gone by now needs no stopping. */
function ifGone(error: unknown): void {
  if (!(error instanceof AppError)) {
    throw error;
  }
}
