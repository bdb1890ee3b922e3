/** Stopping the server in the middle of an extraction gives the job back: it does not count as tried, and the next start does it. */

import { afterEach, beforeEach, expect, test } from "vitest";
import { openDatabase } from "../src/stores/open-database.ts";
import { createTestDatabase, type TestDatabase } from "./support/database.ts";
import { type ModelServer, startModelServer } from "./support/model-server.ts";
import { type ServerProcess, startServerProcess } from "./support/processes.ts";
import { postGraphQL, serverEnvironment } from "./support/server.ts";

let database: TestDatabase;
let model: ModelServer;
const started: ServerProcess[] = [];

beforeEach(async () => {
  database = await createTestDatabase();
  model = await startModelServer();
});

afterEach(async () => {
  for (const server of started.splice(0)) {
    await server.kill("SIGKILL");
  }
  await model.close();
  await database.remove();
});

async function start(): Promise<ServerProcess> {
  const server = await startServerProcess(serverEnvironment(database, model, { LOG_LEVEL: "info" }));
  started.push(server);
  return server;
}

async function storedJobs(): Promise<object[]> {
  const opened = await openDatabase(database.options);
  try {
    return await opened.asOperator((transaction) => transaction.query("select kind, state, attempt, lease_owner from recollect_jobs"));
  } finally {
    await opened.close();
  }
}

test("SIGTERM in the middle of an extraction gives the job back untried, and the next start carries it out", async () => {
  const first = await start();
  const gate = model.hold(0, "extraction");
  const input = { userId: "stop", sessionId: "s", message: "I love hiking." };
  const { data } = await postGraphQL(first.url, "RunAgent", { input, waitFor: "REPLY" });
  await gate.reached;
  expect(await first.kill("SIGTERM")).toBe(0);
  await model.asked("extraction")[0]?.closed;
  expect(model.asked("extraction")[0]?.aborted).toBe(true);
  expect(await storedJobs()).toEqual([{ kind: "extract-memories", state: "READY", attempt: 0, lease_owner: null }]);

  const second = await start();
  await expect
    .poll(async () => (await postGraphQL(second.url, "Run", { userId: "stop", runId: data.runAgent.run.runId })).data.run.memoryUpdate, {
      timeout: 20_000,
    })
    .toMatchObject({ status: "DONE", changes: [{ memory: { memory: "User loves hiking" } }] });
  expect(await second.kill("SIGTERM")).toBe(0);
  expect(await storedJobs()).toEqual([]);
}, 90_000);
