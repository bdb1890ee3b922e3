/** Lists of memories: filters, pages, topics, search. Every value is bound, so that any text finds itself and nothing else. */

import type { FoundMemory, MemoryCandidates, MemoryFilter, MemoryOrder, MemorySearch, Page } from "../agent/ports.ts";
import type { Memory, MemoryStatus, UserId } from "../agent/types.ts";
import type { Transaction } from "./database.ts";
import { IN_USE, MEMORY_JSON, memoryFromJson } from "./memory-rows.ts";
import { type PageQuery, toPage } from "./paging.ts";

/** The longest text that is searched with, in UTF-16 units: the start of a long message says what it is about. */
const SEARCH_LENGTH = 2_000;

type MemoryJson = Record<string, unknown>;

const ORDERS: Record<MemoryOrder, { column: string; descending: boolean }> = {
  NEWEST: { column: "sequence", descending: true },
  OLDEST: { column: "sequence", descending: false },
  RECENTLY_CONFIRMED: { column: "confirmed_sequence", descending: true },
};

/** In the order of the ids; missing ones are left out. */
export async function readMemories(transaction: Transaction, user: UserId, memoryIds: string[]): Promise<Memory[]> {
  const rows = await transaction.query<{ memory: MemoryJson }>(
    `select ${MEMORY_JSON} as memory from agno_memories memory
    where user_id = $1 and memory_id in (select jsonb_array_elements_text($2::jsonb))`,
    [user, JSON.stringify(memoryIds)],
  );
  const found = new Map(rows.map((row) => [row.memory.memory_id, memoryFromJson(user, row.memory)]));
  return memoryIds.flatMap((memoryId) => found.get(memoryId) ?? []);
}

export async function listMemories(
  transaction: Transaction,
  user: UserId,
  filter: MemoryFilter,
  order: MemoryOrder,
  list: string,
  page: PageQuery,
): Promise<Page<Memory>> {
  const { column, descending } = ORDERS[order];
  const values = new Values();
  const conditions = filterConditions(user, filter, values);
  if (page.after !== null) {
    conditions.push(`memory.${column} ${descending ? "<" : ">"} ${values.add(page.after)}::float8`);
  }
  if (page.before !== null) {
    conditions.push(`memory.${column} ${descending ? ">" : "<"} ${values.add(page.before)}::float8`);
  }
  const rows = await transaction.query<{ memory: MemoryJson; place: number }>(
    `select ${MEMORY_JSON} as memory, memory.${column} as place from agno_memories memory where ${conditions.join(" and ")}
    order by memory.${column} ${descending === page.fromEnd ? "asc" : "desc"} limit ${values.add(page.limit)}::integer`,
    values.list,
  );
  const { items, ...rest } = toPage(list, page, rows, (row) => row.place);
  return { ...rest, items: items.map(({ cursor, node }) => ({ cursor, node: memoryFromJson(user, node.memory) })) };
}

export async function countMemories(transaction: Transaction, user: UserId, filter: MemoryFilter): Promise<number> {
  const values = new Values();
  const conditions = filterConditions(user, filter, values);
  const [row] = await transaction.query<{ count: number }>(
    `select count(*)::integer as count from agno_memories memory where ${conditions.join(" and ")}`,
    values.list,
  );
  return row?.count ?? 0;
}

export function countTopics(transaction: Transaction, user: UserId, limit: number): Promise<{ topic: string; count: number }[]> {
  return transaction.query(
    `select topic, count(*)::integer as count from agno_memories memory, jsonb_array_elements_text(memory.topics) as topic
    where memory.user_id = $1 and ${IN_USE} group by topic order by count desc, topic collate "C" limit $2`,
    [user, limit],
  );
}

/**
 * The words of the text in `parameter` as a query. They are joined by "or": a question shares a word or two with the fact
 * that answers it, hardly ever all of them.
 */
function wordsOf(parameter: string): string {
  return `select coalesce(string_agg('''' || replace(replace(word, '\\', '\\\\'), '''', '''''') || '''', ' | '), '')::tsquery as query
    from unnest(tsvector_to_array(to_tsvector('english', ${parameter}))) as word`;
}

function searchText(text: string): string {
  return text.slice(0, SEARCH_LENGTH).toWellFormed();
}

/** Memories close to a text, as `candidatesJson` gives them. */
export interface CandidatesJson {
  total: number;
  candidates: { memory: MemoryJson; score: number }[];
}

/**
 * An expression for the user's ($1) active memories in the order of `MemoryCandidates`, close to the text that `text` gives.
 * The index on the user's rows finds them; a text index over all users would be slower the more users there are.
 */
export function candidatesJson(text: string, limit: string): string {
  const order = "pinned desc, score desc, confirmed_sequence desc";
  return `(
    with words as (${wordsOf(`left(${text}, ${SEARCH_LENGTH})`)}), active as (
      select memory.*, ts_rank(memory.search, words.query) as score, count(*) over () as total
      from agno_memories memory, words where memory.user_id = $1 and ${IN_USE} order by ${order} limit ${limit}
    )
    select jsonb_build_object('total', coalesce(max(total), 0), 'candidates', coalesce(jsonb_agg(jsonb_build_object(
      'score', score, 'memory', to_jsonb(active) - 'search' - 'embedding' - 'score' - 'total') order by ${order}), '[]')) from active)`;
}

export function readCandidates(user: UserId, { total, candidates }: CandidatesJson): MemoryCandidates {
  return { total, candidates: candidates.map(({ memory, score }) => ({ memory: memoryFromJson(user, memory), textScore: score })) };
}

/** Words and topics weigh the same, each against its best match. */
export async function searchMemories(
  transaction: Transaction,
  user: UserId,
  { text, topics, filter, limit }: MemorySearch,
): Promise<FoundMemory[]> {
  const values = new Values();
  const conditions = filterConditions(user, filter, values);
  const rows = await transaction.query<{
    memory: MemoryJson;
    text_score: number;
    text_rank: number | null;
    topic_rank: number | null;
    score: number;
  }>(
    `with words as (${wordsOf(values.add(searchText(text)))}), considered as (
      select memory.*, ts_rank(memory.search, words.query)::float8 as text_score, (
          select count(*) from jsonb_array_elements_text(memory.topics) as topic
          where topic in (select jsonb_array_elements_text(${values.add(JSON.stringify(topics))}::jsonb)))::float8 as topic_hits
      from agno_memories memory, words where ${conditions.join(" and ")}
    ), found as (
      select *, row_number() over (order by text_score desc, confirmed_sequence desc)::integer as text_rank,
        row_number() over (order by topic_hits desc, text_score desc, confirmed_sequence desc)::integer as topic_rank,
        coalesce(text_score / nullif(max(text_score) over (), 0), 0) / 2
          + coalesce(topic_hits / nullif(max(topic_hits) over (), 0), 0) / 2 as score
      from considered where text_score > 0 or topic_hits > 0
    )
    select to_jsonb(found) - 'search' - 'embedding' as memory, text_score, score,
      case when text_score > 0 then text_rank end as text_rank, case when topic_hits > 0 then topic_rank end as topic_rank
    from found order by score desc, confirmed_sequence desc limit ${values.add(limit)}::integer`,
    values.list,
  );
  return rows.map((row) => ({
    memory: memoryFromJson(user, row.memory),
    textScore: row.text_score,
    textRank: row.text_rank,
    topicRank: row.topic_rank,
    score: row.score,
  }));
}

/** Values bound to a statement that is put together piece by piece. */
class Values {
  readonly list: unknown[] = [];

  /** Its placeholder. */
  add(value: unknown): string {
    return `$${this.list.push(value)}`;
  }
}

/** Conditions on agno_memories named `memory`. An empty list is no condition, and no status means ACTIVE. */
function filterConditions(user: UserId, filter: MemoryFilter, values: Values): string[] {
  const userId = values.add(user);
  const oneOf = (items: string[]) => `in (select jsonb_array_elements_text(${values.add(JSON.stringify(items))}::jsonb))`;
  const conditions = [`memory.user_id = ${userId}`, statusCondition(filter.status?.length ? filter.status : ["ACTIVE"], oneOf)];
  if (filter.topics?.length) {
    const operator = filter.topicsMatch === "ALL" ? "?&" : "?|";
    conditions.push(
      `memory.topics ${operator} array(select jsonb_array_elements_text(${values.add(JSON.stringify(filter.topics))}::jsonb))`,
    );
  }
  if (filter.text) {
    conditions.push(`position(${caseless(`${values.add(filter.text)}::text`)} in ${caseless("memory.memory")}) > 0`);
  }
  if (filter.sessionId != null) {
    conditions.push(
      `exists (select 1 from recollect_memory_evidence evidence join recollect_messages message using (user_id, message_id)
        where evidence.user_id = ${userId} and evidence.memory_id = memory.memory_id and message.session_id = ${values.add(filter.sessionId)})`,
    );
  }
  if (filter.agentId != null) {
    conditions.push(`memory.agent_id = ${values.add(filter.agentId)}`);
  }
  if (filter.kind?.length) {
    conditions.push(`memory.kind ${oneOf(filter.kind)}`);
  }
  if (filter.origin?.length) {
    conditions.push(`memory.origin ${oneOf(filter.origin)}`);
  }
  // Seconds since 1970, because not every year a Date can have can be written as text that Postgres reads.
  if (filter.createdAfter) {
    conditions.push(`memory.created_at >= to_timestamp(${values.add(filter.createdAfter.getTime() / 1_000)}::float8)`);
  }
  if (filter.createdBefore) {
    conditions.push(`memory.created_at < to_timestamp(${values.add(filter.createdBefore.getTime() / 1_000)}::float8)`);
  }
  return conditions;
}

/** One whose time has run out counts as RETIRED, whatever its row still says. */
function statusCondition(statuses: MemoryStatus[], oneOf: (items: string[]) => string): string {
  const others = statuses.filter((status) => status !== "ACTIVE");
  const alternatives = [
    ...(statuses.includes("ACTIVE") ? [`(${IN_USE})`] : []),
    ...(others.length > 0 ? [`memory.status ${oneOf(others)}`] : []),
    ...(statuses.includes("RETIRED") ? ["(memory.status = 'ACTIVE' and memory.expires_at <= now())"] : []),
  ];
  return `(${alternatives.join(" or ")})`;
}

/**
 * A text without upper and lower case, as Unicode maps them whatever the database's own language: ß and SS are the same,
 * and so are the two small sigmas. By way of upper case, since several letters share one.
 */
export function caseless(expression: string): string {
  return `replace(lower(upper(${expression} collate "und-x-icu")), 'ς', 'σ')`;
}
