/** The memories of users. Lists are in `memory-queries.ts`, writing in `memory-changes.ts` and `memory-revisions.ts`. */

import type { MemoryStore } from "../agent/ports.ts";
import type { UserId } from "../agent/types.ts";
import type { Database } from "./database.ts";
import { MemoryChangeEntity, MemoryEvidenceEntity, MessageEntity } from "./entities.ts";
import { addMemories, learnMemories } from "./memory-changes.ts";
import {
  type CandidatesJson,
  candidatesJson,
  countMemories,
  countTopics,
  listMemories,
  readCandidates,
  readMemories,
  searchMemories,
} from "./memory-queries.ts";
import { clearMemories, reviseMemory } from "./memory-revisions.ts";
import { changedMemoryFromJson, MEMORY_JSON, toChange } from "./memory-rows.ts";
import { pageQuery } from "./paging.ts";
import { MESSAGE_COLUMNS, messageFromEntity, RUN_COLUMNS, type RunRow, type SqlMessageRow, toMessage, toRun } from "./rows.ts";

/** How many stored memories an extraction is shown. */
const KNOWN_MEMORIES = 8;

const EXTRACTION_INPUT = `select to_jsonb(found_run) as run, to_jsonb(found_message) as message, (
      select reply.content from recollect_messages reply
      where reply.user_id = $1 and reply.session_id = found_message.session_id and reply.role = 'ASSISTANT'
        and reply.sequence < found_message.sequence
      order by reply.sequence desc limit 1) as previous_reply, ${candidatesJson("found_message.content", "$3::integer")} as known
  from recollect_jobs job,
    lateral (select ${RUN_COLUMNS} from recollect_runs run where run.user_id = $1 and run.run_id = job.run_id) as found_run,
    lateral (select ${MESSAGE_COLUMNS} from recollect_messages
      where user_id = $1 and run_id = job.run_id and role = 'USER') as found_message
  where job.user_id = $1 and job.job_id = $2::bigint`;

/** `onChange` is called after each commit that may have changed memories of a user. `most`: how many a user may have; null: any number. */
export function createMemoryStore(database: Database, onChange: (user: UserId) => void, most: number | null = null): MemoryStore {
  const announced = async <T>(user: UserId, written: Promise<T>): Promise<T> => {
    const result = await written;
    onChange(user);
    return result;
  };
  return {
    async get(user, memoryId) {
      const [memory] = await database.asUser(user, (transaction) => readMemories(transaction, user, [memoryId]));
      return memory ?? null;
    },

    getMany(user, memoryIds) {
      return database.asUser(user, (transaction) => readMemories(transaction, user, memoryIds));
    },

    async list(user, filter, order, page) {
      const list = `memories-${order}`;
      const query = pageQuery(list, page);
      return database.asUser(user, (transaction) => listMemories(transaction, user, filter, order, list, query));
    },

    count(user, filter) {
      return database.asUser(user, (transaction) => countMemories(transaction, user, filter));
    },

    sequence(user) {
      return database.asUser(user, async (transaction) => {
        const [row] = await transaction.commit<{ memory_sequence: number }>(
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

    extractionInput(job) {
      return database.asUser(job.userId, async (transaction) => {
        const [row] = await transaction.commit<{
          run: RunRow;
          message: SqlMessageRow;
          previous_reply: string | null;
          known: CandidatesJson;
        }>(EXTRACTION_INPUT, [job.userId, job.jobId, KNOWN_MEMORIES]);
        if (!row) {
          return null;
        }
        const known = readCandidates(job.userId, row.known).candidates.map((candidate) => candidate.memory);
        return { message: toMessage(job.userId, row.message), run: toRun(job.userId, row.run), previousReply: row.previous_reply, known };
      });
    },

    learn: (job, learned, resolve) => announced(job.userId, learnMemories(database, job, learned, resolve, most)),
    add: (user, facts, resolve, request) => announced(user, addMemories(database, user, facts, resolve, request, most)),

    topics(user, limit) {
      return database.asUser(user, (transaction) => countTopics(transaction, user, limit));
    },

    search(user, search) {
      return database.asUser(user, (transaction) => searchMemories(transaction, user, search));
    },

    changesAfter(user, after, limit) {
      return database.asUser(user, async (transaction) => {
        const rows = await transaction.commit<{ change: Record<string, unknown>; memory: Record<string, unknown> }>(
          `select to_jsonb(change) as change, ${MEMORY_JSON} as memory
          from recollect_memory_history change join agno_memories memory using (user_id, memory_id)
          where change.user_id = $1 and change.sequence > $2 order by change.sequence limit $3`,
          [user, after, limit],
        );
        return rows.map((row) => changedMemoryFromJson(user, row.change, row.memory));
      });
    },

    revise: (user, memoryId, kind, revise, request) => announced(user, reviseMemory(database, user, memoryId, kind, revise, request)),
    clear: (user, request) => announced(user, clearMemories(database, user, request)),
  };
}
