/** What the event log of runs promises, wherever it is kept. */

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { userId } from "../../src/agent/input.ts";
import type { RunStore } from "../../src/agent/ports.ts";
import type { RunEvent, RunEventBody, RunLease, UserId } from "../../src/agent/types.ts";
import type { EventStore } from "../../src/events/event-store.ts";
import { createEventLog } from "../../src/events/log.ts";

/** A server process, as far as its event log goes. */
export interface LogProcess {
  events: EventStore;
  runs: Pick<RunStore, "get" | "messages" | "finish">;
  /** Accepts a message of this user in a session of its own; its run begins at once, with RunStarted. */
  begin(user: UserId): Promise<RunLease>;
  /** Takes over every run that others have, as when their leases have run out; those of whose reply nothing is stored begin again here. */
  takeOver(): Promise<RunLease[]>;
  /** Without a word to others, as a process that dies. */
  die(): Promise<void>;
}

export interface LogSubject {
  start(): Promise<LogProcess>;
  /** Removes the pieces of runs that have ended, as time does. */
  expire(): Promise<void>;
  remove(): Promise<void>;
}

const START: RunEventBody = { type: "TextMessageStart", messageId: "" };
const RECALL: RunEventBody = { type: "MemoriesRecalled", recall: { complete: true, used: [], nearMisses: [], arms: [] } };

export function eventLogSuite(name: string, create: () => Promise<LogSubject>, skip = false): void {
  describe.skipIf(skip)(`the event log in ${name}`, () => {
    let subject: LogSubject;
    let process: LogProcess;

    beforeAll(async () => {
      subject = await create();
      process = await subject.start();
    });

    afterAll(async () => {
      await process?.die();
      await subject?.remove();
    });

    test("numbers the events of a run from 1, without gap or repeat, and gives them back as they were", async () => {
      const { lease, told } = await talk(process, "order", 30);
      const ended = await finish(process, lease, textOf(told));
      const all = [...told, ...ended];
      expect(all.map(({ sequence }) => sequence)).toEqual(all.map((_, index) => index + 2));
      expect(ended.map(({ type }) => type)).toEqual(["TextMessageEnd", "RunFinished"]);
      const stored = await readAll(process.events, lease, 0, 7);
      expect(stored[0]).toMatchObject({ type: "RunStarted", sequence: 1 });
      expect(stored.slice(1).map(withoutTime)).toEqual(all.map(withoutTime));
    });

    test("is read from any number on, in pages of any size", async () => {
      const { lease, told } = await talk(process, "pages", 12);
      await finish(process, lease, textOf(told));
      const whole = await readAll(process.events, lease, 0, 100);
      for (let after = 0; after <= whole.length + 1; after++) {
        for (const limit of [1, 2, 5, 100]) {
          expect(await readAll(process.events, lease, after, limit)).toEqual(whole.slice(after));
        }
      }
    });

    test("writes several runs together, and numbers each for itself", async () => {
      const runs = await Promise.all(["several-1", "several-1", "several-2"].map((user) => talk(process, user, 2)));
      for (const round of ["x", "y"]) {
        const written = await process.events.append(runs.map(({ lease }, run) => batch(lease, content(`${round}${run}`))));
        for (const [run, events] of written.entries()) {
          (runs[run] as Told).told.push(...(events as RunEvent[]));
        }
      }
      for (const [run, { lease, told }] of runs.entries()) {
        expect(textOf(told)).toBe(`word 0 word 1 x${run}y${run}`);
        expect((await readAll(process.events, lease, 1, 100)).map(withoutTime)).toEqual(told.map(withoutTime));
      }
    });

    test("keeps users apart", async () => {
      const { lease } = await talk(process, "apart-1", 3);
      const other = userId("apart-2");
      expect(await process.events.read(other, lease.runId, 0, 100)).toEqual({ events: [], run: null });
      expect(await process.events.append([batch({ ...lease, userId: other }, content("mine"))])).toEqual([null]);
      expect(await process.events.append([batch({ ...lease, owner: "somebody" }, content("mine"))])).not.toMatchObject([{ message: /./ }]);
    });

    test("a run is as far as it says, and its reply is what was told up to there", async () => {
      const { lease, told } = await talk(process, "so-far", 5);
      const other = await subject.start();
      for (const { runs } of [process, other]) {
        const run = await runs.get(lease.userId, lease.runId);
        expect(run).toMatchObject({ status: "RUNNING", lastSequence: told.at(-1)?.sequence });
        expect((run && (await runs.messages(run)))?.[1]).toMatchObject({
          messageId: messageOf(lease),
          content: textOf(told),
          complete: false,
        });
      }
      const before = await other.runs.get(lease.userId, lease.runId);
      await process.events.append([batch(lease, content("more"))]);
      expect((before && (await other.runs.messages(before)))?.[1]?.content).toBe(textOf(told));
      await other.die();
    });

    test("another process sees what is stored, and goes on reading where it was", async () => {
      const { lease, told } = await talk(process, "elsewhere", 3);
      const other = await subject.start();
      const seen = await readAll(other.events, lease, 1, 2);
      expect(seen.map(withoutTime)).toEqual(told.map(withoutTime));
      const [more] = await process.events.append([batch(lease, content("more"))]);
      expect((await readAll(other.events, lease, seen.length + 1, 2)).map(withoutTime)).toEqual((more as RunEvent[]).map(withoutTime));
      await other.die();
    });

    test("a run that is taken over before its first word begins again; who had it before writes nothing", async () => {
      const first = await subject.start();
      const lease = await first.begin(userId("taken-early"));
      await first.events.append([batch(lease, RECALL)]);
      const taken = (await process.takeOver()).find(({ runId }) => runId === lease.runId);
      expect(taken?.attempt).toBe(lease.attempt + 1);
      expect(await first.events.append([batch(lease, START, content("late"))])).toEqual([null]);
      const [written] = await process.events.append([batch(taken as RunLease, START, content("new"))]);
      expect(written).toMatchObject([{ sequence: 3 }, { sequence: 4 }]);
      await first.die();
    });

    test("a run whose process is gone ends with what was told; who had it before writes nothing", async () => {
      const first = await subject.start();
      const { lease, told } = await talk(first, "taken-late", 6);
      await process.takeOver();
      expect(await first.events.append([batch(lease, content("late"))])).toEqual([null]);
      const events = await readAll(process.events, lease, 1, 100);
      expect(events.slice(0, -1).map(withoutTime)).toEqual(told.map(withoutTime));
      expect(events.at(-1)).toMatchObject({ type: "RunError", sequence: told.length + 2 });
      const run = await process.runs.get(lease.userId, lease.runId);
      expect(run).toMatchObject({ status: "INTERRUPTED", lastSequence: told.length + 2 });
      expect((run && (await process.runs.messages(run)))?.[1]).toMatchObject({ content: textOf(told), complete: false });
      await first.die();
    });

    test("a run goes on being read after its process has died", async () => {
      const first = await subject.start();
      const { lease, told } = await talk(first, "restart", 4);
      await finish(first, lease, textOf(told));
      await first.die();
      const second = await subject.start();
      expect((await readAll(second.events, lease, 1, 3)).slice(0, -2).map(withoutTime)).toEqual(told.map(withoutTime));
      await second.die();
    });

    test("once the pieces are gone their readers are told so, and get the end", async () => {
      const { lease, told } = await talk(process, "expired", 8);
      const ended = await finish(process, lease, textOf(told));
      await subject.expire();
      const end = ended.at(-1) as RunEvent;
      for (const after of [0, 5]) {
        const events: RunEvent[] = [];
        const log = createEventLog(process.events);
        for await (const event of log.follow(lease.userId, lease.runId, after, "REPLY", AbortSignal.timeout(10_000))) {
          events.push(event);
        }
        expect(events.filter(({ type }) => type === "RunSnapshot")).toHaveLength(1);
        expect(events.at(-1)).toMatchObject({ type: "RunFinished", sequence: end.sequence });
        expect(events.map(({ type }) => type)).not.toContain(after === 5 ? "TextMessageContent" : "RunError");
      }
    });
  });
}

interface Told {
  lease: RunLease;
  told: RunEvent[];
}

/** Begins a run and tells so many words of its reply, each in an append of its own, thoughts among them. */
async function talk(process: LogProcess, user: string, words: number): Promise<Told> {
  const lease = await process.begin(userId(user));
  const told: RunEvent[] = [];
  for (let word = 0; word < words; word++) {
    const events = [...(word === 0 ? [RECALL, START] : []), ...(word % 5 === 4 ? [thought(word)] : []), content(`word ${word} `)];
    const [written] = await process.events.append([batch(lease, ...events)]);
    told.push(...(written as RunEvent[]));
  }
  return { lease, told };
}

async function finish(process: LogProcess, lease: RunLease, reply: string): Promise<RunEvent[]> {
  const usage = { inputTokens: 1, outputTokens: 1, estimated: true };
  const outcome = { status: "COMPLETED" as const, reply, messageId: messageOf(lease), usage, model: "m", summarizeEvery: null };
  const end = await process.runs.finish(lease, outcome, []);
  process.events.release(lease);
  return end?.events ?? [];
}

function batch(lease: RunLease, ...bodies: RunEventBody[]) {
  const events = bodies.map((body) => ("messageId" in body ? { ...body, messageId: messageOf(lease) } : body));
  return { lease, events, beginsReply: events.some(({ type }) => type !== "MemoriesRecalled") };
}

/** Its message gets the run's own id in `batch`. */
function content(delta: string): RunEventBody {
  return { type: "TextMessageContent", messageId: "", delta };
}

function thought(number: number): RunEventBody {
  return { type: "ReasoningDelta", delta: `thought ${number}` };
}

/** Everything there is after a number, read as a follower does. */
async function readAll(events: EventStore, { userId, runId }: RunLease, after: number, limit: number): Promise<RunEvent[]> {
  const all: RunEvent[] = [];
  for (let cursor = after; ; ) {
    const page = await events.read(userId, runId, cursor, limit);
    all.push(...page.events);
    cursor = all.at(-1)?.sequence ?? after;
    if (page.events.length === 0 || cursor >= (page.run?.lastSequence ?? 0)) {
      return all;
    }
  }
}

function messageOf({ runId }: RunLease): string {
  return `message-of-${runId}`;
}

function textOf(events: RunEvent[]): string {
  return events.map((event) => (event.type === "TextMessageContent" ? event.delta : "")).join("");
}

/** Clocks of two processes may differ. */
function withoutTime({ at: _, ...event }: RunEvent): object {
  return event;
}
