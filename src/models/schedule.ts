/**
 * Decides which model call goes next. A process sends its model server only so many requests at a time. Replies go first;
 * background calls take what is left, on a server of this machine only while nobody is being answered: there each request
 * slows the others down. But none waits for ever: one that is overdue or waited for goes next, taking turns with replies.
 */

import type { CallUrgency, ChatModel, ChatRequest } from "../agent/ports.ts";
import type { UserId } from "../agent/types.ts";
import { AppError } from "../errors.ts";

export interface ScheduleOptions {
  /** Requests at a time; null: what suits the place of the server. */
  concurrency: number | null;
  /** Whether the server shares this machine with us; see `isLocal`. */
  local: boolean;
  /** Why nothing is sent now, so that nobody queues for it; null when something may be. */
  resting: () => AppError | null;
  /** How long a reply waits for its turn, and from what age on a background call is overdue, in milliseconds. */
  patience?: number | undefined;
  overdueAfter?: number | undefined;
}

const LOCAL_CONCURRENCY = 4;
const REMOTE_CONCURRENCY = 32;
const PATIENCE = 120_000;
const OVERDUE_AFTER = 30_000;

interface Call {
  request: ChatRequest;
  overdue: boolean;
  /** Ends its wait. */
  start: () => void;
}

export class CallSchedule implements CallUrgency {
  /** Requests at a time. */
  readonly concurrency: number;
  readonly #options: ScheduleOptions;
  /** Oldest first. */
  readonly #waiting: Call[] = [];
  readonly #running = new Set<Call>();
  /** How many wait for the memories of each user. */
  readonly #awaited = new Map<UserId, number>();
  #lastWasUrgent = false;

  constructor(options: ScheduleOptions) {
    this.#options = options;
    this.concurrency = options.concurrency ?? (options.local ? LOCAL_CONCURRENCY : REMOTE_CONCURRENCY);
  }

  /** The same model, its calls one after the other by their urgency. A stream holds its place until it ends or its reader leaves. */
  around({ stream, answer }: ChatModel): ChatModel {
    const enter = (request: ChatRequest, signal: AbortSignal) => this.#enter(request, signal);
    return {
      async *stream(request, signal) {
        const leave = await enter(request, signal);
        try {
          yield* stream(request, signal);
        } finally {
          leave();
        }
      },
      async answer(request, schema, signal) {
        const leave = await enter(request, signal);
        try {
          return await answer(request, schema, signal);
        } finally {
          leave();
        }
      },
    };
  }

  awaits(user: UserId): () => void {
    this.#awaited.set(user, (this.#awaited.get(user) ?? 0) + 1);
    this.#startNext();
    return () => {
      const others = (this.#awaited.get(user) ?? 1) - 1;
      others === 0 ? this.#awaited.delete(user) : this.#awaited.set(user, others);
    };
  }

  /** The users whose memories somebody waits for. */
  get awaited(): UserId[] {
    return [...this.#awaited.keys()];
  }

  /** Waits for a place and takes it; the returned function gives it up. Throws CANCELLED, MODEL_TIMEOUT, or why nothing is sent. */
  async #enter(request: ChatRequest, signal: AbortSignal): Promise<() => void> {
    const refused = signal.aborted ? cancelled() : this.#options.resting();
    if (refused) {
      throw refused;
    }
    const turn = Promise.withResolvers<void>();
    const call: Call = { request, overdue: false, start: turn.resolve };
    const giveUp = (error: AppError): void => {
      const place = this.#waiting.indexOf(call);
      if (place >= 0) {
        this.#waiting.splice(place, 1);
        turn.reject(error);
      }
    };
    const onAbort = (): void => giveUp(cancelled());
    signal.addEventListener("abort", onAbort, { once: true });
    const timer = this.#timer(call, giveUp);
    this.#waiting.push(call);
    this.#startNext();
    try {
      await turn.promise;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", onAbort);
    }
    return () => {
      this.#running.delete(call);
      this.#startNext();
    };
  }

  /** A reply that waits too long is given up; a background call becomes overdue. */
  #timer(call: Call, giveUp: (error: AppError) => void): NodeJS.Timeout {
    const { patience = PATIENCE, overdueAfter = OVERDUE_AFTER } = this.#options;
    if (isReply(call)) {
      return setTimeout(() => giveUp(tooBusy(patience, this.concurrency)), patience);
    }
    const left = Math.max(0, overdueAfter - age(call.request));
    call.overdue = left === 0;
    return setTimeout(() => {
      call.overdue = true;
      this.#startNext();
    }, left);
  }

  #startNext(): void {
    while (this.#running.size < this.concurrency) {
      const next = this.#next();
      if (!next) {
        return;
      }
      this.#waiting.splice(this.#waiting.indexOf(next), 1);
      this.#running.add(next);
      this.#lastWasUrgent = this.#isUrgent(next);
      next.start();
    }
  }

  #next(): Call | undefined {
    const reply = this.#waiting.find(isReply);
    const urgent = this.#waiting.find((call) => this.#isUrgent(call));
    if (urgent && !(reply && this.#lastWasUrgent)) {
      return urgent;
    }
    const mustYield = this.#options.local && [...this.#running].some(isReply);
    return reply ?? (mustYield ? undefined : this.#waiting[0]);
  }

  #isUrgent(call: Call): boolean {
    const { purpose, job } = call.request;
    return !isReply(call) && (call.overdue || (purpose === "memory" && job !== undefined && this.#awaited.has(job.userId)));
  }
}

/** Whether an address names this machine. */
export function isLocal(baseUrl: string): boolean {
  return /^(localhost|127(\.\d+){3}|\[::1\])$/.test(URL.parse(baseUrl)?.hostname ?? "");
}

function isReply({ request }: Call): boolean {
  return request.purpose === "reply";
}

/** How long background work has been waiting to be done (ms). */
function age({ job }: ChatRequest): number {
  return job ? Date.now() - job.since.getTime() : 0;
}

function cancelled(): AppError {
  return new AppError("CANCELLED", "The request to the model was cancelled.");
}

function tooBusy(patience: number, concurrency: number): AppError {
  return new AppError(
    "MODEL_TIMEOUT",
    `The reply waited ${Math.round(patience / 100) / 10} s for its turn: ${concurrency} requests are sent to the model server at a time. ` +
      "Try again, or raise MODEL_CONCURRENCY if the server can do more at once.",
  );
}
