/** Conversations: what was said, and what it came to. */

import { type FilterQuery, raw } from "@mikro-orm/core";
import type { SessionFilter, SessionStore } from "../agent/ports.ts";
import type { Message, Session, UserId } from "../agent/types.ts";
import type { Database, Transaction } from "./database.ts";
import { isDeadlock } from "./database-error.ts";
import { MessageEntity, SessionEntity, type SessionRow } from "./entities.ts";
import { once } from "./idempotency.ts";
import { completeJob, summaryLane } from "./jobs.ts";
import { caseless } from "./memory-queries.ts";
import { pageQuery, toPage } from "./paging.ts";
import type { Pieces } from "./pieces.ts";
import { MESSAGE_COLUMNS, messageFromEntity, RUN_COLUMNS, type RunRow, type SqlMessageRow, toMessage, toRun } from "./rows.ts";
import { countingUsage, usageValues } from "./usage.ts";

/** At most this many turns go into one summary. */
const MAX_TURNS_PER_SUMMARY = 50;
/** How often a deletion is begun when others lock its rows in another order. */
const MAX_TRIES = 3;

/** `pieces`: as for the runs. */
const SAVE_SUMMARY = `with session as (
    update agno_sessions set summary = $3::jsonb, updated_at = now() where user_id = $1 and session_id = $2 returning 1
  ), ${countingUsage("summary", "session", 4)}
  select 1 as one`;

export function createSessionStore(database: Database, pieces: Pieces | null = null): SessionStore {
  return {
    get(user, sessionId) {
      return database.asUser(user, async ({ em }) => {
        const row = await em.findOne(SessionEntity, { userId: user, sessionId });
        return row && toSession(user, row);
      });
    },

    messages(user, sessionId, page) {
      const query = pageQuery("messages", page);
      return database.asUser(user, async ({ em }) => {
        const sequence = { ...(query.after !== null && { $gt: query.after }), ...(query.before !== null && { $lt: query.before }) };
        const rows = await em.find(
          MessageEntity,
          { userId: user, sessionId, ...(Object.keys(sequence).length > 0 && { sequence }) },
          { orderBy: { sequence: query.fromEnd ? "desc" : "asc" }, limit: query.limit },
        );
        return toPage(
          "messages",
          query,
          rows.map((row) => messageFromEntity(user, row)),
          (message) => message.sequence,
        );
      });
    },

    messageCount(user, sessionId) {
      return database.asUser(user, ({ em }) => em.count(MessageEntity, { userId: user, sessionId }));
    },

    unsummarized(user, sessionId) {
      return database.asUser(user, async (transaction) => {
        const row = await transaction.em.findOne(SessionEntity, { userId: user, sessionId });
        if (!row) {
          return null;
        }
        const covered = row.summary?.coveredTurn ?? 0;
        const messages = await transaction.query<SqlMessageRow>(
          `select ${MESSAGE_COLUMNS} from recollect_messages message
          where user_id = $1 and session_id = $2 and sequence > $3
            and exists (select 1 from recollect_messages reply
              where reply.user_id = $1 and reply.run_id = message.run_id and reply.role = 'ASSISTANT')
            -- Up to the first turn not answered yet: a summary that went past it would never take it in.
            and sequence < coalesce((select 2 * min(turn) - 1 from recollect_runs run
              where run.user_id = $1 and run.session_id = $2 and run.status in ('QUEUED', 'RUNNING', 'PAUSED')), 2147483647)
          order by sequence limit $4`,
          [user, sessionId, 2 * covered, 2 * MAX_TURNS_PER_SUMMARY],
        );
        return { session: toSession(user, row), messages: withoutUnanswered(messages.map((message) => toMessage(user, message))) };
      });
    },

    saveSummary(job, sessionId, summary, usage) {
      return database.asUser(job.userId, async (transaction) => {
        if (!(await completeJob(transaction, job))) {
          return false;
        }
        await transaction.query(SAVE_SUMMARY, [job.userId, sessionId, JSON.stringify(summary), ...usageValues(usage)]);
        // One that was given up before is made good by this one.
        await transaction.query("delete from recollect_jobs where user_id = $1 and lane = $2 and state = 'DEAD'", [
          job.userId,
          summaryLane(sessionId),
        ]);
        return true;
      });
    },

    list(user, filter, page) {
      const query = pageQuery("sessions", page);
      return database.asUser(user, async ({ em }) => {
        const sequence = { ...(query.after !== null && { $lt: query.after }), ...(query.before !== null && { $gt: query.before }) };
        const place = Object.keys(sequence).length > 0 ? [{ sequence }] : [];
        const rows = await em.find(
          SessionEntity,
          { $and: [...sessionConditions(user, filter), ...place] },
          { orderBy: { sequence: query.fromEnd ? "asc" : "desc" }, limit: query.limit },
        );
        const found = toPage("sessions", query, rows, (row) => row.sequence);
        return { ...found, items: found.items.map(({ cursor, node }) => ({ cursor, node: toSession(user, node) })) };
      });
    },

    count(user, filter) {
      return database.asUser(user, ({ em }) => em.count(SessionEntity, { $and: sessionConditions(user, filter) }));
    },

    async runs(user, sessionId, status, page) {
      const query = pageQuery("runs", page);
      const found = await database.asUser(user, async (transaction) => {
        const rows = await transaction.commit<RunRow>(
          `select ${RUN_COLUMNS} from recollect_runs run
          where user_id = $1 and session_id = $2 and ($3::jsonb is null or $3::jsonb ? status)
            and ($4::integer is null or turn < $4) and ($5::integer is null or turn > $5)
          order by turn ${query.fromEnd ? "asc" : "desc"} limit $6`,
          [user, sessionId, status && JSON.stringify(status), query.after, query.before, query.limit],
        );
        return toPage(
          "runs",
          query,
          rows.map((row) => toRun(user, row)),
          (run) => run.turn,
        );
      });
      const runs = await pieces?.refresh(found.items.map(({ node }) => node));
      return runs ? { ...found, items: found.items.map(({ cursor, node }, index) => ({ cursor, node: runs[index] ?? node })) } : found;
    },

    rename(user, sessionId, name, request) {
      return database.asUser(user, (transaction) => {
        const find = async () => {
          const row = await transaction.em.findOne(SessionEntity, { userId: user, sessionId });
          return row && toSession(user, row);
        };
        return once(transaction, user, request, {
          async work() {
            await transaction.query(
              `update agno_sessions set name = $3, updated_at = now()
              where user_id = $1 and session_id = $2 and name is distinct from $3`,
              [user, sessionId, name],
            );
            return find();
          },
          keep: () => ({}),
          recall: find,
        });
      });
    },

    async delete(user, sessionId, request) {
      for (let tries = 1; ; tries++) {
        try {
          const runIds = await database.asUser(user, (transaction) =>
            once(transaction, user, request, {
              work: () => deleteSession(transaction, user, sessionId),
              keep: () => ({}),
              recall: async () => [],
            }),
          );
          await pieces?.remove(user, runIds ?? []);
          return runIds;
        } catch (error) {
          // Another process was ending a run of it at the same moment, and was let through.
          if (!isDeadlock(error) || tries === MAX_TRIES) {
            throw error;
          }
        }
      }
    },
  };
}

/**
 * The ids of its runs; null when there is no such session. Jobs first, then runs, then the session: whoever stores what a job came to locks them in this order, and no two
 * transactions may wait for each other.
 */
async function deleteSession(transaction: Transaction, user: UserId, sessionId: string): Promise<string[] | null> {
  await transaction.query(
    `delete from recollect_jobs where user_id = $1 and (lane = $3 or run_id in (
      select run_id from recollect_runs where user_id = $1 and session_id = $2))`,
    [user, sessionId, summaryLane(sessionId)],
  );
  const runs = await transaction.query<{ run_id: string }>(
    "delete from recollect_runs where user_id = $1 and session_id = $2 returning run_id",
    [user, sessionId],
  );
  const deleted = await transaction.query("delete from agno_sessions where user_id = $1 and session_id = $2 returning 1 as one", [
    user,
    sessionId,
  ]);
  // Jobs of a run that was accepted, or ended, between the first statement and this one.
  await transaction.query(
    `delete from recollect_jobs job where user_id = $1 and (lane = $2 or (run_id is not null and not exists (
      select 1 from recollect_runs run where run.user_id = $1 and run.run_id = job.run_id)))`,
    [user, summaryLane(sessionId)],
  );
  return deleted.length === 1 ? runs.map((run) => run.run_id) : null;
}

function sessionConditions(user: UserId, filter: SessionFilter): FilterQuery<SessionRow>[] {
  const conditions: FilterQuery<SessionRow>[] = [{ userId: user }];
  if (filter.agentId != null) {
    conditions.push({ agentId: filter.agentId });
  }
  if (filter.text) {
    const contains = (column: string) => `position(${caseless("?::text")} in ${caseless(column)}) > 0`;
    conditions.push({ [raw(`(${contains("name")} or ${contains("(summary ->> 'summary')")})`, [filter.text, filter.text])]: [] });
  }
  if (filter.updatedAfter) {
    conditions.push({ updatedAt: { $gte: filter.updatedAfter } });
  }
  if (filter.updatedBefore) {
    conditions.push({ updatedAt: { $lt: filter.updatedBefore } });
  }
  return conditions;
}

/** A message whose run failed or was cancelled without a word has nothing to stand beside it: it is left out. */
export function withoutUnanswered(history: Message[]): Message[] {
  const answered = new Set(history.filter((message) => message.role === "ASSISTANT").map((message) => message.runId));
  return history.filter((message) => answered.has(message.runId));
}

function toSession(user: UserId, row: SessionRow): Session {
  const { sessionId, agentId, name, createdAt, updatedAt, summary, turns } = row;
  return { userId: user, sessionId, agentId, name: name ?? null, createdAt, updatedAt, summary: summary ?? null, turns };
}
