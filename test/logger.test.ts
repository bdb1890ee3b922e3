/** What users write does not reach the log through an error, though drivers put it into theirs. */

import { afterAll, beforeAll, expect, test } from "vitest";
import type { LogLevel } from "../src/config.ts";
import { createLogger } from "../src/logger.ts";
import type { Database } from "../src/stores/database.ts";
import { openDatabase } from "../src/stores/open-database.ts";
import { createTestDatabase, type TestDatabase } from "./support/database.ts";

const SECRET = "alice's secret\n    at home (file:///home/alice:1:1)";

let files: TestDatabase;
let database: Database;

beforeAll(async () => {
  files = await createTestDatabase();
  database = await openDatabase(files.options);
});

afterAll(async () => {
  await database.close();
  await files.remove();
});

/** A logger, and its lines as they would be sent out. */
function capture(level: LogLevel = "trace") {
  const lines: string[] = [];
  return { lines, log: createLogger(level, { write: (line) => lines.push(line) }) };
}

/** The error of a statement in which SECRET stands for the $1. */
async function failureOf(sql: string, before = "select 1"): Promise<Error> {
  const work = database.asOperator(async (transaction) => {
    await transaction.query(before);
    return transaction.query(sql.replaceAll("$1", `'${SECRET.replaceAll("'", "''")}'`)).catch((error: unknown) => {
      // As the entity manager reports it: with the database's detail in the message.
      throw transaction.em.getDriver().convertException(error as Error);
    });
  });
  return work.then(
    () => expect.unreachable("the statement was to fail"),
    (error: Error) => error,
  );
}

test.each([
  ["a duplicate", "insert into pg_temp.x values ($1), ($1)", "create temp table x (x text primary key) on commit drop", "23505"],
  ["a value of another type", "select $1::int", "select 1", "22P02"],
  ["a syntax error", "select 1 $1 2", "select 1", "42601"],
])("%s: the log has the code and the frames, and not the value", async (_case, sql, before, code) => {
  const error = await failureOf(sql, before);
  expect(`${JSON.stringify(error)}${error.message}`, "the error holds the value").toContain("alice");
  const { lines, log } = capture();
  log.error({ err: new Error("storing failed", { cause: error }) }, "unexpected failure");
  expect(lines.join()).not.toContain("alice");
  const { err } = JSON.parse(lines[0] ?? "");
  expect(err).toMatchObject({ type: "Error", message: "storing failed", cause: { code } });
  expect(err.stack[0]).toMatch(/^at /);
  expect(err.cause.stack.length).toBeGreaterThan(0);
});

test("a duplicate still names its constraint", async () => {
  const error = await failureOf("insert into pg_temp.x values ($1), ($1)", "create temp table x (x text primary key) on commit drop");
  const { lines, log } = capture();
  log.error({ err: error }, "unexpected failure");
  expect(JSON.parse(lines[0] ?? "").err.message).toBe('duplicate key value violates unique constraint "x_pkey"');
});

test("JSON that cannot be read is not quoted, and a long message is cut", () => {
  const { lines, log } = capture();
  try {
    JSON.parse(SECRET);
  } catch (err) {
    log.error({ err }, "unexpected failure");
  }
  log.error({ err: new Error("x".repeat(10_000)) }, "unexpected failure");
  expect(lines.join()).not.toContain("secret");
  expect(lines[1]?.length).toBeLessThan(3_000);
});

test("errors that cause each other in a circle are logged", () => {
  const error = new Error("one");
  error.cause = new Error("two", { cause: error });
  const { lines, log } = capture();
  log.error({ err: error }, "unexpected failure");
  expect(lines).toHaveLength(1);
});

test("fields that would hold text or secrets are logged without their value, here and in a child", () => {
  const { lines, log } = capture();
  log.info({ message: SECRET, openaiApiKey: SECRET, runId: "run-1" }, "said");
  log.child({ prompt: SECRET }).info({ memories: [SECRET] }, "said");
  expect(lines.join()).not.toContain("secret");
  expect(JSON.parse(lines[0] ?? "")).toMatchObject({ message: "[redacted]", runId: "run-1", msg: "said" });
});

test("a line is one JSON object with its time in UTC, and levels below the chosen one are left out", () => {
  const { lines, log } = capture("warn");
  log.info({}, "not said");
  log.warn({ port: 1 }, "two\nlines");
  expect(lines).toHaveLength(1);
  expect(lines[0]?.trimEnd()).not.toContain("\n");
  expect(JSON.parse(lines[0] ?? "")).toEqual({ level: 40, time: expect.stringMatching(/^\d{4}-.*Z$/), port: 1, msg: "two\nlines" });
});
