/**
 * Writes the events of all runs of this process together: one statement at a time, each taking whatever has gathered. A
 * run's first piece of text goes at once, later ones gather for a moment; what must be committed before work goes on does not wait.
 */

import { type EventWriter, LeaseLost } from "../agent/ports.ts";
import type { RunEvent, RunEventBody, RunLease, UserId } from "../agent/types.ts";
import type { EventStore } from "./event-store.ts";

/** How long pieces of text may gather before they are written (ms). */
const GATHER_TIME = 40;

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

  open(lease: RunLease): EventWriter {
    return new RunWriter(lease, (writer, urgent) => this.#schedule(writer, urgent));
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
    try {
      const written = batches.length > 0 ? await this.#store.append(batches) : [];
      for (const [index, writer] of writers.entries()) {
        const events = written[index];
        if (events) {
          this.#announce(writer.lease.userId, events);
        }
        writer.settle(events ? null : new LeaseLost("Another process has this run."));
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
  readonly #schedule: (writer: RunWriter, urgent: boolean) => void;
  #pending: RunEventBody[] = [];
  #requestsModel = false;
  #begunText = false;
  #firstText = false;
  #error: unknown = null;
  /** Settles with the write that will take what is pending; null while nobody waits for it. */
  #next: PromiseWithResolvers<void> | null = null;
  /** Settles with the write under way; null between writes. */
  #current: PromiseWithResolvers<void> | null = null;

  constructor(lease: RunLease, schedule: (writer: RunWriter, urgent: boolean) => void) {
    this.lease = lease;
    this.#schedule = schedule;
  }

  /** True when there is something to write. Once a write has failed, what comes later must not be stored without what is missing. */
  get due(): boolean {
    return this.#error === null && (this.#pending.length > 0 || this.#next !== null);
  }

  /** True when somebody waits for what is pending: this process, or a reader for the first words. */
  get urgent(): boolean {
    return this.#next !== null || this.#firstText;
  }

  append(events: RunEventBody[], options: { requestsModel?: boolean } = {}): Promise<void> {
    this.#add(events);
    this.#requestsModel ||= options.requestsModel === true;
    return this.#committed();
  }

  push(event: RunEventBody): void {
    this.#add([event]);
    const isText = event.type === "TextMessageContent";
    this.#firstText ||= isText && !this.#begunText;
    this.#begunText ||= isText;
    this.#schedule(this, this.urgent);
  }

  async takeRest(): Promise<RunEventBody[]> {
    await this.#current?.promise;
    if (this.#error !== null) {
      throw this.#error;
    }
    const rest = this.#pending;
    this.#pending = [];
    return rest;
  }

  take(): { lease: RunLease; events: RunEventBody[]; requestsModel: boolean } {
    const batch = { lease: this.lease, events: this.#pending, requestsModel: this.#requestsModel };
    this.#pending = [];
    this.#requestsModel = false;
    this.#firstText = false;
    this.#current = this.#next ?? Promise.withResolvers();
    // Whoever does not wait learns of a failed write from the next call.
    this.#current.promise.catch(() => undefined);
    this.#next = null;
    return batch;
  }

  settle(error: unknown): void {
    this.#error = error;
    if (error === null) {
      this.#current?.resolve();
    } else {
      this.#current?.reject(error);
      this.#next?.reject(error);
      this.#next = null;
    }
    this.#current = null;
  }

  #add(events: RunEventBody[]): void {
    if (this.#error !== null) {
      throw this.#error;
    }
    for (const event of events) {
      const last = this.#pending.at(-1);
      const joined = last && join(last, event);
      if (joined) {
        this.#pending[this.#pending.length - 1] = joined;
      } else {
        this.#pending.push(event);
      }
    }
  }

  #committed(): Promise<void> {
    this.#next ??= Promise.withResolvers();
    const { promise } = this.#next;
    this.#schedule(this, true);
    return promise;
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
