/**
 * The event log with the pieces of replies in Redis instead of Postgres. How a run begins and ends is stored in Postgres,
 * also that its reply has begun; what is said in between goes to a stream. When Redis fails, the run goes on in Postgres from
 * its first piece on, under the same numbers: who writes a reply keeps its pieces until its end is stored.
 */

import { isTerminal, type Run, type RunEvent, type RunLease, type UserId } from "../agent/types.ts";
import { AppError } from "../errors.ts";
import type { EventBatch, EventPage, EventStore, UnnumberedEvent } from "../events/event-store.ts";
import type { Entry, PieceStreams, RunName } from "./redis-streams.ts";

/** More events than a reply can have: where numbers go on when nobody knows which of them readers have been shown. */
export const LEAP = 10_000_000;

/** Entries read at a time when all are wanted. */
const ENTRIES_PER_READ = 500;

/** A reply that this process writes. */
interface Writing {
  attempt: number;
  /** The number of the last event in Postgres. */
  after: number;
  /** What was given numbers after that, and how many of these are stored. */
  pieces: UnnumberedEvent[];
  stored: number;
  /** False once Redis has failed it. */
  apart: boolean;
  /** Postgres has failed it too: nobody knows what of the pieces is stored, and the run's end brings them all. */
  unsure: boolean;
}

/** What the end of a run has to go by. */
export interface Unended {
  /** The number the end's events follow; null: for the run's row to say. */
  after: number | null;
  /** Events before the end that may not be stored. */
  unsaved: UnnumberedEvent[];
}

export class Pieces implements EventStore {
  readonly #database: EventStore;
  readonly #streams: PieceStreams;
  readonly #writing = new Map<string, Writing>();

  constructor(database: EventStore, streams: PieceStreams) {
    this.#database = database;
    this.#streams = streams;
  }

  async append(batches: EventBatch[]): Promise<(RunEvent[] | null | Error)[]> {
    const results: (RunEvent[] | null | Error)[] = batches.map(() => null);
    const apart: Numbered[] = [];
    const direct: Numbered[] = [];
    for (const [index, batch] of batches.entries()) {
      const writing = this.#of(batch.lease);
      const at = new Date();
      writing?.pieces.push(...batch.events.map((event) => ({ ...event, at })));
      (writing?.apart ? apart : direct).push({ index, batch, writing });
    }
    const fallen = async (): Promise<Numbered[]> => (apart.length > 0 ? this.#toStreams(apart, results) : []);
    const [failed] = await Promise.all([fallen(), this.#toDatabase(direct, results)]);
    await this.#toDatabase(failed, results);
    return results;
  }

  async read(user: UserId, runId: string, after: number, limit: number): Promise<EventPage> {
    const page = await this.#database.read(user, runId, after, limit);
    const { run } = page;
    if (!run || run.status === "QUEUED" || isWhole(page, after, limit)) {
      return page;
    }
    const mine = this.#writing.get(key(user, runId));
    const entries = mine
      ? [{ after: mine.after, pieces: mine.pieces.slice(0, mine.stored) }]
      : await this.#streams.read({ userId: user, runId }, after, limit).catch(() => []);
    const pieces = entries.flatMap((entry) => numbered(runId, entry)).filter(({ sequence }) => sequence > after);
    return merge(page, pieces, limit, !mine && entries.length === limit);
  }

  release(lease: RunLease): void {
    if (this.#of(lease)) {
      this.#writing.delete(key(lease.userId, lease.runId));
    }
  }

  /** What this process has written of the run under this lease. */
  unended(lease: RunLease): Unended {
    const writing = this.#of(lease);
    if (!writing) {
      return { after: null, unsaved: [] };
    }
    const { after, pieces, apart } = writing;
    return apart ? { after: after + pieces.length, unsaved: [] } : { after, unsaved: pieces };
  }

  /** The runs with `lastSequence` as it is with what is in Redis. */
  async refresh(runs: Run[]): Promise<Run[]> {
    const running = runs.filter((run) => run.status === "RUNNING");
    const elsewhere = running.filter((run) => !this.#writing.has(key(run.userId, run.runId)));
    const ends = elsewhere.length > 0 ? await this.#streams.ends(elsewhere).catch(() => []) : [];
    const last = new Map(elsewhere.map((run, index) => [run, ends[index] ?? 0]));
    return runs.map((run) => {
      const mine = run.status === "RUNNING" ? this.#writing.get(key(run.userId, run.runId)) : undefined;
      const known = mine ? mine.after + (mine.unsure ? mine.pieces.length : mine.stored) : (last.get(run) ?? 0);
      return known > run.lastSequence ? { ...run, lastSequence: known } : run;
    });
  }

  /** The pieces of a run being written, after `after` and up to its `lastSequence`; null when some of them are not to be had. */
  async between(run: Run, after: number): Promise<RunEvent[] | null> {
    const mine = this.#writing.get(key(run.userId, run.runId));
    const entries = mine ? [mine] : await this.#readAll(run, after, run.lastSequence);
    const events = entries
      .flatMap((entry) => numbered(run.runId, entry))
      .filter(({ sequence }) => sequence > after && sequence <= run.lastSequence);
    return events.length === run.lastSequence - after ? events : null;
  }

  /** Takes a run from whoever writes it. Its pieces; null when they are lost, or Redis does not answer. */
  async take(run: RunName): Promise<RunEvent[] | null> {
    const entries = await this.#streams.end(run).catch(() => null);
    return entries?.flatMap((entry) => numbered(run.runId, entry)) ?? null;
  }

  /** The run's end is stored: its pieces go, in a while. */
  ended(run: RunName): void {
    this.#streams.expire(run).catch(() => undefined);
  }

  /** Waits for Redis, at most so many milliseconds. */
  async answers(milliseconds: number): Promise<void> {
    await this.#streams.answers(milliseconds);
  }

  /** Forgets runs that were deleted; whoever still writes one finds its lease lost. What Redis does not answer to goes by itself. */
  async remove(user: UserId, runIds: string[]): Promise<void> {
    if (runIds.length > 0) {
      await this.#streams.remove(runIds.map((runId) => ({ userId: user, runId }))).catch(() => undefined);
    }
  }

  #of(lease: RunLease): Writing | null {
    const writing = this.#writing.get(key(lease.userId, lease.runId));
    return writing?.attempt === lease.attempt ? writing : null;
  }

  /** Returns those that Redis did not take. */
  async #toStreams(sent: Numbered[], results: (RunEvent[] | null | Error)[]): Promise<Numbered[]> {
    const entries = sent.map(({ batch, writing }) => {
      const { userId, runId } = batch.lease;
      const pieces = writing?.pieces.slice(writing.stored) ?? [];
      return { userId, runId, after: (writing?.after ?? 0) + (writing?.stored ?? 0), pieces };
    });
    const outcomes = await this.#streams.append(entries);
    return sent.filter(({ index, writing }, place) => {
      const outcome = outcomes[place];
      const entry = entries[place];
      if (outcome === "ended" || !writing || !entry) {
        return false;
      }
      if (outcome === "stored") {
        writing.stored = writing.pieces.length;
        results[index] = numbered(entry.runId, entry);
        return false;
      }
      writing.apart = false;
      return true;
    });
  }

  async #toDatabase(sent: Numbered[], results: (RunEvent[] | null | Error)[]): Promise<void> {
    if (sent.length === 0) {
      return;
    }
    const batches = sent.map(({ batch, writing }) => (writing ? { ...batch, events: writing.pieces, after: writing.after } : batch));
    const written = await this.#database.append(batches).catch((error: Error) => batches.map(() => error));
    for (const [place, { index, batch, writing }] of sent.entries()) {
      const events = written[place] ?? null;
      results[index] = events;
      if (events === null || events instanceof Error) {
        Object.assign(writing ?? {}, { unsure: true });
        continue;
      }
      if (writing) {
        // What readers have been shown from Redis already is not news.
        results[index] = events.slice(writing.stored);
        Object.assign(writing, { after: writing.after + writing.pieces.length, pieces: [], stored: 0 });
      } else if (batch.beginsReply) {
        this.#begin(batch.lease, events.at(-1)?.sequence ?? 0);
      }
    }
  }

  #begin({ userId, runId, attempt }: RunLease, after: number): void {
    this.#writing.set(key(userId, runId), { attempt, after, pieces: [], stored: 0, apart: true, unsure: false });
    this.#streams.begin([{ userId, runId, after }]);
  }

  async #readAll(run: RunName, after: number, through: number): Promise<Entry[]> {
    const all: Entry[] = [];
    for (let cursor = after; cursor < through; ) {
      const entries = await this.#streams.read(run, cursor, ENTRIES_PER_READ).catch(() => []);
      const last = entries.at(-1);
      if (!last) {
        break;
      }
      all.push(...entries);
      cursor = last.after + last.pieces.length;
    }
    return all;
  }
}

interface Numbered {
  index: number;
  batch: EventBatch;
  writing: Writing | null;
}

function numbered(runId: string, { after, pieces }: Entry): RunEvent[] {
  return pieces.map((piece, index) => ({ ...piece, runId, sequence: after + 1 + index, at: piece.at ?? new Date() }));
}

/** True when nothing is missing in a page: neither between its events nor after them. */
function isWhole({ events, run }: EventPage, after: number, limit: number): boolean {
  const last = events.at(-1)?.sequence ?? after;
  const ended = run !== null && isTerminal(run.status) && last >= run.lastSequence;
  return last === after + events.length && (events.length === limit || ended);
}

/** The first events of both. What Postgres has goes before what Redis has. `more`: there are further pieces. */
function merge({ events, run }: EventPage, pieces: RunEvent[], limit: number, more: boolean): EventPage {
  if (!run) {
    return { events, run };
  }
  const known = isTerminal(run.status) ? pieces.filter(({ sequence }) => sequence < run.lastSequence) : pieces;
  const bySequence = new Map([...known, ...events].map((event) => [event.sequence, event]));
  const merged = [...bySequence.values()].sort((one, other) => one.sequence - other.sequence);
  const last = (merged.at(-1)?.sequence ?? 0) + (more ? 1 : 0);
  return { events: merged.slice(0, limit), run: { ...run, lastSequence: Math.max(run.lastSequence, last) } };
}

function key(user: UserId, runId: string): string {
  return JSON.stringify([user, runId]);
}

/** For a reply some pieces of which could not be had. */
export function piecesAway(): AppError {
  return new AppError("SERVICE_UNAVAILABLE", "The reply so far cannot be read at this moment. Ask again in a moment, or wait for its end.");
}
