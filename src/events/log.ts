/**
 * The event log of runs. What is written is committed before anyone sees it; who follows a run pulls its events, from
 * memory while this process writes them, from the database otherwise. Nothing is ever pushed into an unbounded buffer.
 */

import type { EventLog, Peers } from "../agent/ports.ts";
import { isTerminal, type RunEvent, type UserId } from "../agent/types.ts";
import { Channels, NO_PEERS, RunChannel } from "./channels.ts";
import type { EventPage, EventStore } from "./event-store.ts";
import { GroupWriter } from "./group-writer.ts";

/** Events read from the database at a time. */
const PAGE_SIZE = 200;
const TERMINAL_EVENTS: ReadonlySet<RunEvent["type"]> = new Set<RunEvent["type"]>(["RunFinished", "RunError", "RunCancelled"]);

export function createEventLog(store: EventStore, peers: Peers = NO_PEERS): EventLog {
  const channels = new Channels("run", (name) => new RunChannel(name), peers);
  const announce = (user: UserId, events: RunEvent[]): void => {
    for (const event of events) {
      channels.find(user, event.runId)?.add(event);
    }
    for (const runId of new Set(events.map((event) => event.runId))) {
      channels.tellPeers(user, runId);
    }
  };
  const writers = new GroupWriter(store, announce);

  return {
    writer: (lease, after) => writers.open(lease, after),
    announce,
    lookAgain(user, runIds) {
      for (const runId of runIds) {
        channels.find(user, runId)?.lookAgain();
        channels.tellPeers(user, runId);
      }
    },
    async *follow(user, runId, after, until, signal) {
      const channel = channels.enter(user, runId);
      let cursor = after;
      let ask = true;
      try {
        while (!signal.aborted) {
          // Taken before looking, so that nothing slips in between.
          const news = channel.news();
          const live: RunEvent[] | null = ask ? null : channel.eventsAfter(cursor);
          const page: EventPage = live ? { events: live, run: null } : await store.read(user, runId, cursor, PAGE_SIZE);
          let ended = false;
          for (const event of page.events) {
            if (event.sequence > cursor + 1) {
              yield snapshot(runId, event.sequence - 1);
            }
            cursor = event.sequence;
            yield event;
            ended ||= TERMINAL_EVENTS.has(event.type) || event.type === "MemoryUpdateFailed";
            if (signal.aborted || event.type === "MemoryUpdate" || (until === "REPLY" && ended)) {
              return;
            }
          }
          // Whether memory work follows the end, or what of it failed is tried again, is for the run's row to say.
          ask = live !== null && ended;
          if (live ? live.length > 0 : mayHoldMore(page, cursor)) {
            continue;
          }
          if (!live && isOver(page, until)) {
            if (page.run && page.run.lastSequence > cursor) {
              yield snapshot(runId, page.run.lastSequence);
            }
            return;
          }
          ask = false;
          await channel.wait(news, signal);
        }
      } finally {
        channels.leave(channel);
      }
    },
  };
}

/** True when the database held more events at that moment than were read. */
function mayHoldMore({ events, run }: EventPage, cursor: number): boolean {
  return events.length > 0 && run !== null && cursor < run.lastSequence;
}

/** True when no event will come any more. */
function isOver({ run }: EventPage, until: "REPLY" | "MEMORY"): boolean {
  return run === null || (isTerminal(run.status) && (until === "REPLY" || run.memoryStatus !== "PENDING"));
}

/** Stands for events that are no longer kept. */
function snapshot(runId: string, sequence: number): RunEvent {
  return { type: "RunSnapshot", runId, sequence, at: new Date() };
}
