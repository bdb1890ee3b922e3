/** Accepts runs, carries them out in this process, and takes over what other processes left behind. */

import { v7 as uuid } from "uuid";
import { AppError } from "../errors.ts";
import { step } from "../step.ts";
import type { AgentDefinition } from "./agents.ts";
import { worthExtracting } from "./gate.ts";
import { requestFingerprint } from "./input.ts";
import { LeaseLost, PEER_WORDS, type Peers, type Runner } from "./ports.ts";
import { carryOut, type RunDeps, type StopReason } from "./run.ts";
import { takingTurns } from "./taking-turns.ts";
import { isTerminal, type Run, type RunLease, type RunRequest, type RunStage, type UserId } from "./types.ts";

export interface RunnerOptions {
  /** True when no other process can have the database: every lease found at the start is of a dead one. */
  alone: boolean;
  peers: Peers;
  /** Called when a run has ended: its jobs may be claimed. `answered`: a model has written its reply. */
  onEnded: (answered: boolean) => void;
}

/** How often queued runs are looked for although nothing woke us (ms), and leases are renewed and reaped. */
const CLAIM_INTERVAL = 1_000;
const LEASE_INTERVAL = 4_000;
/** How long `waitFor: MEMORY` waits for an extraction (ms). */
const MEMORY_DEADLINE = 60_000;
/** How long `cancel` waits for the process that has the run (ms): longer than a dead one's lease takes to run out and be found. */
const CANCEL_DEADLINE = 22_000;

export class ProcessRunner implements Runner {
  readonly #deps: RunDeps;
  readonly #options: RunnerOptions;
  /** Aborted once the process stops: whoever waits is answered with what there is. */
  readonly #closing = new AbortController();
  readonly #executing = new Map<string, { lease: RunLease; controller: AbortController; ended: Promise<void> }>();
  #timers: NodeJS.Timeout[] = [];
  #leaseTimer: NodeJS.Timeout | undefined;
  #stopping = false;
  readonly #claimQueued = takingTurns(
    () => this.#claimAll(),
    (error) => this.#report(error),
  );
  readonly #keepLeases = takingTurns(
    () => this.#renewLeases(),
    (error) => this.#report(error),
  );

  constructor(deps: RunDeps, options: RunnerOptions) {
    this.#deps = deps;
    this.#options = options;
  }

  async start(): Promise<void> {
    await this.#reap(this.#options.alone).catch((error: unknown) => this.#report(error));
    this.#options.peers.hear((word) => this.#hear(word));
    this.#timers = [
      setInterval(() => void this.#claimQueued(), CLAIM_INTERVAL),
      setInterval(() => void this.#reap(false).catch((error) => this.#report(error)), LEASE_INTERVAL),
    ];
    this.#leaseTimer = setInterval(() => void this.#keepLeases(), LEASE_INTERVAL);
    void this.#claimQueued();
  }

  async submit(request: RunRequest): Promise<Run> {
    if (this.#stopping) {
      throw new AppError("SERVICE_UNAVAILABLE", "The server is stopping. Send the message again in a moment.");
    }
    const agent = this.#deps.agents.get(request.agentId);
    const skipped = whyNotLearn(request, agent);
    const { run, created, lease, events } = await this.#deps.runs.accept(request.userId, {
      request,
      sessionId: request.sessionId ?? uuid(),
      runId: uuid(),
      messageId: uuid(),
      fingerprint: requestFingerprint(request),
      extract: skipped === null,
    });
    step("run-accepted");
    this.#deps.log.debug({ runId: run.runId, sessionId: run.sessionId, created, extract: skipped ?? "yes" }, "run accepted");
    this.#deps.events.announce(request.userId, events);
    if (lease) {
      this.#execute(lease, run, request.message);
    } else if (created) {
      await this.#whenBusy(request, run);
    }
    return run;
  }

  async wait(user: UserId, runId: string, stage: RunStage, signal: AbortSignal): Promise<Run> {
    const patience = AbortSignal.any([signal, this.#closing.signal]);
    const executing = this.#executing.get(key(user, runId));
    if (executing && stage !== "ACCEPTED") {
      await untilAborted(executing.ended, patience);
    }
    const run = await this.#find(user, runId);
    if (hasReached(run, stage)) {
      return run;
    }
    const deadline = stage === "MEMORY" ? AbortSignal.any([patience, AbortSignal.timeout(MEMORY_DEADLINE)]) : patience;
    for await (const _ of this.#deps.events.follow(user, runId, run.lastSequence, stage === "MEMORY" ? "MEMORY" : "REPLY", deadline)) {
      // Only the end matters.
    }
    return this.#find(user, runId);
  }

  async cancel(user: UserId, runId: string): Promise<Run> {
    const asked = await this.#deps.runs.requestCancel(user, runId);
    if (!asked) {
      throw runNotFound();
    }
    this.#deps.events.announce(user, asked.events);
    if (isTerminal(asked.run.status)) {
      void this.#claimQueued();
      return asked.run;
    }
    const executing = this.#executing.get(key(user, runId));
    if (executing) {
      executing.controller.abort("cancelled" satisfies StopReason);
      await executing.ended;
    } else {
      await this.#stoppedElsewhere(asked.run);
    }
    return (await this.#deps.runs.get(user, runId)) ?? asked.run;
  }

  /** Takes no more runs, lets those under way end for `patience` ms, then interrupts them. */
  async close(patience: number): Promise<void> {
    this.#stopping = true;
    for (const timer of this.#timers) {
      clearInterval(timer);
    }
    await this.#claimQueued();
    const ended = Promise.all([...this.#executing.values()].map((executing) => executing.ended));
    const timer = setTimeout(() => {
      for (const { controller } of this.#executing.values()) {
        controller.abort("stopping" satisfies StopReason);
      }
    }, patience);
    await ended;
    // Until here the runs under way are this process's.
    clearInterval(this.#leaseTimer);
    clearTimeout(timer);
    this.#closing.abort();
  }

  /** Waits until another process has ended a run that was asked to stop. */
  async #stoppedElsewhere(run: Run): Promise<void> {
    this.#options.peers.tell(PEER_WORDS.cancel);
    const patience = AbortSignal.any([this.#closing.signal, AbortSignal.timeout(CANCEL_DEADLINE)]);
    for await (const _ of this.#deps.events.follow(run.userId, run.runId, run.lastSequence, "REPLY", patience)) {
      // Only the end matters.
    }
  }

  #hear(word: string): void {
    if (word === PEER_WORDS.cancel) {
      void this.#keepLeases();
    } else if (word === PEER_WORDS.runs) {
      void this.#claimQueued();
    }
  }

  #execute(lease: RunLease, run: Run, message: string): void {
    const name = key(lease.userId, lease.runId);
    const controller = new AbortController();
    const ended = carryOut(lease, run, message, this.#deps, controller.signal)
      // Its lease is no longer renewed, so the run ends as INTERRUPTED once the database answers again.
      .catch((error: unknown) => {
        if (error instanceof LeaseLost) {
          this.#deps.log.warn(
            { runId: run.runId },
            "this run was taken by another process, or its session was deleted: nothing more is written here",
          );
        } else {
          this.#report(error);
        }
      })
      .then((end) => {
        // Taken from this process and claimed by it again, the run has another executor by now.
        if (this.#executing.get(name)?.lease === lease) {
          this.#executing.delete(name);
        }
        this.#options.onEnded(end?.answered ?? false);
        // Without an end there is no telling what waits.
        if (end?.queued ?? true) {
          this.#claimNext();
        }
      });
    this.#executing.get(name)?.controller.abort("stopping" satisfies StopReason);
    this.#executing.set(name, { lease, controller, ended });
  }

  async #whenBusy(request: RunRequest, run: Run): Promise<void> {
    if (request.onBusy === "INTERRUPT") {
      const active = await this.#deps.runs.active(request.userId, run.sessionId);
      // The latest first: the end of the one being answered would let those behind it begin.
      for (const earlier of active.filter((other) => other.turn < run.turn).toReversed()) {
        await this.cancel(request.userId, earlier.runId);
      }
    }
    // The run in its way may have ended before this one was stored.
    void this.#claimQueued();
  }

  /** A queued run may begin: here, or elsewhere when this process stops. */
  #claimNext(): void {
    if (this.#stopping) {
      this.#options.peers.tell(PEER_WORDS.runs);
    } else {
      void this.#claimQueued();
    }
  }

  async #claimAll(): Promise<void> {
    while (!this.#stopping) {
      const lease = await this.#deps.runs.claim();
      if (!lease) {
        return;
      }
      step("run-claimed");
      const { run, message, cancelRequested } = await this.#deps.runs.input(lease);
      this.#execute(lease, run, message.content);
      if (cancelRequested) {
        this.#executing.get(key(lease.userId, lease.runId))?.controller.abort("cancelled" satisfies StopReason);
      }
    }
  }

  async #find(user: UserId, runId: string): Promise<Run> {
    const run = await this.#deps.runs.get(user, runId);
    if (!run) {
      throw runNotFound();
    }
    return run;
  }

  /** Renews the leases of the runs under way, and stops those that were asked to. */
  async #renewLeases(): Promise<void> {
    if (this.#executing.size === 0) {
      return;
    }
    const held = [...this.#executing.values()];
    const alive = await this.#deps.runs.heartbeat(held.map(({ lease }) => lease.runId));
    const asked = new Set(alive.filter((run) => run.cancelRequested).map((run) => run.runId));
    for (const { lease, controller } of held) {
      if (asked.has(lease.runId)) {
        controller.abort("cancelled" satisfies StopReason);
      }
    }
  }

  async #reap(everyLease: boolean): Promise<void> {
    const ended = await this.#deps.runs.reap(everyLease);
    for (const { userId, events } of ended) {
      this.#deps.events.announce(userId, events);
    }
    if (ended.length > 0) {
      this.#options.onEnded(false);
      this.#claimNext();
    }
  }

  #report(error: unknown): void {
    this.#deps.log.error({ err: error }, "runs could not be looked after; trying again");
  }
}

/** Why nothing is to be learned from a message; null when something may be. */
function whyNotLearn(request: RunRequest, agent: AgentDefinition): string | null {
  if (request.memory === "OFF" || !agent.remembers) {
    return request.memory === "OFF" ? "no: memory is off for this run" : "no: this agent does not remember";
  }
  return worthExtracting(request.message) ? null : "no: nothing to remember in it (a greeting, a bare question, a request or code)";
}

function hasReached(run: Run, stage: RunStage): boolean {
  return stage === "ACCEPTED" || (isTerminal(run.status) && (stage === "REPLY" || run.memoryUpdate.status !== "PENDING"));
}

function key(user: UserId, runId: string): string {
  return JSON.stringify([user, runId]);
}

function runNotFound(): AppError {
  return new AppError("NOT_FOUND", "There is no such run.");
}

async function untilAborted(promise: Promise<void>, signal: AbortSignal): Promise<void> {
  const aborted = Promise.withResolvers<void>();
  const stop = (): void => aborted.resolve();
  signal.addEventListener("abort", stop, { once: true });
  await Promise.race([promise, aborted.promise]).finally(() => signal.removeEventListener("abort", stop));
}
