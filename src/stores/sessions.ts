/** Conversations: what was said, and what it came to. */

import type { Conversation, SessionStore } from "../agent/ports.ts";
import type { Message, Session, SessionSummary, UserId } from "../agent/types.ts";
import type { Database, Transaction } from "./database.ts";
import { MessageEntity, SessionEntity, type SessionRow } from "./entities.ts";
import { completeJob } from "./jobs.ts";
import { pageQuery, toPage } from "./paging.ts";
import { MESSAGE_COLUMNS, messageFromEntity, type SqlMessageRow, toMessage } from "./rows.ts";

/** At most this many turns go into one summary. */
const MAX_TURNS_PER_SUMMARY = 50;

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
          where user_id = $1 and session_id = $2 and sequence > $3 and sequence <= $4 and not exists (
            select 1 from recollect_runs run where run.user_id = $1 and run.run_id = message.run_id and run.status in ('QUEUED', 'RUNNING', 'PAUSED'))
          order by sequence`,
          [user, sessionId, 2 * covered, 2 * (covered + MAX_TURNS_PER_SUMMARY)],
        );
        return { session: toSession(user, row), messages: messages.map((message) => toMessage(user, message)) };
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
        return true;
      });
    },
  };
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
