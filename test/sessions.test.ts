/** Conversations: listed, named, summed up, watched and deleted, through the real server. */

import { afterAll, beforeAll, expect, test } from "vitest";
import { createJobStore } from "../src/stores/jobs.ts";
import { fails, says } from "./support/model-answers.ts";
import { startTestServer, type TestServer } from "./support/server.ts";

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer();
});

afterAll(() => server.close());

async function say(userId: string, sessionId: string, message: string, more: object = {}) {
  const data = await server.data("RunAgent", { input: { userId, sessionId, message, ...more }, waitFor: "MEMORY" });
  return data.runAgent.run;
}

interface Node {
  id: string;
  sessionId: string;
  name: string | null;
  updatedAt: string;
}

async function list(
  userId: string,
  variables: object = {},
): Promise<{ ids: string[]; nodes: Node[]; totalCount: number; pageInfo: { endCursor: string; hasNextPage: boolean } }> {
  const { sessions } = await server.data("SessionList", { userId, ...variables });
  const nodes: Node[] = sessions.edges.map((edge: { node: Node }) => edge.node);
  return { ...sessions, nodes, ids: nodes.map((node) => node.sessionId) };
}

async function rows(sql: string, values: unknown[]): Promise<Record<string, unknown>[]> {
  return server.context.database.asOperator((transaction) => transaction.query(sql, values));
}

test("sessions are listed with the one used last first, a page at a time, each user's own", async () => {
  const userId = "sessions-1";
  for (const sessionId of ["a", "b", "c", "a"]) {
    await say(userId, sessionId, "Hello!");
  }
  await say("sessions-1-other", "z", "Hello!");
  expect((await list(userId)).ids).toEqual(["a", "c", "b"]);
  const first = await list(userId, { first: 2 });
  expect(first).toMatchObject({ ids: ["a", "c"], totalCount: 3, pageInfo: { hasNextPage: true } });
  const second = await list(userId, { first: 2, after: first.pageInfo.endCursor });
  expect(second).toMatchObject({ ids: ["b"], totalCount: 3, pageInfo: { hasNextPage: false } });
  const answer = await server.graphql("SessionList", { userId, after: "nonsense" });
  expect(answer.errors?.[0]?.extensions.code).toBe("BAD_USER_INPUT");
});

test("sessions are found by text in the name or the summary whatever its case, by agent and by time; every condition counts", async () => {
  const userId = "sessions-2";
  await say(userId, "named", "Hello!");
  await say(userId, "summed", "I want to see the 100% REAL Fjörds_ of Norway.");
  await say(userId, "plain", "Hello!");
  await server.data("RenameSession", { input: { userId, sessionId: "named", name: "Ärger mit 50% \\ 'Steuern'" } });
  await server.data("SummarizeSession", { input: { userId, sessionId: "summed" } });
  const found = async (filter: object) => (await list(userId, { filter })).ids;
  expect(await found({ text: "ärger" })).toEqual(["named"]);
  expect(await found({ text: "50% \\ 'st" })).toEqual(["named"]);
  expect(await found({ text: "fjörds_ OF" })).toEqual(["summed"]);
  expect(await found({ text: "%" })).toEqual(["summed", "named"]);
  expect(await found({ text: "_" })).toEqual(["summed"]);
  expect(await found({ text: "fjords" })).toEqual([]);
  expect(await found({ agentId: "rag-agent" })).toEqual(["plain", "summed", "named"]);
  expect(await found({ agentId: "another" })).toEqual([]);
  const { nodes } = await list(userId);
  const summed = nodes.find((node) => node.sessionId === "summed");
  expect(await found({ updatedAfter: summed?.updatedAt, text: "norway" })).toEqual(["summed"]);
  expect(await found({ updatedBefore: "2000-01-01T00:00:00Z" })).toEqual([]);
  expect((await list(userId, { filter: { text: "norway" } })).totalCount).toBe(1);
});

test("the runs of a session come newest first, a page at a time, by status when asked", async () => {
  const userId = "sessions-3";
  const first = await say(userId, "s", "Hello!");
  server.model.script("reply", fails(404, { error: { message: "model not found" } }));
  const second = await say(userId, "s", "Hello again!");
  const third = await say(userId, "s", "Thanks!");
  const runs = async (variables: object) => {
    const { session } = await server.data("SessionRuns", { userId, sessionId: "s", ...variables });
    const ids = session.runs.edges.map((edge: { node: { runId: string } }) => edge.node.runId);
    return { ids, ...session.runs.pageInfo };
  };
  expect((await runs({})).ids).toEqual([third.runId, second.runId, first.runId]);
  const page = await runs({ first: 2 });
  expect(page).toMatchObject({ ids: [third.runId, second.runId], hasNextPage: true });
  expect(await runs({ first: 2, after: page.endCursor })).toMatchObject({ ids: [first.runId], hasNextPage: false });
  expect((await runs({ status: ["FAILED"] })).ids).toEqual([second.runId]);
});

test("a session is given a title, another one, and none; a bad one and an unknown session are refused", async () => {
  const userId = "sessions-4";
  await say(userId, "s", "Hello!");
  const rename = (name: unknown, sessionId = "s") => server.graphql("RenameSession", { input: { userId, sessionId, name } });
  expect((await rename("  Trip to Norway ")).data.renameSession.session.name).toBe("Trip to Norway");
  expect((await rename("x".repeat(200))).data.renameSession.session.name).toHaveLength(200);
  expect((await rename(null)).data.renameSession.session.name).toBeNull();
  for (const bad of ["", "  ", "x".repeat(201), "a\0b", "a\ud800b", undefined]) {
    expect((await rename(bad)).errors?.[0]?.extensions.code).toBe("BAD_USER_INPUT");
  }
  expect((await rename("x", "unknown")).errors?.[0]?.extensions.code).toBe("NOT_FOUND");
  const foreign = await server.graphql("RenameSession", { input: { userId: "sessions-4-other", sessionId: "s", name: "x" } });
  expect(foreign.errors?.[0]?.extensions.code).toBe("NOT_FOUND");
});

test("a summary is brought up to date on demand; with nothing new no model is asked", async () => {
  const userId = "sessions-5";
  await say(userId, "s", "I plan a trip to Norway.");
  const summarize = () => server.data("SummarizeSession", { input: { userId, sessionId: "s" } });
  const { summarizeSession } = await summarize();
  expect(summarizeSession.session.summary).toMatchObject({ coveredTurns: 1, newerTurns: 0 });
  expect(summarizeSession.session.summary.summary).toContain("Norway");
  const asked = server.model.asked("summary").length;
  expect((await summarize()).summarizeSession).toEqual(summarizeSession);
  expect(server.model.asked("summary")).toHaveLength(asked);
  const unknown = await server.graphql("SummarizeSession", { input: { userId, sessionId: "unknown" } });
  expect(unknown.errors?.[0]?.extensions.code).toBe("NOT_FOUND");
});

test("a summary on demand waits for the one under way instead of racing it, and covers what came since", async () => {
  const userId = "sessions-6";
  await say(userId, "s", "I plan a trip to Norway.");
  await say(userId, "s", "It starts in June.");
  const gate = server.model.hold(0, "summary");
  await say(userId, "s", "I want to see fjords.");
  await gate.reached;
  await say(userId, "s", "I will take the train.");
  const asked = server.model.asked("summary").length;
  const wanted = server.data("SummarizeSession", { input: { userId, sessionId: "s" } });
  gate.release();
  const { session } = (await wanted).summarizeSession;
  expect(session.summary).toMatchObject({ coveredTurns: 4, newerTurns: 0 });
  expect(server.model.asked("summary")).toHaveLength(asked + 1);
  const { prompt = "" } = server.model.asked("summary").at(-1) ?? {};
  expect(prompt).toContain("User: I will take the train.");
  expect(prompt).not.toContain("User: I want to see fjords.");
  await server.drain();
  expect(await rows("select job_id from recollect_jobs where user_id = $1", [userId])).toEqual([]);
});

test("a summary whose model fails gives the model's error, is tried again, and one given up is written when asked for", async () => {
  const userId = "sessions-7";
  await say(userId, "s", "I plan a trip to Norway.");
  server.model.respond((request) => (request.purpose === "summary" ? says("I would rather not.") : undefined));
  const failed = await server.graphql("SummarizeSession", { input: { userId, sessionId: "s" } });
  expect(failed.errors?.[0]).toMatchObject({ extensions: { code: "MODEL_BAD_RESPONSE", retryable: true } });
  await server.drain();
  expect(await rows("select state from recollect_jobs where user_id = $1", [userId])).toEqual([{ state: "DEAD" }]);
  server.model.respond(() => undefined);
  const { summarizeSession } = await server.data("SummarizeSession", { input: { userId, sessionId: "s" } });
  expect(summarizeSession.session.summary.coveredTurns).toBe(1);
  expect(await rows("select state from recollect_jobs where user_id = $1", [userId])).toEqual([]);
});

test("a summary that fails while the next one waits leaves it to that one", async () => {
  const userId = "sessions-8";
  await say(userId, "s", "I plan a trip to Norway.");
  server.model.script("summary", says("No."), says("No."));
  const gate = server.model.hold(0, "summary");
  const first = server.graphql("SummarizeSession", { input: { userId, sessionId: "s" } });
  await gate.reached;
  const second = server.data("SummarizeSession", { input: { userId, sessionId: "s" } });
  let ready = 0;
  while (ready === 0) {
    ready = (await rows("select 1 from recollect_jobs where user_id = $1 and state = 'READY'", [userId])).length;
  }
  gate.release();
  expect((await second).summarizeSession.session.summary.coveredTurns).toBe(1);
  // The first one's job is gone; what it waited for was written by the second.
  expect((await first).errors).toBeUndefined();
  expect(await rows("select state from recollect_jobs where user_id = $1", [userId])).toEqual([]);
});

test("a summary whose process died while the next one waits is left to that one, and nobody else's work stays behind", async () => {
  const userId = "sessions-14";
  await say(userId, "s", "Hello!");
  await rows(
    `insert into recollect_jobs (user_id, lane, kind, payload, state, run_at, lease_owner, lease_until)
    select $1, 'summary:s', 'summarize-session', '{"sessionId": "s"}'::jsonb, state, 'infinity'::timestamptz, 'dead', 'epoch'::timestamptz from unnest(array['RUNNING', 'READY']) as state
    union all select $1, 'memory', 'extract-memories', '{}'::jsonb, 'RUNNING', now(), 'dead', 'epoch'::timestamptz`,
    [userId],
  );
  await createJobStore(server.context.database, { owner: "test", leaseSeconds: 15 }).reap(false);
  expect(await rows("select 1 from recollect_jobs where user_id = $1 and state = 'RUNNING' and lease_owner = 'dead'", [userId])).toEqual(
    [],
  );
  await server.data("SummarizeSession", { input: { userId, sessionId: "s" } });
  await server.drain();
  expect(await rows("select state from recollect_jobs where user_id = $1", [userId])).toEqual([]);
});

test("deleting a session takes its messages, runs, events and jobs; its memories stay with their quotes", async () => {
  const userId = "sessions-9";
  await say(userId, "s", "I love hiking.");
  await say(userId, "other", "I love chess.");
  const { id } = (await server.data("OpenSession", { userId, sessionId: "s" })).session;
  const { deleteSession } = await server.data("DeleteSession", { input: { userId, sessionId: "s" } });
  expect(deleteSession.deletedId).toBe(id);
  expect((await server.data("OpenSession", { userId, sessionId: "s" })).session).toBeNull();
  expect((await list(userId)).ids).toEqual(["other"]);
  for (const table of ["agno_sessions", "recollect_runs", "recollect_messages"]) {
    expect(await rows(`select 1 from ${table} where user_id = $1 and session_id = 's'`, [userId])).toEqual([]);
  }
  const events = await rows(
    "select distinct run.session_id from recollect_run_events event left join recollect_runs run using (user_id, run_id) where user_id = $1",
    [userId],
  );
  expect(events).toEqual([{ session_id: "other" }]);
  expect(await rows("select 1 from recollect_jobs where user_id = $1", [userId])).toEqual([]);
  const { memories } = await server.data("MemoriesByTopic", { userId, orderBy: "OLDEST" });
  expect(memories.edges.map((edge: { node: { memory: string } }) => edge.node.memory)).toEqual(["User loves hiking", "User loves chess"]);
  const { memory } = await server.data("Memory", { userId, memoryId: memories.edges[0].node.memoryId });
  expect(memory.evidence).toMatchObject([{ quote: "I love hiking", message: null }]);
  const again = await server.graphql("DeleteSession", { input: { userId, sessionId: "s" } });
  expect(again.errors?.[0]?.extensions.code).toBe("NOT_FOUND");
  const foreign = await server.graphql("DeleteSession", { input: { userId: "sessions-9-other", sessionId: "other" } });
  expect(foreign.errors?.[0]?.extensions.code).toBe("NOT_FOUND");
  expect((await list(userId)).ids).toEqual(["other"]);
});

test("deleting a session stops the run under way and those that wait; whoever still works on them writes nothing", async () => {
  const userId = "sessions-10";
  const gate = server.model.hold(2);
  const input = { userId, sessionId: "s", message: "Tell me a story." };
  const { run } = (await server.data("RunAgent", { input, waitFor: "ACCEPTED" })).runAgent;
  await gate.reached;
  const extraction = { userId, sessionId: "s", message: "I love chess." };
  await server.data("RunAgent", { input: extraction, waitFor: "ACCEPTED" });
  await server.data("DeleteSession", { input: { userId, sessionId: "s" } });
  expect((await server.model.waitFor((request) => request.prompt.includes("Tell me a story"))).aborted).toBe(true);
  gate.release();
  await server.drain();
  expect((await server.data("Run", { userId, runId: run.runId })).run).toBeNull();
  for (const table of [
    "agno_sessions",
    "recollect_runs",
    "recollect_messages",
    "recollect_run_events",
    "recollect_jobs",
    "agno_memories",
  ]) {
    expect(await rows(`select 1 from ${table} where user_id = $1`, [userId])).toEqual([]);
  }
  // The name is free again.
  expect((await say(userId, "s", "Hello!")).status).toBe("COMPLETED");
});

test("an extraction and a summary under way when their session is deleted write nothing", async () => {
  const userId = "sessions-11";
  const gates = [server.model.hold(0, "extraction"), server.model.hold(0, "summary")];
  await server.data("RunAgent", { input: { userId, sessionId: "s", message: "I love hiking." } });
  const summary = server.graphql("SummarizeSession", { input: { userId, sessionId: "s" } });
  await Promise.all(gates.map((gate) => gate.reached));
  await server.data("DeleteSession", { input: { userId, sessionId: "s" } });
  for (const gate of gates) {
    gate.release();
  }
  expect((await summary).errors?.[0]?.extensions.code).toBe("NOT_FOUND");
  await server.drain();
  expect(
    await rows("select 1 from agno_memories where user_id = $1 union all select 1 from agno_sessions where user_id = $1", [userId]),
  ).toEqual([]);
});

test("a watched session shows how it is, its new title, its new summary, and its end", async () => {
  const userId = "sessions-12";
  await say(userId, "s", "I plan a trip to Norway.");
  const events = server.subscribe("WatchSession", { userId, sessionId: "s" });
  const next = async () => (await events.next()).value;
  expect(await next()).toMatchObject({ kind: "CURRENT", deletedId: null, session: { name: null, summary: null } });
  const named = next();
  await server.data("RenameSession", { input: { userId, sessionId: "s", name: "Norway" } });
  expect(await named).toMatchObject({ kind: "RENAMED", session: { name: "Norway" } });
  const summed = next();
  await server.data("SummarizeSession", { input: { userId, sessionId: "s" } });
  expect(await summed).toMatchObject({ kind: "SUMMARIZED", session: { summary: { coveredTurns: 1 } } });
  const deleted = next();
  const { deleteSession } = await server.data("DeleteSession", { input: { userId, sessionId: "s" } });
  expect(await deleted).toMatchObject({ kind: "DELETED", session: null, deletedId: deleteSession.deletedId });
  expect((await events.next()).done).toBe(true);
});

test("a session that is not there cannot be watched", async () => {
  const events = server.subscribe("WatchSession", { userId: "sessions-13", sessionId: "unknown" });
  await expect(events.next()).rejects.toMatchObject({ errors: [{ extensions: { code: "NOT_FOUND" } }] });
});

test("the agents are listed, found by name and by their cache key", async () => {
  const { agents } = await server.data("Agents");
  expect(agents).toMatchObject([
    { agentId: "rag-agent", name: "RAG Agent", model: "scripted-model", memoryModel: "scripted-model", remembers: true },
  ]);
  expect((await server.data("Agent", { agentId: "rag-agent" })).agent).toEqual(agents[0]);
  expect((await server.data("Agent", { agentId: "nobody" })).agent).toBeNull();
  const { node } = await server.data("query ($id: ID!) { node(id: $id) { id ... on Agent { agentId } } }", { id: agents[0].id });
  expect(node).toEqual({ id: agents[0].id, agentId: "rag-agent" });
});
