/** The memory changes of a user as they happen: read from the database in order, woken by the writers of this process, polled for those of others. */

import type { ChangedMemory, MemoryFeed } from "../agent/ports.ts";
import type { UserId } from "../agent/types.ts";
import { Channel, Channels } from "./channels.ts";

/** Changes read from the database at a time, and so the most that wait in memory for a slow reader. */
const PAGE_SIZE = 100;
/** How often a follower asks the database although nothing woke it (ms): another process may be writing. */
const POLL_INTERVAL = 1_000;

/** `read` gives a user's changes after a number, in order, at most `limit`. */
export function createMemoryFeed(read: (user: UserId, after: number, limit: number) => Promise<ChangedMemory[]>): MemoryFeed {
  const channels = new Channels((key) => new Channel(key));
  return {
    wake(user) {
      channels.find(user)?.wake();
    },
    async *follow(user, after, signal) {
      const channel = channels.enter(user);
      let cursor = after;
      try {
        while (!signal.aborted) {
          const news = channel.news();
          const changes = await read(user, cursor, PAGE_SIZE);
          for (const change of changes) {
            if (signal.aborted) {
              return;
            }
            cursor = change.sequence;
            yield change;
          }
          if (changes.length < PAGE_SIZE) {
            await channel.wait(news, POLL_INTERVAL, signal);
          }
        }
      } finally {
        channels.leave(channel);
      }
    },
  };
}
