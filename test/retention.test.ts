/** What is kept for a time only: the pieces of a reply, long after it was written. The reply itself stays. */

import { afterAll, beforeAll, expect, test } from "vitest";
import { startTestServer, type TestServer } from "./support/server.ts";

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer({ env: { EVENT_RETENTION_HOURS: "2" }, overrides: { pruneEvery: 10 } });
});

afterAll(() => server.close());

/** A statement over everybody's rows. */
function sql<Row extends object>(statement: string, values: unknown[] = []): Promise<Row[]> {
  return server.context.database.asOperator((transaction) => transaction.query<Row>(statement, values));
}

async function finishedRun(userId: string, message = "I like tea.", waitFor = "MEMORY"): Promise<string> {
  const input = { userId, sessionId: "s", message };
  return (await server.data("RunAgent", { input, waitFor })).runAgent.run.runId;
}

/** Lets the run have ended so many hours earlier. */
async function age(userId: string, hours: number): Promise<void> {
  await sql("update recollect_runs set finished_at = finished_at - make_interval(hours => $2) where user_id = $1", [userId, hours]);
}

async function storedEvents(userId: string): Promise<string[]> {
  const rows = await sql<{ type: string }>("select type from recollect_run_events where user_id = $1 order by run_id, sequence", [userId]);
  return rows.map((row) => row.type);
}

async function pruned(userId: string): Promise<void> {
  const statement = "select count(*)::int as left from recollect_run_events where user_id = $1 and type = 'RunStarted'";
  await expect.poll(() => sql(statement, [userId]), { timeout: 20_000 }).toEqual([{ left: 0 }]);
}

// biome-ignore lint/suspicious/noExplicitAny: events of every kind.
async function follow(userId: string, runId: string, after: number): Promise<any[]> {
  const events = [];
  for await (const event of server.subscribe("FollowRun", { userId, runId, after, until: "MEMORY" })) {
    events.push(event);
  }
  return events;
}

test("a reader who comes after the pieces are gone is told of the gap, and gets the whole reply, its end and what was learned", async () => {
  const userId = "retention-1";
  const runId = await finishedRun(userId);
  const whole = await follow(userId, runId, 0);
  const end = whole.findIndex((event) => event.__typename === "RunFinished");
  await age(userId, 3);
  await pruned(userId);
  expect(await storedEvents(userId)).toEqual(["RunFinished", "MemoryUpdate"]);
  const gap = { __typename: "RunSnapshot", sequence: end, run: { status: "COMPLETED", reply: whole[end].reply } };
  for (const after of [0, 3, end - 1]) {
    const late = await follow(userId, runId, after);
    expect(late[0]).toMatchObject(gap);
    expect(late.slice(1)).toEqual(whole.slice(end));
  }
  expect(await follow(userId, runId, end)).toEqual(whole.slice(end));
  const { run } = await server.data("Run", { userId, runId });
  expect(run).toMatchObject({ status: "COMPLETED", reply: whole[end].reply, messages: [{ role: "USER" }, { content: whole[end].reply }] });
  expect(run.recall).toBeTruthy();
});

test("over REST the text comes in one piece; who had some of it is given it as a whole, to replace that", async () => {
  const body = { message: "I like opera.", user_id: "retention-2", session_id: "s", stream: true };
  const first = await stream(body);
  const text = first.map(({ event, content }) => (event === "RunContent" ? content : "")).join("");
  await server.drain();
  await age("retention-2", 3);
  await pruned("retention-2");
  const again = await stream(body);
  expect(again.map(({ event }) => event)).toEqual(["RunContent", "RunCompleted", "MemoryUpdateStarted", "MemoryUpdateCompleted"]);
  expect(again[0]).toMatchObject({ content: text });
  const rest = await stream(body, { "last-event-id": "4" });
  expect(rest.slice(0, 2)).toMatchObject([
    { event: "CustomEvent", name: "RunSnapshot", content: text },
    { event: "RunCompleted", content: text },
  ]);
});

test("younger runs keep their pieces, and those whose message is still being learned from", async () => {
  const young = "retention-3";
  const pending = "retention-4";
  const old = "retention-5";
  await finishedRun(young);
  await age(young, 1);
  const extraction = server.model.hold(0, "extraction");
  const runId = await finishedRun(pending, "I like chess.", "REPLY");
  await extraction.reached;
  await age(pending, 5);
  await finishedRun(old, "Hello.", "REPLY");
  await age(old, 3);
  // The oldest go first: by now the others would be gone.
  await pruned(old);
  expect(await storedEvents(young)).toContain("TextMessageContent");
  expect(await storedEvents(pending)).toContain("TextMessageContent");
  extraction.release();
  expect((await follow(pending, runId, 0)).at(-1).__typename).toBe("MemoryUpdate");
  await pruned(pending);
});

test("however much has gathered, it goes away little by little, and a reply with very many pieces too", async () => {
  const userId = "retention-6";
  const runId = await finishedRun(userId, "Hello.", "REPLY");
  const numbers = Array.from({ length: 120 }, (_, index) => `old-${index}`);
  // Copies with turns of their own, each with so many pieces that a few fill a unit of work.
  await sql(
    `insert into recollect_runs (user_id, run_id, session_id, agent_id, turn, status, memory, memory_status, fingerprint, last_sequence, finished_at)
    select user_id, number, session_id, agent_id, 1000 + place, status, memory, memory_status, fingerprint, 300, now()
    from recollect_runs, jsonb_array_elements_text($3::jsonb) with ordinality as list (number, place) where user_id = $1 and run_id = $2`,
    [userId, runId, JSON.stringify(numbers)],
  );
  await sql(
    `insert into recollect_run_events (user_id, run_id, sequence, type, data)
    select user_id, run_id, sequence, case when sequence = 300 then 'RunFinished' else 'RunStarted' end, '{}'
    from recollect_runs, generate_series(1, 300) as sequence where user_id = $1 and run_id <> $2`,
    [userId, runId],
  );
  await age(userId, 3);
  await pruned(userId);
  expect(await storedEvents(userId)).toEqual(Array.from({ length: 121 }, () => "RunFinished"));
});

// biome-ignore lint/suspicious/noExplicitAny: events have fields of their own.
async function stream(body: object, headers: Record<string, string> = {}): Promise<any[]> {
  const response = await fetch(`${server.url}/v1/agents/rag-agent/run`, {
    method: "POST",
    headers: { "content-type": "application/json", "idempotency-key": "once", ...headers },
    body: JSON.stringify(body),
  });
  return [...(await response.text()).matchAll(/^data: (.*)$/gm)].map((match) => JSON.parse(match[1] ?? ""));
}

test("idempotency keys are kept for two days, and removed after them", async () => {
  const userId = "retention-keys";
  const add = (memory: string, idempotencyKey: string) => server.data("AddMemory", { input: { userId, memory, idempotencyKey } });
  await add("User likes tea", "old");
  await add("User likes rowing", "young");
  const keys = () => sql<{ key: string }>("select key from recollect_idempotency where user_id = $1 order by key", [userId]);
  await sql("update recollect_idempotency set created_at = now() - interval '47 hours' where user_id = $1", [userId]);
  await sql("update recollect_idempotency set created_at = created_at - interval '2 hours' where user_id = $1 and key = 'old'", [userId]);
  await expect.poll(keys, { timeout: 20_000 }).toEqual([{ key: "young" }]);
});
