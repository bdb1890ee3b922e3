/** The event log in a few maps: what the others are held against. */

import { randomUUID } from "node:crypto";
import type { MemoryUpdateStatus, RunEvent, RunEventBody, RunLease, RunStatus, UserId } from "../../src/agent/types.ts";
import type { LogProcess, LogSubject } from "./event-log.ts";

interface StoredRun {
  user: UserId;
  lease: RunLease;
  status: RunStatus;
  begun: boolean;
  reply: string;
  events: RunEvent[];
  lastSequence: number;
}

export async function createMemoryLog(): Promise<LogSubject> {
  const runs = new Map<string, StoredRun>();
  const find = (user: UserId, runId: string): StoredRun | null => runs.get(JSON.stringify([user, runId])) ?? null;
  const add = (run: StoredRun, bodies: RunEventBody[]): RunEvent[] => {
    const events = bodies.map((body) => ({ ...body, runId: run.lease.runId, sequence: ++run.lastSequence, at: new Date() }));
    run.events.push(...events);
    run.reply += textOf(events);
    return events;
  };
  const heldBy = ({ userId, runId, owner, attempt }: RunLease): StoredRun | null => {
    const run = find(userId, runId);
    return run?.status === "RUNNING" && run.lease.owner === owner && run.lease.attempt === attempt ? run : null;
  };

  function start(): LogProcess {
    const owner = randomUUID();
    return {
      events: {
        append: async (batches) =>
          batches.map(({ lease, events, beginsReply }) => {
            const run = heldBy(lease);
            if (run) {
              run.begun ||= beginsReply;
            }
            return run && add(run, events);
          }),
        async read(user, runId, after, limit) {
          const run = find(user, runId);
          const memoryStatus: MemoryUpdateStatus = "SKIPPED";
          return {
            events: (run?.events ?? []).filter(({ sequence }) => sequence > after).slice(0, limit),
            run: run && { status: run.status, lastSequence: run.lastSequence, memoryStatus },
          };
        },
        release: () => undefined,
      },
      runs: {
        // The fields the suite looks at.
        get: async (user, runId) => {
          const run = find(user, runId);
          return run && ({ userId: user, runId, status: run.status, lastSequence: run.lastSequence } as never);
        },
        messages: async ({ userId, runId, lastSequence }) => {
          const run = find(userId, runId);
          const events = run?.events.filter(({ sequence }) => sequence <= lastSequence) ?? [];
          const messageId = events.find((event) => event.type === "TextMessageStart")?.messageId;
          return [{}, { messageId, content: textOf(events), complete: run?.status === "COMPLETED" }] as never;
        },
        async finish(lease, outcome, rest) {
          const run = heldBy(lease);
          if (!run || outcome.status !== "COMPLETED") {
            return null;
          }
          run.status = outcome.status;
          const { messageId, usage } = outcome;
          return { events: add(run, [...rest, { type: "TextMessageEnd", messageId }, { type: "RunFinished", usage }]), queued: false };
        },
      },
      async begin(user) {
        const lease = { userId: user, runId: randomUUID(), owner, attempt: 1 };
        const run: StoredRun = { user, lease, status: "RUNNING", begun: false, reply: "", events: [], lastSequence: 0 };
        runs.set(JSON.stringify([user, lease.runId]), run);
        add(run, [{ type: "RunStarted" }]);
        return lease;
      },
      async takeOver() {
        const taken: RunLease[] = [];
        for (const run of runs.values()) {
          if (run.status === "RUNNING" && run.begun) {
            add(run, [{ type: "RunError", error: { code: "RUN_INTERRUPTED", message: "", retryable: true, errorId: null } }]);
            run.status = "INTERRUPTED";
          } else if (run.status === "RUNNING") {
            run.lease = { ...run.lease, owner, attempt: run.lease.attempt + 1 };
            taken.push(run.lease);
          }
        }
        return taken;
      },
      die: async () => undefined,
    };
  }

  return {
    start: async () => start(),
    async expire() {
      for (const run of runs.values()) {
        if (run.status !== "RUNNING") {
          run.events = run.events.filter(({ type }) => type === "RunFinished" || type === "RunError");
        }
      }
    },
    remove: async () => undefined,
  };
}

function textOf(events: RunEvent[]): string {
  return events.map((event) => (event.type === "TextMessageContent" ? event.delta : "")).join("");
}
