/** What models have read and written for users, by day of UTC; and whether a user may have another run begun. */

import type { CallPurpose } from "../agent/ports.ts";
import type { TokenUsage, UserId } from "../agent/types.ts";
import { AppError } from "../errors.ts";
import type { Database } from "./database.ts";

/** What one user may have under way and use up; null: any number. */
export interface RunLimits {
  openRuns: number | null;
  tokensPerDay: number | null;
}

export const NO_LIMITS: RunLimits = { openRuns: null, tokensPerDay: null };

/** When to try again while too many runs are open (s): replies take about as long. */
const OPEN_RUNS_RETRY = 5;

const TODAY = "(now() at time zone 'UTC')::date";
const OPEN_RUNS = "select count(*) from recollect_runs open where open.user_id = $1 and open.status in ('QUEUED', 'RUNNING', 'PAUSED')";
const TOKENS_TODAY = `select coalesce(sum(input_tokens + output_tokens), 0) from recollect_usage where user_id = $1 and day = ${TODAY}`;

/**
 * The part of a statement that adds one call's tokens, when `source` has a row; none for rules, which use none. $1 is the user; the values of
 * `usageValues` are bound from parameter `first` on.
 */
export function countingUsage(purpose: CallPurpose, source: string, first: number): string {
  return `usage as (
      insert into recollect_usage as kept (user_id, day, purpose, calls, input_tokens, output_tokens)
      select $1, ${TODAY}, '${purpose}', 1, $${first}::bigint, $${first + 1}::bigint from ${source}
      where $${first}::bigint + $${first + 1}::bigint > 0
      on conflict (user_id, day, purpose) do update set calls = kept.calls + 1,
        input_tokens = kept.input_tokens + excluded.input_tokens, output_tokens = kept.output_tokens + excluded.output_tokens
    )`;
}

export function usageValues(usage: TokenUsage | null): [number, number] {
  return [usage?.inputTokens ?? 0, usage?.outputTokens ?? 0];
}

/** The condition under which a run is accepted, in the statement that accepts it: the values of `Admission` are bound from parameter `first` on. */
export function admitting(first: number): string {
  const others = `select jsonb_array_elements_text($${first + 1}::jsonb)`;
  return `($${first}::integer is null or (${OPEN_RUNS} and open.run_id not in (${others})) < $${first}::integer)
      and ($${first + 2}::bigint is null or (${TOKENS_TODAY}) < $${first + 2}::bigint)`;
}

/** How many runs may be open beside the others being accepted, which those are, and the tokens of a day. */
export type AdmissionValues = [room: number | null, others: string, tokensPerDay: number | null];

/** Knows what is being accepted here: statements under way at the same time do not see each other's runs. */
export class Admission {
  readonly limits: RunLimits;
  readonly #accepting = new Map<UserId, Set<string>>();

  constructor(limits: RunLimits) {
    this.limits = limits;
  }

  /** Has `work` accept a run. Null, without any work, when as many as may be open are being accepted already. */
  async around<T>(user: UserId, runId: string, work: (values: AdmissionValues) => Promise<T>): Promise<T | null> {
    const { openRuns, tokensPerDay } = this.limits;
    const others = this.#accepting.get(user) ?? new Set();
    if (openRuns !== null && others.size >= openRuns) {
      return null;
    }
    const values: AdmissionValues = [openRuns === null ? null : openRuns - others.size, JSON.stringify([...others]), tokensPerDay];
    this.#accepting.set(user, others.add(runId));
    try {
      return await work(values);
    } finally {
      others.delete(runId);
      if (others.size === 0) {
        this.#accepting.delete(user);
      }
    }
  }

  /** Why a run was not accepted. */
  async refusal(database: Database, user: UserId): Promise<AppError> {
    const { openRuns, tokensPerDay } = this.limits;
    const [row] = await database.asUser(user, (transaction) =>
      transaction.commit<{ tokens: string; seconds: number }>(
        `select (${TOKENS_TODAY})::text as tokens,
          ceil(extract(epoch from (${TODAY} + 1)::timestamp - (now() at time zone 'UTC')))::integer as seconds`,
        [user],
      ),
    );
    if (row && tokensPerDay !== null && Number(row.tokens) >= tokensPerDay) {
      const message = `The ${tokensPerDay} tokens of this day (UTC) are used up. Go on tomorrow, or have LIMIT_TOKENS_PER_DAY raised.`;
      const details = { retryAfterSeconds: row.seconds, limit: { name: "tokensPerDay", max: tokensPerDay } };
      return new AppError("BUDGET_EXCEEDED", message, { details });
    }
    const max = openRuns ?? 0;
    const message = `${max} messages are being answered or wait for their turn. Wait for some of the replies, or cancel runs.`;
    return new AppError("RATE_LIMITED", message, { details: { retryAfterSeconds: OPEN_RUNS_RETRY, limit: { name: "openRuns", max } } });
  }
}
