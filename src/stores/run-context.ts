/** What a reply is written from: the conversation before it and memories close to its message, read in one statement. */

import type { ContextRequest, RunContext } from "../agent/ports.ts";
import type { Run, SessionSummary } from "../agent/types.ts";
import type { Transaction } from "./database.ts";
import { type CandidatesJson, candidatesJson, readCandidates } from "./memory-queries.ts";
import { MESSAGE_COLUMNS, type SqlMessageRow, toMessage } from "./rows.ts";
import { withoutUnanswered } from "./sessions.ts";

interface ContextRow {
  summary: SessionSummary | null;
  previous: SessionSummary | null;
  history: SqlMessageRow[];
  memories: CandidatesJson | null;
}

const CONTEXT = `select summary, case when $3 <= 2 then (
      select summary from agno_sessions previous
      where previous.user_id = $1 and previous.sequence < session.sequence and previous.session_id <> $2 and previous.summary is not null
      order by previous.sequence desc limit 1) end as previous,
    coalesce((
      select jsonb_agg(to_jsonb(message) order by message.sequence) from (
        select ${MESSAGE_COLUMNS} from recollect_messages
        where user_id = $1 and session_id = $2 and sequence < $4 and sequence >= $5) as message), '[]') as history,
    case when $6::integer > 0 then ${candidatesJson("$7::text", "$6::integer")} end as memories
  from agno_sessions session where user_id = $1 and session_id = $2`;

export async function loadContext(
  transaction: Transaction,
  { userId, sessionId, turn }: Run,
  { turns, memories, text }: ContextRequest,
): Promise<RunContext> {
  const [row] = await transaction.commit<ContextRow>(CONTEXT, [
    userId,
    sessionId,
    turn,
    2 * turn - 1,
    2 * (turn - turns) - 1,
    memories,
    text,
  ]);
  const history = (row?.history ?? []).map((message) => toMessage(userId, message));
  const conversation = { history: withoutUnanswered(history), summary: row?.summary ?? null, previousSummary: row?.previous ?? null };
  return { conversation, memories: row?.memories ? readCandidates(userId, row.memories) : { candidates: [], total: 0 } };
}
