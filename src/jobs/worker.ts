/** Carries out jobs: claims them one after the other, keeps their leases, records what became of them. */

import { v7 as uuid } from "uuid";
import { patiently } from "../agent/patience.ts";
import { type ClaimedJob, type EventLog, type JobStore, type Log, ModelResting } from "../agent/ports.ts";
import type { JobKind, JobLease, UserId } from "../agent/types.ts";
import { AppError, type ErrorCode, toFailure } from "../errors.ts";
import { step } from "../step.ts";

/** A task does its work and completes its job in the transaction that stores the effect; stops when `signal` aborts. */
export type Task = (job: JobLease, signal: AbortSignal) => Promise<void>;

export interface JobWorkerOptions {
  jobs: JobStore;
  events: EventLog;
  tasks: Record<JobKind, Task>;
  log: Log;
  /** Jobs carried out at a time. */
  concurrency: number;
  /** Whose extractions somebody waits for. */
  awaited: () => UserId[];
  /** How many are worth beginning now: 0 while the model server is left alone, 1 when one is to show how it is. */
  room: () => number;
  /** True when no other process can have the database: every lease found at the start is of a dead one. */
  alone: boolean;
  /** Runs work so that it waits for what users wait for. */
  inBackground: <T>(work: () => Promise<T>) => Promise<T>;
}

/** How often jobs are looked for although nothing woke us (ms), and leases are renewed and reaped. */
const CLAIM_INTERVAL = 1_000;
const LEASE_INTERVAL = 4_000;

/** What is away may come back: tried for about a day. A model that answers nonsense will hardly do better a tenth time. */
const PATIENT_CODES: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "MODEL_UNAVAILABLE",
  "MODEL_TIMEOUT",
  "SERVICE_UNAVAILABLE",
  "STORAGE_FULL",
  "RATE_LIMITED",
]);
const PATIENT_ATTEMPTS = 290;
const ATTEMPTS = 3;

export class JobWorker {
  readonly #options: JobWorkerOptions;
  readonly #running = new Map<string, { job: JobLease; controller: AbortController; ended: Promise<void> }>();
  #timers: NodeJS.Timeout[] = [];
  #stopping = false;
  #claiming: Promise<void> | null = null;
  #claimAgain = false;
  /** Jobs have failed because a model or the database was away. */
  #wasAway = false;
  /** The last attempt to claim failed: the database is away. */
  #unclaimed = false;
  #pokes = 0;

  constructor(options: JobWorkerOptions) {
    this.#options = options;
  }

  async start(): Promise<void> {
    await this.#options.jobs.reap(this.#options.alone).catch((error: unknown) => this.#report(error));
    this.#timers = [
      setInterval(() => this.poke(), CLAIM_INTERVAL),
      setInterval(() => void this.#keepLeases(), LEASE_INTERVAL),
      setInterval(() => void this.#options.jobs.reap(false).catch((error) => this.#report(error)), LEASE_INTERVAL),
    ];
    this.poke();
  }

  /** There may be a job to claim. */
  poke(): void {
    this.#pokes++;
    this.#claimAgain = true;
    if (!this.#stopping) {
      this.#claiming ??= this.#options
        .inBackground(() => this.#claimDue(false))
        .catch((error: unknown) => {
          this.#unclaimed = true;
          this.#report(error);
        })
        .finally(() => {
          this.#claiming = null;
        });
    }
  }

  /** A model has answered, and the database has taken it: jobs that failed because one was away are tried again now, not when their delay is over. */
  async modelAnswered(): Promise<void> {
    if (!this.#wasAway) {
      return;
    }
    this.#wasAway = false;
    try {
      await this.#options.jobs.hurry();
      this.poke();
    } catch (error) {
      this.#wasAway = true;
      this.#report(error);
    }
  }

  /** Carries out every job there is, also those whose time has not come, until none is left. */
  async drain(): Promise<void> {
    do {
      await this.#claiming;
      this.#claimAgain = true;
      await this.#options.inBackground(() => this.#claimDue(true));
      await Promise.all([...this.#running.values()].map((running) => running.ended));
    } while (await this.#hasWork());
  }

  async #hasWork(): Promise<boolean> {
    const { due } = await this.#options.jobs.counts();
    // What was claimed while they were counted is under way by now.
    await this.#claiming;
    return due > 0 || this.#running.size > 0;
  }

  /** Stops claiming and gives up what is under way: another process, or the next start, takes it over. */
  async close(): Promise<void> {
    this.#stopping = true;
    for (const timer of this.#timers) {
      clearInterval(timer);
    }
    await this.#claiming;
    const running = [...this.#running.values()];
    for (const { controller } of running) {
      controller.abort();
    }
    await Promise.all(running.map(({ ended }) => ended));
  }

  async #claimDue(ignoreDelay: boolean): Promise<void> {
    for (let free = this.#free(ignoreDelay); this.#claimAgain && !this.#stopping && free > 0; free = this.#free(ignoreDelay)) {
      this.#claimAgain = false;
      if (this.#unclaimed) {
        await this.#options.jobs.hurry();
        this.#unclaimed = false;
      }
      const claimed = await this.#options.jobs.claim(ignoreDelay, free, this.#options.awaited());
      if (claimed.length > 0) {
        step("jobs-claimed");
      }
      for (const job of claimed) {
        this.#carryOut(job);
      }
      // There may be more than there was room for.
      this.#claimAgain ||= claimed.length === free;
    }
  }

  #free(ignoreRest: boolean): number {
    const { concurrency, room } = this.#options;
    return (ignoreRest ? concurrency : Math.min(concurrency, room())) - this.#running.size;
  }

  #carryOut({ job, exhausted, awaited }: ClaimedJob): void {
    const controller = new AbortController();
    const pokes = this.#pokes;
    const ended = this.#options
      .inBackground(() => this.#attempt(job, exhausted, controller.signal))
      .catch((error: unknown) => this.#report(error))
      .then(() => {
        // Taken from this process and claimed by it again, the job is somebody else's by now.
        if (this.#running.get(job.jobId)?.job === job) {
          this.#running.delete(job.jobId);
        }
        // What waits for this job's lane, or came up meanwhile and may wait for its lane or place.
        if (awaited || this.#claimAgain || this.#pokes !== pokes) {
          this.poke();
        }
      });
    this.#running.get(job.jobId)?.controller.abort();
    this.#running.set(job.jobId, { job, controller, ended });
  }

  async #attempt(job: JobLease, exhausted: boolean, signal: AbortSignal): Promise<void> {
    const { tasks, log } = this.#options;
    try {
      if (exhausted) {
        throw new AppError("INTERNAL", "The server stopped during each try of this work.");
      }
      await tasks[job.kind](job, signal);
      log.debug({ jobId: job.jobId, kind: job.kind }, "job done");
      await this.modelAnswered();
    } catch (error) {
      // A job given up because the server stops, or the model server is left alone, does not count as tried.
      const wasTried = !signal.aborted && !(error instanceof ModelResting);
      // Until what became of it is recorded nobody else may have its lane.
      await patiently(() => (wasTried ? this.#fail(job, exhausted, error) : this.#options.jobs.giveBack(job)));
    }
  }

  async #fail(job: JobLease, exhausted: boolean, error: unknown): Promise<void> {
    const { jobs, events, log } = this.#options;
    const errorId = error instanceof AppError ? null : uuid();
    const failure = { ...toFailure(error, errorId), retryable: true };
    this.#wasAway ||= PATIENT_CODES.has(failure.code);
    const attempts = exhausted ? 0 : PATIENT_CODES.has(failure.code) ? PATIENT_ATTEMPTS : ATTEMPTS;
    const { dead, events: told } = await jobs.fail(job, failure, attempts);
    events.announce(job.userId, told);
    // A model server's own words may repeat what the user wrote.
    log.debug({ jobId: job.jobId, err: error }, "why the job failed");
    log.warn(
      { jobId: job.jobId, kind: job.kind, attempt: job.attempt, code: failure.code, errorId, ...(errorId !== null && { err: error }) },
      dead ? "job given up" : "job failed; it will be tried again",
    );
  }

  async #keepLeases(): Promise<void> {
    if (this.#running.size === 0) {
      return;
    }
    const held = [...this.#running.keys()];
    try {
      const alive = new Set(await this.#options.jobs.heartbeat(held));
      for (const jobId of held.filter((id) => !alive.has(id))) {
        this.#running.get(jobId)?.controller.abort();
      }
    } catch (error) {
      this.#report(error);
    }
  }

  #report(error: unknown): void {
    this.#options.log.error({ err: error }, "jobs could not be looked after; trying again");
  }
}
