/** The memory changes of a user as they happen: read from the database in order whenever somebody has written one. */

import type { ChangedMemory, MemoryFeed, Peers } from "../agent/ports.ts";
import type { UserId } from "../agent/types.ts";
import { Channel, Channels, NO_PEERS } from "./channels.ts";

/** Changes read from the database at a time, and so the most that wait in memory for a slow reader. */
const PAGE_SIZE = 100;

/** `read` gives a user's changes after a number, in order, at most `limit`; `last` the number of the last one, 0 before the first. */
export function createMemoryFeed(
  read: (user: UserId, after: number, limit: number) => Promise<ChangedMemory[]>,
  last: (user: UserId) => Promise<number>,
  peers: Peers = NO_PEERS,
): MemoryFeed {
  const channels = new Channels("memories", (name) => new Channel(name), peers);
  return {
    wake(user) {
      channels.find(user)?.wake();
      channels.tellPeers(user);
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
          if (changes.length === 0 && cursor > 0 && (await last(user)) < cursor) {
            // All of the user's was erased: the numbers begin anew.
            cursor = 0;
          } else if (changes.length < PAGE_SIZE) {
            await channel.wait(news, signal);
          }
        }
      } finally {
        channels.leave(channel);
      }
    },
  };
}
