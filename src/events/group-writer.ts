/**
 * Writes the events of all runs of this process together: one statement at a time, each taking whatever has gathered. A
 * run's first piece of text goes at once, later ones gather for a moment.
 */

import { patiently } from "../agent/patience.ts";
import { type EventWriter, LeaseLost } from "../agent/ports.ts";
import type { RunEvent, RunEventBody, RunLease, UserId } from "../agent/types.ts";
import { step } from "../step.ts";
import type { EventStore } from "./event-store.ts";

/** How long pieces of text may gather before they are written (ms). */
const GATHER_TIME = 40;

/** Events that a run may have had and still be carried out from the start by another process. */
const BEFORE_REPLY: ReadonlySet<RunEventBody["type"]> = new Set<RunEventBody["type"]>(["RunStarted", "MemoriesRecalled"]);

export class GroupWriter {
  readonly #store: EventStore;
  readonly #announce: (user: UserId, events: RunEvent[]) => void;
  readonly #waiting = new Set<RunWriter>();
  #timer: NodeJS.Timeout | null = null;
  #writing = false;

  constructor(store: EventStore, announce: (user: UserId, events: RunEvent[]) => void) {
    this.#store = store;
    this.#announce = announce;
  }

  /** `after`: the number of the run's last event. */
  open(lease: RunLease, after: number): EventWriter {
    return new RunWriter(lease, after, {
      schedule: (writer, urgent) => this.#schedule(writer, urgent),
      release: () => this.#store.release(lease),
    });
  }

  #schedule(writer: RunWriter, urgent: boolean): void {
    this.#waiting.add(writer);
    if (this.#writing) {
      return;
    }
    if (urgent) {
      void this.#write();
    } else {
      this.#timer ??= setTimeout(() => void this.#write(), GATHER_TIME);
    }
  }

  async #write(): Promise<void> {
    if (this.#timer) {
      clearTimeout(this.#timer);
      this.#timer = null;
    }
    this.#writing = true;
    const writers = [...this.#waiting].filter((writer) => writer.due);
    this.#waiting.clear();
    const batches = writers.map((writer) => writer.take());
    // What may be stored already gets the numbers it has.
    const again = () => batches.map((batch, index) => ({ ...batch, after: writers[index]?.last }));
    try {
      const written = batches.length > 0 ? await patiently((attempt) => this.#store.append(attempt === 1 ? batches : again())) : [];
      step("events-stored");
      for (const [index, writer] of writers.entries()) {
        const events = written[index] ?? new LeaseLost("Another process has this run.");
        if (events instanceof Error) {
          writer.settle(events);
        } else {
          this.#announce(writer.lease.userId, events);
          writer.last = events.at(-1)?.sequence ?? writer.last;
          writer.settle(null);
        }
      }
    } catch (error) {
      for (const writer of writers) {
        writer.settle(error);
      }
    }
    this.#writing = false;
    const left = [...this.#waiting];
    const next = left[0];
    if (next) {
      this.#schedule(
        next,
        left.some((writer) => writer.urgent),
      );
    }
  }
}

class RunWriter implements EventWriter {
  readonly lease: RunLease;
  /** The number of the last event that is stored. */
  last: number;
  readonly #group: { schedule(writer: RunWriter, urgent: boolean): void; release(): void };
  #pending: RunEventBody[] = [];
  #begunText = false;
  #firstText = false;
  #error: unknown = null;
  /** Settles with the write under way; null between writes. */
  #current: PromiseWithResolvers<void> | null = null;

  constructor(lease: RunLease, after: number, group: { schedule(writer: RunWriter, urgent: boolean): void; release(): void }) {
    this.lease = lease;
    this.last = after;
    this.#group = group;
  }

  /** True when there is something to write. Once a write has failed, what comes later must not be stored without what is missing. */
  get due(): boolean {
    return this.#error === null && this.#pending.length > 0;
  }

  /** True when readers wait for the first words. */
  get urgent(): boolean {
    return this.#firstText;
  }

  push(event: RunEventBody): void {
    this.#add(event);
    const isText = event.type === "TextMessageContent";
    this.#firstText ||= isText && !this.#begunText;
    this.#begunText ||= isText;
    this.#group.schedule(this, this.urgent);
  }

  async takeRest(): Promise<RunEventBody[]> {
    // The end of a write may have begun the next one already, when another run was in a hurry.
    while (this.#current) {
      await this.#current.promise;
    }
    if (this.#error !== null) {
      throw this.#error;
    }
    const rest = this.#pending;
    this.#pending = [];
    return rest;
  }

  close(): void {
    this.#group.release();
  }

  take(): { lease: RunLease; events: RunEventBody[]; beginsReply: boolean } {
    const beginsReply = this.#pending.some((event) => !BEFORE_REPLY.has(event.type));
    const batch = { lease: this.lease, events: this.#pending, beginsReply };
    this.#pending = [];
    this.#firstText = false;
    this.#current = Promise.withResolvers();
    // Whoever does not wait learns of a failed write from the next call.
    this.#current.promise.catch(() => undefined);
    return batch;
  }

  settle(error: unknown): void {
    this.#error = error;
    if (error === null) {
      this.#current?.resolve();
    } else {
      this.#current?.reject(error);
    }
    this.#current = null;
  }

  #add(event: RunEventBody): void {
    if (this.#error !== null) {
      throw this.#error;
    }
    const last = this.#pending.at(-1);
    const joined = last && join(last, event);
    if (joined) {
      this.#pending[this.#pending.length - 1] = joined;
    } else {
      this.#pending.push(event);
    }
  }
}

/** One event for two pieces of the same text; null when they are not. */
function join(last: RunEventBody, next: RunEventBody): RunEventBody | null {
  if (last.type === "TextMessageContent" && next.type === "TextMessageContent" && last.messageId === next.messageId) {
    return { ...last, delta: last.delta + next.delta };
  }
  if (last.type === "ReasoningDelta" && next.type === "ReasoningDelta") {
    return { ...last, delta: last.delta + next.delta };
  }
  return null;
}
