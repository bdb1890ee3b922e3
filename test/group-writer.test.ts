/** Events of many runs are written together, and none is left behind. */

import { expect, test } from "vitest";
import { userId } from "../src/agent/input.ts";
import type { RunLease } from "../src/agent/types.ts";
import { AppError } from "../src/errors.ts";
import type { EventBatch, EventStore } from "../src/events/event-store.ts";
import { GroupWriter } from "../src/events/group-writer.ts";

/** Keeps what it is given; each write ends when the test says so. */
function createStore() {
  const writes: { batches: EventBatch[]; end: () => void }[] = [];
  const store: Pick<EventStore, "append"> = {
    append(batches) {
      const ended = Promise.withResolvers<void>();
      writes.push({ batches, end: ended.resolve });
      return ended.promise.then(() => batches.map(() => []));
    },
  };
  return { store: store as EventStore, writes };
}

function lease(runId: string): RunLease {
  return { userId: userId("writer"), runId, owner: "test", attempt: 1 };
}

test("the rest of a run waits for a write that began while the one before it ended", async () => {
  const { store, writes } = createStore();
  const group = new GroupWriter(store, () => undefined);
  const ending = group.open(lease("ending"), 0);
  const other = group.open(lease("other"), 0);
  const text = (delta: string) => ({ type: "TextMessageContent", messageId: "m", delta }) as const;
  ending.push(text("first"));
  ending.push(text("second"));
  // Readers wait for its first words, so the next write begins as soon as the one under way has ended.
  other.push(text("hurry"));
  let rest: unknown[] | null = null;
  const taken = ending.takeRest().then((events) => {
    rest = events;
  });
  writes[0]?.end();
  await expect.poll(() => writes.length).toBe(2);
  expect(writes[1]?.batches.map((batch) => batch.lease.runId).sort()).toEqual(["ending", "other"]);
  expect(rest).toBeNull();
  writes[1]?.end();
  await taken;
  expect(rest).toEqual([]);
});

test("events whose write got no answer are written again under the same numbers", async () => {
  const asked: (number | undefined)[] = [];
  const store: Pick<EventStore, "append"> = {
    async append(batches) {
      asked.push(batches[0]?.after);
      if (asked.length === 2) {
        throw new AppError("SERVICE_UNAVAILABLE", "The answer to the commit was lost.");
      }
      return batches.map(({ lease: { runId }, events }) =>
        events.map((event, index) => ({ ...event, runId, sequence: 4 + asked.length + index, at: new Date() })),
      );
    },
  };
  const writer = new GroupWriter(store as EventStore, () => undefined).open(lease("again"), 4);
  writer.push({ type: "RunStarted" });
  await expect.poll(() => asked.length).toBe(1);
  expect(await writer.takeRest()).toEqual([]);
  writer.push({ type: "TextMessageContent", messageId: "m", delta: "text" });
  expect(await writer.takeRest()).toEqual([]);
  expect(asked).toEqual([undefined, undefined, 5]);
});
