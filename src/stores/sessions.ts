/** Conversations: what was said, and what it came to. */

import { type FilterQuery, raw } from "@mikro-orm/core";
import type { Conversation, SessionFilter, SessionStore } from "../agent/ports.ts";
import type { Message, Session, SessionSummary, UserId } from "../agent/types.ts";
import type { Database, Transaction } from "./database.ts";
import { isDeadlock } from "./database-error.ts";
import { MessageEntity, SessionEntity, type SessionRow } from "./entities.ts";
import { completeJob, summaryLane } from "./jobs.ts";
import { caseless } from "./memory-queries.ts";
import { pageQuery, toPage } from "./paging.ts";
import { MESSAGE_COLUMNS, messageFromEntity, RUN_COLUMNS, type RunRow, type SqlMessageRow, toMessage, toRun } from "./rows.ts";

/** At most this many turns go into one summary. */
const MAX_TURNS_PER_SUMMARY = 50;
/** How often a deletion is begun when others lock its rows in another order. */
const MAX_TRIES = 3;

export function createSessionStore(database: Database): SessionStore {
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

    conversation(user, sessionId, turn, turns) {
      return database.asUser(user, (transaction) => loadConversation(transaction, user, sessionId, turn, turns));
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
          where user_id = $1 and session_id = $2 and sequence > $3 and sequence <= $4
            -- Up to the first turn not answered yet: a summary that went past it would never take it in.
            and sequence < coalesce((select 2 * min(turn) - 1 from recollect_runs run
              where run.user_id = $1 and run.session_id = $2 and run.status in ('QUEUED', 'RUNNING', 'PAUSED')), 2147483647)
          order by sequence`,
          [user, sessionId, 2 * covered, 2 * (covered + MAX_TURNS_PER_SUMMARY)],
        );
        return { session: toSession(user, row), messages: withoutUnanswered(messages.map((message) => toMessage(user, message))) };
      });
    },

    saveSummary(job, sessionId, summary) {
      return database.asUser(job.userId, async (transaction) => {
        if (!(await completeJob(transaction, job))) {
          return false;
        }
        await transaction.query("update agno_sessions set summary = $3::jsonb, updated_at = now() where user_id = $1 and session_id = $2", [
          job.userId,
          sessionId,
          JSON.stringify(summary),
        ]);
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

    runs(user, sessionId, status, page) {
      const query = pageQuery("runs", page);
      return database.asUser(user, async (transaction) => {
        const rows = await transaction.query<RunRow>(
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
    },

    rename(user, sessionId, name) {
      return database.asUser(user, async (transaction) => {
        await transaction.query(
          `update agno_sessions set name = $3, updated_at = now()
          where user_id = $1 and session_id = $2 and name is distinct from $3`,
          [user, sessionId, name],
        );
        const row = await transaction.em.findOne(SessionEntity, { userId: user, sessionId });
        return row && toSession(user, row);
      });
    },

    async delete(user, sessionId) {
      for (let tries = 1; ; tries++) {
        try {
          return await database.asUser(user, (transaction) => deleteSession(transaction, user, sessionId));
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
 * Jobs first, then runs, then the session: whoever stores what a job came to locks them in this order, and no two
 * transactions may wait for each other.
 */
async function deleteSession(transaction: Transaction, user: UserId, sessionId: string): Promise<boolean> {
  await transaction.query(
    `delete from recollect_jobs where user_id = $1 and (lane = $3 or run_id in (
      select run_id from recollect_runs where user_id = $1 and session_id = $2))`,
    [user, sessionId, summaryLane(sessionId)],
  );
  await transaction.query("delete from recollect_runs where user_id = $1 and session_id = $2", [user, sessionId]);
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
  return deleted.length === 1;
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

async function loadConversation(
  transaction: Transaction,
  user: UserId,
  sessionId: string,
  turn: number,
  turns: number,
): Promise<Conversation> {
  const [row] = await transaction.query<{ summary: SessionSummary | null; previous: SessionSummary | null; history: SqlMessageRow[] }>(
    `select summary, case when $3 <= 2 then (
        select summary from agno_sessions previous
        where previous.user_id = $1 and previous.sequence < session.sequence and previous.session_id <> $2 and previous.summary is not null
        order by previous.sequence desc limit 1) end as previous,
      coalesce((
        select jsonb_agg(to_jsonb(message) order by message.sequence) from (
          select ${MESSAGE_COLUMNS} from recollect_messages
          where user_id = $1 and session_id = $2 and sequence < $4 and sequence >= $5) as message), '[]') as history
    from agno_sessions session where user_id = $1 and session_id = $2`,
    [user, sessionId, turn, 2 * turn - 1, 2 * (turn - turns) - 1],
  );
  const history = (row?.history ?? []).map((message) => toMessage(user, message));
  return { history: withoutUnanswered(history), summary: row?.summary ?? null, previousSummary: row?.previous ?? null };
}

/** A message whose run failed or was cancelled without a word has nothing to stand beside it: it is left out. */
function withoutUnanswered(history: Message[]): Message[] {
  const answered = new Set(history.filter((message) => message.role === "ASSISTANT").map((message) => message.runId));
  return history.filter((message) => answered.has(message.runId));
}

function toSession(user: UserId, row: SessionRow): Session {
  const { sessionId, agentId, name, createdAt, updatedAt, summary, turns } = row;
  return { userId: user, sessionId, agentId, name: name ?? null, createdAt, updatedAt, summary: summary ?? null, turns };
}
