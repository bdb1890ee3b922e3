/** The changes of one session as its watchers see them: what is read now, compared with what was read before. */

import type { Peers, SessionFeed } from "../agent/ports.ts";
import type { Session, SessionChange, UserId } from "../agent/types.ts";
import { Channel, Channels } from "./channels.ts";

/** `read` gives the session as it is; null when there is none. */
export function createSessionFeed(read: (user: UserId, sessionId: string) => Promise<Session | null>, peers: Peers): SessionFeed {
  const channels = new Channels("session", (name) => new Channel(name), peers);
  return {
    announce(user, sessionId) {
      channels.find(user, sessionId)?.wake();
      channels.tellPeers(user, sessionId);
    },

    async next(user, sessionId, milliseconds, signal) {
      const channel = channels.enter(user, sessionId);
      try {
        await channel.wait(channel.news(), AbortSignal.any([signal, AbortSignal.timeout(milliseconds)]));
      } finally {
        channels.leave(channel);
      }
    },

    async *follow(user, sessionId, signal) {
      const channel = channels.enter(user, sessionId);
      try {
        let news = channel.news();
        const found = await read(user, sessionId);
        if (!found) {
          return;
        }
        let known = found;
        yield { kind: "CURRENT", session: known, at: new Date() };
        while (!signal.aborted) {
          await channel.wait(news, signal);
          news = channel.news();
          const session: Session | null = signal.aborted ? known : await read(user, sessionId);
          if (!session || session.createdAt.getTime() !== known.createdAt.getTime()) {
            // One of the same name that was begun since is another session.
            yield { kind: "DELETED", session: known, at: new Date() };
            return;
          }
          yield* changesBetween(known, session);
          known = session;
        }
      } finally {
        channels.leave(channel);
      }
    },
  };
}

function changesBetween(before: Session, session: Session): SessionChange[] {
  const changes: SessionChange[] = [];
  if (session.name !== before.name) {
    changes.push({ kind: "RENAMED", session, at: session.updatedAt });
  }
  if (session.summary && session.summary.updatedAt !== before.summary?.updatedAt) {
    changes.push({ kind: "SUMMARIZED", session, at: new Date(session.summary.updatedAt) });
  }
  return changes;
}
