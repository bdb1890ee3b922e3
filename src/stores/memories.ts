/** Reading memories. Writing them is in `memory-changes.ts`. */

import { type FilterQuery, raw } from "@mikro-orm/core";
import type { MemoryFilter, MemoryOrder, MemoryStore } from "../agent/ports.ts";
import type { UserId } from "../agent/types.ts";
import type { Database, Transaction } from "./database.ts";
import { MemoryChangeEntity, MemoryEntity, MemoryEvidenceEntity, type MemoryRow, MessageEntity } from "./entities.ts";
import { addMemories, learnMemories } from "./memory-changes.ts";
import { memoryFromJson, toChange, toMemory } from "./memory-rows.ts";
import { pageQuery, toPage } from "./paging.ts";
import { MESSAGE_COLUMNS, messageFromEntity, RUN_COLUMNS, type RunRow, type SqlMessageRow, toMessage, toRun } from "./rows.ts";

/** The longest text that is searched with, in UTF-16 units: the start of a long message says what it is about. */
const SEARCH_LENGTH = 2_000;
/** How many stored memories an extraction is shown. */
const KNOWN_MEMORIES = 8;

export function createMemoryStore(database: Database): MemoryStore {
  return {
    get(user, memoryId) {
      return database.asUser(user, async ({ em }) => {
        const row = await em.findOne(MemoryEntity, { userId: user, memoryId });
        return row && toMemory(user, row);
      });
    },

    getMany(user, memoryIds) {
      return database.asUser(user, async ({ em }) => {
        const rows = await em.find(MemoryEntity, { userId: user, memoryId: { $in: memoryIds } });
        const found = new Map(rows.map((row) => [row.memoryId, toMemory(user, row)]));
        return memoryIds.flatMap((memoryId) => found.get(memoryId) ?? []);
      });
    },

    list(user, filter, order, page) {
      const { column, descending } = ORDERS[order];
      const list = `memories-${order}`;
      const query = pageQuery(list, page);
      return database
        .asUser(user, async ({ em }) => {
          const bound = (cursor: number, after: boolean) => ({ [column]: after === descending ? { $lt: cursor } : { $gt: cursor } });
          const rows = await em.find(
            MemoryEntity,
            {
              $and: [
                memoryConditions(user, filter),
                ...(query.after === null ? [] : [bound(query.after, true)]),
                ...(query.before === null ? [] : [bound(query.before, false)]),
              ],
            } as FilterQuery<MemoryRow>,
            { orderBy: { [column]: descending === query.fromEnd ? "asc" : "desc" }, limit: query.limit },
          );
          return toPage(list, query, rows, (row) => row[column]);
        })
        .then((found) => ({ ...found, items: found.items.map(({ cursor, node }) => ({ cursor, node: toMemory(user, node) })) }));
    },

    count(user, filter) {
      return database.asUser(user, ({ em }) => em.count(MemoryEntity, memoryConditions(user, filter)));
    },

    sequence(user) {
      return database.asUser(user, async (transaction) => {
        const [row] = await transaction.query<{ memory_sequence: number }>(
          "select memory_sequence from recollect_users where user_id = $1",
          [user],
        );
        return row?.memory_sequence ?? 0;
      });
    },

    evidence(user, memoryId, limit) {
      return database.asUser(user, async ({ em }) => {
        const rows = await em.find(
          MemoryEvidenceEntity,
          { userId: user, memoryId },
          { orderBy: { saidAt: "desc", evidenceId: "desc" }, limit },
        );
        const messageIds = rows.flatMap((row) => row.messageId ?? []);
        const messages = await em.find(MessageEntity, { userId: user, messageId: { $in: messageIds } });
        const found = new Map(messages.map((row) => [row.messageId, messageFromEntity(user, row)]));
        return rows.map(({ quote, quoteStart, quoteEnd, saidAt, messageId }) => ({
          memoryId,
          quote,
          start: quoteStart,
          end: quoteEnd,
          saidAt,
          messageId: messageId ?? null,
          message: (messageId && found.get(messageId)) || null,
        }));
      });
    },

    history(user, memoryId, limit) {
      return database.asUser(user, async ({ em }) => {
        const rows = await em.find(MemoryChangeEntity, { userId: user, memoryId }, { orderBy: { sequence: "desc" }, limit });
        return rows.map((row) => toChange(user, row));
      });
    },

    changes(user, runId) {
      return database.asUser(user, async ({ em }) => {
        const rows = await em.find(MemoryChangeEntity, { userId: user, runId }, { orderBy: { sequence: "asc" } });
        return rows.map((row) => toChange(user, row));
      });
    },

    change(user, changeId) {
      const sequence = Number(changeId);
      return database.asUser(user, async ({ em }) => {
        const row = Number.isSafeInteger(sequence) ? await em.findOne(MemoryChangeEntity, { userId: user, sequence }) : null;
        return row && toChange(user, row);
      });
    },

    candidates(user, text, limit) {
      return database.asUser(user, (transaction) => findCandidates(transaction, user, text, limit));
    },

    extractionInput(job) {
      return database.asUser(job.userId, async (transaction) => {
        const [row] = await transaction.query<{ run: RunRow; message: SqlMessageRow; previous_reply: string | null }>(
          `select to_jsonb(found_run) as run, to_jsonb(found_message) as message, (
              select reply.content from recollect_messages reply
              where reply.user_id = $1 and reply.session_id = found_message.session_id and reply.role = 'ASSISTANT'
                and reply.sequence < found_message.sequence
              order by reply.sequence desc limit 1) as previous_reply
          from recollect_jobs job,
            lateral (select ${RUN_COLUMNS} from recollect_runs run where run.user_id = $1 and run.run_id = job.run_id) as found_run,
            lateral (select ${MESSAGE_COLUMNS} from recollect_messages
              where user_id = $1 and run_id = job.run_id and role = 'USER') as found_message
          where job.user_id = $1 and job.job_id = $2::bigint`,
          [job.userId, job.jobId],
        );
        if (!row) {
          return null;
        }
        const message = toMessage(job.userId, row.message);
        const { candidates } = await findCandidates(transaction, job.userId, message.content, KNOWN_MEMORIES);
        const known = candidates.map((candidate) => candidate.memory);
        return { message, run: toRun(job.userId, row.run), previousReply: row.previous_reply, known };
      });
    },

    learn: (job, learned, resolve) => learnMemories(database, job, learned, resolve),
    add: (user, facts, resolve) => addMemories(database, user, facts, resolve),
  };
}

const ORDERS = {
  NEWEST: { column: "sequence", descending: true },
  OLDEST: { column: "sequence", descending: false },
  RECENTLY_CONFIRMED: { column: "confirmedSequence", descending: true },
} as const satisfies Record<MemoryOrder, { column: keyof MemoryRow; descending: boolean }>;

function memoryConditions(user: UserId, filter: MemoryFilter): FilterQuery<MemoryRow> {
  const conditions: object[] = [{ userId: user, status: { $in: filter.status ?? ["ACTIVE"] } }];
  const topics = (filter.topics ?? []).map((topic) => ({ topics: { $contains: [topic] } }));
  if (topics.length > 0) {
    conditions.push(filter.topicsMatch === "ALL" ? { $and: topics } : { $or: topics });
  }
  if (filter.text) {
    conditions.push({ [raw(`position(lower(?::text collate "und-x-icu") in lower(memory collate "und-x-icu")) > 0`, [filter.text])]: [] });
  }
  if (filter.sessionId != null) {
    conditions.push({
      [raw(
        `exists (select 1 from recollect_memory_evidence evidence join recollect_messages message using (user_id, message_id)
        where evidence.user_id = ? and evidence.memory_id = m0.memory_id and message.session_id = ?)`,
        [user, filter.sessionId],
      )]: [],
    });
  }
  if (filter.agentId != null) {
    conditions.push({ agentId: filter.agentId });
  }
  if (filter.kind) {
    conditions.push({ kind: { $in: filter.kind } });
  }
  if (filter.origin) {
    conditions.push({ origin: { $in: filter.origin } });
  }
  if (filter.createdAfter) {
    conditions.push({ createdAt: { $gte: filter.createdAfter } });
  }
  if (filter.createdBefore) {
    conditions.push({ createdAt: { $lt: filter.createdBefore } });
  }
  return { $and: conditions } as FilterQuery<MemoryRow>;
}

/**
 * Words are joined by "or": a question shares a word or two with the fact that answers it, hardly ever all of them. The
 * index on the user's rows finds them; a text index over all users would be slower the more users there are.
 */
async function findCandidates(transaction: Transaction, user: UserId, text: string, limit: number): ReturnType<MemoryStore["candidates"]> {
  const rows = await transaction.query<{ memory: Record<string, unknown>; score: number; total: number }>(
    `with words as (
      select coalesce(string_agg('''' || replace(replace(word, '\\', '\\\\'), '''', '''''') || '''', ' | '), '')::tsquery as query
      from unnest(tsvector_to_array(to_tsvector('english', $2))) as word
    ), active as (
      select memory.*, ts_rank(memory.search, words.query) as score, count(*) over () as total
      from agno_memories memory, words
      where memory.user_id = $1 and memory.status = 'ACTIVE' and (memory.expires_at is null or memory.expires_at > now())
    )
    select to_jsonb(active) - 'search' - 'embedding' - 'score' - 'total' as memory, score::float8, total::int
    from active order by pinned desc, score desc, confirmed_sequence desc limit $3`,
    [user, text.slice(0, SEARCH_LENGTH).toWellFormed(), limit],
  );
  return {
    candidates: rows.map((row) => ({ memory: memoryFromJson(user, row.memory), textScore: row.score })),
    total: rows[0]?.total ?? 0,
  };
}
