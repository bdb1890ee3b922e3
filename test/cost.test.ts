import { afterAll, beforeAll, expect, test } from "vitest";
import { startTestServer, type TestServer } from "./support/server.ts";

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer();
});

afterAll(() => server.close());

const RUN = `mutation ($input: RunAgentInput!) {
  runAgent(input: $input, waitFor: MEMORY) { run { status memoryUpdate { status } } }
}`;

/** The statements `work` takes at the least: what runs by the clock only ever adds to them. */
async function leastStatements(work: (index: number) => Promise<void>): Promise<number> {
  const costs: number[] = [];
  for (let index = 0; index < 8; index++) {
    const before = server.context.database.counts.statements;
    await work(index);
    costs.push(server.context.database.counts.statements - before);
  }
  return Math.min(...costs);
}

test("a turn with a fact takes nine statements, and its client three more while it waits for the memory", async () => {
  const statements = await leastStatements(async (index) => {
    const input = { userId: "cost", sessionId: `s${index}`, message: `I like thing${index} a lot.` };
    const { run } = (await server.data(RUN, { input })).runAgent;
    expect(run).toEqual({ status: "COMPLETED", memoryUpdate: { status: "DONE" } });
  });
  expect(statements).toBeGreaterThan(9);
  expect(statements).toBeLessThanOrEqual(12);
});

test("a turn asks the model twice, once of it before the reply ends; one with nothing to remember asks once", async () => {
  const calls = (kind: "reply" | "extraction"): number => server.model.asked(kind).length;
  const before = { reply: calls("reply"), extraction: calls("extraction") };
  await server.data("RunAgent", { input: { userId: "calls", sessionId: "s", message: "I like tea a lot." }, waitFor: "MEMORY" });
  expect([calls("reply") - before.reply, calls("extraction") - before.extraction]).toEqual([1, 1]);
  await server.data("RunAgent", { input: { userId: "calls", sessionId: "s", message: "Hello!" }, waitFor: "MEMORY" });
  await server.drain();
  expect([calls("reply") - before.reply, calls("extraction") - before.extraction]).toEqual([2, 1]);
});
