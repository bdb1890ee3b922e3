/** What has to be true once things have calmed down, asked through the API and read by SQL as the operator. */

import { setTimeout as sleep } from "node:timers/promises";
import { post } from "./client.ts";
import type { Sql } from "./cluster.ts";
import { factsIn, userName, usersIn } from "./facts.ts";
import { eventText, type Ledger, type SentRun } from "./ledger.ts";
import type { RecordedModel } from "./model.ts";

export interface Tally {
  accepted: number;
  completed: number;
  interrupted: number;
  failed: number;
  lost: number;
  duplicated: number;
  stuck: number;
  leaked: number;
}

export interface Findings {
  tally: Tally;
  /** What is behind the last four numbers, a sentence each. */
  details: string[];
}

export interface Evidence {
  ledger: Ledger;
  model: RecordedModel;
  sql: Sql;
  /** A server that serves this database. */
  url: string;
  /** How long whatever is not done yet may take (ms). */
  patience: number;
  /** The pieces of replies are in Redis, which may have lost them: what is stored of them has gaps. */
  piecesElsewhere: boolean;
}

/** A lease, the looks at leases, and a few seconds. */
export const PATIENCE = 30_000;
const FINAL = new Set(["COMPLETED", "FAILED", "CANCELLED", "INTERRUPTED"]);
const PAGE = 100;
const PARALLEL = 8;

export async function examine(evidence: Evidence): Promise<Findings> {
  const found = new Found();
  await settle(evidence);
  const stored = await readAll(evidence.sql);
  const shown = await askAll(evidence);
  checkRuns(evidence, stored, shown, found);
  checkBatches(evidence, stored, shown, found);
  checkStuck(stored, found);
  checkLeaks(evidence, stored, shown, found);
  return found;
}

class Found implements Findings {
  readonly tally: Tally = { accepted: 0, completed: 0, interrupted: 0, failed: 0, lost: 0, duplicated: 0, stuck: 0, leaked: 0 };
  readonly details: string[] = [];

  add(kind: "lost" | "duplicated" | "stuck" | "leaked", detail: string): void {
    this.tally[kind]++;
    this.details.push(`${kind}: ${detail}`);
  }
}

interface StoredRun {
  user_id: string;
  run_id: string;
  status: string;
  last_sequence: number;
  idempotency_key: string;
  memory_status: string;
}

interface Stored {
  runs: StoredRun[];
  messages: { user_id: string; run_id: string; role: string; content: string }[];
  events: { user_id: string; run_id: string; sequence: number; type: string; delta: string | null; data: string; at: number }[];
  memories: { user_id: string; memory: string; evidence_count: number }[];
  changes: { user_id: string; kind: string; memory: string }[];
  jobs: { user_id: string; kind: string; state: string; attempt: number; due: number; last_error: string | null }[];
  summaries: { user_id: string; summary: string }[];
}

interface Shown {
  runs: Map<string, { status: string; reply: string | null }>;
  /** By user. */
  memories: Map<number, string[]>;
}

/** Waits until nothing is under way, or patience is over. */
async function settle({ sql, patience }: Evidence): Promise<void> {
  const until = Date.now() + patience;
  for (;;) {
    const [row] = await sql<{ open: number }>(
      `select ((select count(*) from recollect_runs where status in ('QUEUED', 'RUNNING', 'PAUSED'))
        + (select count(*) from recollect_jobs where state <> 'DEAD'))::int as open`,
    );
    if (row?.open === 0 || Date.now() > until) {
      return;
    }
    await sleep(250);
  }
}

async function readAll(sql: Sql): Promise<Stored> {
  return {
    runs: await sql("select user_id, run_id, status, last_sequence, idempotency_key, memory_status from recollect_runs"),
    messages: await sql("select user_id, run_id, role, content from recollect_messages"),
    events: await sql(
      `select user_id, run_id, sequence, type, data ->> 'delta' as delta, data::text as data, (extract(epoch from at) * 1000)::float8 as at
      from recollect_run_events order by user_id, run_id, sequence`,
    ),
    memories: await sql("select user_id, memory, evidence_count from agno_memories where status = 'ACTIVE'"),
    changes: await sql("select user_id, kind, coalesce(after, before) ->> 'memory' as memory from recollect_memory_history"),
    jobs: await sql(
      `select user_id, kind, state, attempt, extract(epoch from coalesce(lease_until, run_at) - now())::int as due,
        last_error::text as last_error
      from recollect_jobs order by job_id`,
    ),
    summaries: await sql("select user_id, summary::text as summary from agno_sessions where summary is not null"),
  };
}

async function askAll({ ledger, url }: Evidence): Promise<Shown> {
  const shown: Shown = { runs: new Map(), memories: new Map() };
  const runQuery = "query ($userId: ID, $runId: ID!) { run(userId: $userId, runId: $runId) { status reply } }";
  const asked = ledger.runs.flatMap((run) => [...run.runIds].map((runId) => ({ user: run.user, runId })));
  await inParallel(asked, async ({ user, runId }) => {
    const answer = await post(url, runQuery, { userId: userName(user), runId });
    if (answer.data?.run) {
      shown.runs.set(runId, answer.data.run);
    }
  });
  await inParallel(ledger.users, async (user) => {
    shown.memories.set(user, await memoriesOf(url, user));
  });
  return shown;
}

async function memoriesOf(url: string, user: number): Promise<string[]> {
  const query = `query ($userId: ID, $first: Int, $after: String) { memories(userId: $userId, first: $first, after: $after) {
    edges { node { memory } } pageInfo { hasNextPage endCursor } } }`;
  const texts: string[] = [];
  for (let after: string | null = null, more = true; more; ) {
    const { data, errors } = await post(url, query, { userId: userName(user), first: PAGE, after });
    if (!data) {
      throw new Error(`The memories of a user cannot be read: ${JSON.stringify(errors)}`);
    }
    texts.push(...data.memories.edges.map((edge: { node: { memory: string } }) => edge.node.memory));
    after = data.memories.pageInfo.endCursor;
    more = data.memories.pageInfo.hasNextPage;
  }
  return texts;
}

function checkRuns({ ledger, model, piecesElsewhere }: Evidence, stored: Stored, shown: Shown, found: Found): void {
  const runsByKey = Map.groupBy(stored.runs, (run) => run.idempotency_key);
  const eventsByRun = Map.groupBy(stored.events, (event) => event.run_id);
  const messagesByRun = Map.groupBy(stored.messages, (message) => message.run_id);
  for (const sent of ledger.runs) {
    const [run, ...more] = runsByKey.get(sent.key) ?? [];
    const name = `the run of ${sent.fact}`;
    if (more.length > 0 || sent.runIds.size > 1) {
      found.add("duplicated", `${name} exists as ${[...new Set([...sent.runIds, ...more.map((other) => other.run_id)])].join(" and ")}`);
    }
    if (!run) {
      if (sent.runIds.size > 0) {
        found.tally.accepted++;
        found.add("lost", `${name} was accepted and is not stored`);
      }
      continue;
    }
    // A message that arrived without its client hearing of it counts like any other.
    found.tally.accepted++;
    countStatus(run.status, found.tally);
    const answered = sent.runIds.size === 0 || [...sent.runIds].some((runId) => FINAL.has(shown.runs.get(runId)?.status ?? ""));
    if (!answered && FINAL.has(run.status)) {
      found.add("lost", `${name} is stored and the API does not show it`);
    }
    const messages = messagesByRun.get(run.run_id) ?? [];
    const questions = messages.filter((message) => message.role === "USER");
    if (questions.length !== 1 || !factsIn(questions[0]?.content ?? "").includes(sent.fact)) {
      found.add("lost", `${name} has not its message`);
    }
    checkFact(sent, stored, shown, found);
    const replies = messages.filter((message) => message.role === "ASSISTANT");
    const events = eventsByRun.get(run.run_id) ?? [];
    checkNumbers(sent, events, replies, found);
    const reply = shown.runs.get(run.run_id)?.reply ?? null;
    piecesElsewhere ? checkReply(sent, run, replies, reply, found) : checkEvents(sent, run, events, replies, reply, found);
    const firstWord = eventsByRun.get(run.run_id)?.find((event) => event.type === "TextMessageContent");
    if (firstWord && model.repliesAsked.get(sent.fact)?.some((at) => at > firstWord.at)) {
      found.add("duplicated", `the model was asked again for ${name} after its first word`);
    }
  }
}

function countStatus(status: string, tally: Tally): void {
  tally.completed += status === "COMPLETED" ? 1 : 0;
  tally.interrupted += status === "INTERRUPTED" ? 1 : 0;
  tally.failed += status === "FAILED" || status === "CANCELLED" ? 1 : 0;
}

/** What the user said once is among the memories once. */
function checkFact(sent: SentRun, stored: Stored, shown: Shown, found: Found): void {
  const memories = ofUser(stored.memories, sent.user).filter((row) => factsIn(row.memory).includes(sent.fact));
  const listed = (shown.memories.get(sent.user) ?? []).filter((memory) => factsIn(memory).includes(sent.fact));
  if (memories.length === 0 || listed.length === 0) {
    found.add("lost", `${sent.fact} was said and is not among the memories`);
  }
  const changes = ofUser(stored.changes, sent.user).filter((row) => factsIn(row.memory).includes(sent.fact));
  if (memories.length > 1 || listed.length > 1 || changes.length > 1 || memories.some((row) => row.evidence_count > 1)) {
    found.add(
      "duplicated",
      `${sent.fact} was learned ${Math.max(memories.length, changes.length, memories[0]?.evidence_count ?? 0)} times`,
    );
  }
}

/** No number was given twice, and no run has two replies. */
function checkNumbers(sent: SentRun, events: Stored["events"], replies: Stored["messages"], found: Found): void {
  const name = `the run of ${sent.fact}`;
  const bySequence = textsOf(events);
  for (const [sequence, text] of sent.seen) {
    const kept = bySequence.get(sequence);
    if (kept !== undefined && kept !== text) {
      found.add("duplicated", `event ${sequence} of ${name} was ${text} for a reader and is stored as ${kept}`);
    }
  }
  for (const contradiction of sent.contradictions) {
    found.add("duplicated", `of ${name}, ${contradiction}`);
  }
  if (replies.length > 1) {
    found.add("duplicated", `${name} has ${replies.length} replies`);
  }
}

/** What readers saw is stored, without a gap, and comes to the reply. */
function checkEvents(
  sent: SentRun,
  run: StoredRun,
  events: Stored["events"],
  replies: Stored["messages"],
  reply: string | null,
  found: Found,
): void {
  const name = `the run of ${sent.fact}`;
  const bySequence = textsOf(events);
  for (const sequence of sent.seen.keys()) {
    if (!bySequence.has(sequence)) {
      found.add("lost", `event ${sequence} of ${name} was shown to a reader and is not stored`);
    }
  }
  if (events.length !== run.last_sequence || events.some((event, index) => event.sequence !== index + 1)) {
    found.add("lost", `the events of ${name} have a gap: ${events.length} of ${run.last_sequence}`);
  }
  const text = events.map((event) => (event.type === "TextMessageContent" ? (event.delta ?? "") : "")).join("");
  const kept = replies[0]?.content ?? "";
  if (FINAL.has(run.status) && (kept !== text || (reply !== null && reply !== kept))) {
    found.add("lost", `the reply of ${name} is not what was streamed: ${JSON.stringify([kept, text, reply])}`);
  }
}

/** What readers saw of a reply is in it, in its order. */
function checkReply(sent: SentRun, run: StoredRun, replies: Stored["messages"], reply: string | null, found: Found): void {
  const kept = replies[0]?.content ?? "";
  let at = 0;
  for (const [, text] of [...sent.seen].sort(([one], [other]) => one - other)) {
    const [type, delta] = JSON.parse(text) as [string, string | null];
    const place = type === "TextMessageContent" && delta !== null ? kept.indexOf(delta, at) : at;
    if (FINAL.has(run.status) && place < 0) {
      found.add("lost", `the run of ${sent.fact} showed ${JSON.stringify(delta)}, which its reply has not: ${JSON.stringify(kept)}`);
    }
    at = Math.max(at, place);
  }
  if (FINAL.has(run.status) && reply !== null && reply !== kept) {
    found.add("lost", `the reply of the run of ${sent.fact} is not the one stored: ${JSON.stringify([kept, reply])}`);
  }
}

function textsOf(events: Stored["events"]): Map<number, string> {
  return new Map(
    events.map((event) => [event.sequence, eventText({ ...event, type: event.type as never, delta: event.delta ?? undefined } as never)]),
  );
}

function checkBatches({ ledger }: Evidence, stored: Stored, shown: Shown, found: Found): void {
  for (const { user, facts, acknowledged } of ledger.batches) {
    const memories = ofUser(stored.memories, user).flatMap((row) => factsIn(row.memory));
    const listed = new Set((shown.memories.get(user) ?? []).flatMap(factsIn));
    const there = facts.filter((fact) => memories.includes(fact) && listed.has(fact));
    found.tally.accepted += acknowledged ? 1 : 0;
    found.tally.completed += acknowledged && there.length === facts.length ? 1 : 0;
    if (there.length < facts.length && (acknowledged || there.length > 0)) {
      found.add("lost", `of a batch of ${facts.length} memories ${there.length} are there (${acknowledged ? "" : "not "}acknowledged)`);
    }
    const twice = facts.filter((fact) => memories.filter((other) => other === fact).length > 1);
    if (twice.length > 0) {
      found.add("duplicated", `of a batch ${twice.length} memories are there twice`);
    }
  }
}

function checkStuck(stored: Stored, found: Found): void {
  for (const run of stored.runs) {
    if (!FINAL.has(run.status)) {
      found.add("stuck", `run ${run.run_id} of ${run.user_id} is ${run.status}`);
    } else if (run.memory_status === "PENDING") {
      found.add("stuck", `the memory update of run ${run.run_id} of ${run.user_id} is PENDING`);
    }
  }
  for (const { kind, user_id, state, attempt, due, last_error } of stored.jobs) {
    if (state !== "DEAD") {
      const error = last_error ?? "no error";
      found.add(
        "stuck",
        `a job ${kind} of ${user_id} is ${state} after ${attempt} tries (${state === "RUNNING" ? "lease" : "due"} in ${due} s): ${error}`,
      );
    }
  }
}

function checkLeaks({ model }: Evidence, stored: Stored, shown: Shown, found: Found): void {
  // Every scenario has the record to itself: what it found is taken out.
  for (const mixed of model.mixedPrompts.splice(0)) {
    found.add("leaked", mixed);
  }
  const texts: [string, { user_id: string }[], (row: never) => string][] = [
    ["message", stored.messages, (row: Stored["messages"][number]) => row.content],
    ["event", stored.events, (row: Stored["events"][number]) => row.data],
    ["memory", stored.memories, (row: Stored["memories"][number]) => row.memory],
    ["change", stored.changes, (row: Stored["changes"][number]) => row.memory],
    ["summary", stored.summaries, (row: Stored["summaries"][number]) => row.summary],
  ] as never;
  for (const [kind, rows, textOf] of texts) {
    for (const row of rows) {
      checkOwner(`a ${kind}`, row.user_id, textOf(row as never), found);
    }
  }
  for (const [user, memories] of shown.memories) {
    checkOwner("the list of memories", userName(user), memories.join("\n"), found);
  }
}

function checkOwner(what: string, owner: string, text: string, found: Found): void {
  const others = usersIn(text).filter((user) => userName(Number(user)) !== owner);
  if (others.length > 0) {
    found.add("leaked", `${what} of ${owner} holds words of the users ${others.join(", ")}`);
  }
}

function ofUser<Row extends { user_id: string }>(rows: Row[], user: number): Row[] {
  const name = userName(user);
  return rows.filter((row) => row.user_id === name);
}

async function inParallel<Item>(items: readonly Item[], work: (item: Item) => Promise<void>): Promise<void> {
  const waiting = [...items];
  await Promise.all(
    Array.from({ length: PARALLEL }, async () => {
      for (let item = waiting.shift(); item !== undefined; item = waiting.shift()) {
        await work(item);
      }
    }),
  );
}
