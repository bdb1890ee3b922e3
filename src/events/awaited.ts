import type { CallUrgency, EventLog } from "../agent/ports.ts";

/** The same log; whoever follows a run until its memories are stored makes that user's extractions urgent meanwhile: those before it come first. */
export function urgentWhileAwaited(events: EventLog, calls: CallUrgency): EventLog {
  return {
    ...events,
    async *follow(user, runId, after, until, signal) {
      const release = until === "MEMORY" ? calls.awaits(user) : null;
      try {
        yield* events.follow(user, runId, after, until, signal);
      } finally {
        release?.();
      }
    },
  };
}
