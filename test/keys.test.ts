/** `npm run keys`: made, listed and revoked beside a running server, and never stored as they are. */

import { afterAll, beforeAll, expect, test } from "vitest";
import { openDatabase } from "../src/stores/open-database.ts";
import { createTestDatabase, type TestDatabase } from "./support/database.ts";
import { bearer } from "./support/keys.ts";
import { type Outcome, runProgram } from "./support/processes.ts";
import { openConnection } from "./support/raw-socket.ts";
import { postGraphQL, startTestServer, type TestServer } from "./support/server.ts";

const TOKEN = /^rk_[0-9a-f]{16}_[A-Za-z0-9_-]{43}\n$/;

let database: TestDatabase;
let server: TestServer;
let early: Outcome;

beforeAll(async () => {
  database = await createTestDatabase();
  early = await runProgram("keys", ["create", "--service", "--name", "before the server"], { ...environment(), AUTH: "none" });
  server = await startTestServer({ database, env: { AUTH: "keys" } });
});

afterAll(async () => {
  await server.close();
  await database.remove();
});

function environment(): NodeJS.ProcessEnv {
  const { databaseUrl, dataDir } = database.options;
  return { DATA_DIR: dataDir, DATABASE_URL: databaseUrl ?? "", AUTH: "keys" };
}

const keys = (...words: string[]) => runProgram("keys", words, environment());
const idOf = ({ output }: Outcome) => output.split("_")[1] ?? "";
const topics = (outcome: Outcome, userId: string | null = null) =>
  postGraphQL(server.url, "query ($userId: ID) { memoryTopics(userId: $userId) { topic } }", { userId }, bearer(outcome.output.trim()));

test("a key made before the server was started, and one made while it runs, let their owners in", async () => {
  expect(early).toMatchObject({ code: 0, output: expect.stringMatching(TOKEN) });
  expect(early.errors.join()).toContain("Start it with AUTH=keys");
  expect(await topics(early, "ada")).toEqual({ data: { memoryTopics: [] } });

  const ada = await keys("create", "--user", "ada", "--expires", "2h");
  expect(ada).toMatchObject({ code: 0, output: expect.stringMatching(TOKEN) });
  expect(ada.errors).toEqual([expect.stringContaining(`Key ${idOf(ada)} for the user ada, good until`)]);
  expect(await topics(ada)).toEqual({ data: { memoryTopics: [] } });
  expect((await topics(ada, "bob")).errors?.[0]?.extensions.code).toBe("FORBIDDEN");
});

test("the database holds no key, only what it can be recognised by", async () => {
  const made = await keys("create", "--admin", "--name", "mine");
  await topics(made, "ada");
  const stored = JSON.stringify(await server.context.database.inspect("select * from recollect_api_keys"));
  expect(stored).toContain(idOf(made));
  expect(stored).not.toContain(made.output.trim().slice(20));
  expect((await keys("list")).output).toMatch(new RegExp(`^${idOf(made)}  good     admin  "mine"  made \\S+Z, used \\S+Z$`, "m"));
});

test("a revoked key lets nobody in any more, and the connections it opened end", async () => {
  const made = await keys("create", "--user", "carol");
  const connection = await openConnection(server.url, bearer(made.output.trim()));
  expect(await keys("revoke", idOf(made))).toMatchObject({ code: 0, errors: [expect.stringContaining("Revoked")] });
  expect((await connection.closed).code).toBe(4403);
  expect((await topics(made)).errors?.[0]?.extensions.code).toBe("UNAUTHENTICATED");
  expect((await keys("list")).output).toMatch(new RegExp(`^${idOf(made)}  revoked  user carol`, "m"));
  expect(await keys("revoke", idOf(made))).toMatchObject({ code: 0 });
});

test.each<[string, string[], RegExp]>([
  ["nothing to do", [], /Say what to do/],
  ["nobody to act for", ["create"], /one of --user/],
  ["two sorts at once", ["create", "--user", "ada", "--admin"], /one of --user/],
  ["an empty user", ["create", "--user", ""], /--user: is empty/],
  ["a time gone by", ["create", "--service", "--expires", "2020-01-01"], /time to come/],
  ["no time", ["create", "--service", "--expires", "soon"], /time to come/],
  ["an unknown option", ["create", "--everything"], /everything/],
  ["an unknown key", ["revoke", "0000000000000000"], /no key with this id/],
])("with %s it says what is wrong, and makes nothing", async (_, words, message) => {
  const before = await keys("list");
  const outcome = await keys(...words);
  expect(outcome).toMatchObject({ code: 1, output: "" });
  expect(outcome.errors.join("\n")).toMatch(message);
  expect((await keys("list")).output.split("\n").length).toBe(before.output.split("\n").length);
});

test("a folder whose server has stopped is asked itself", async () => {
  const own = await createTestDatabase();
  const { databaseUrl, dataDir } = own.options;
  const env = { DATA_DIR: dataDir, DATABASE_URL: databaseUrl ?? "" };
  const made = await runProgram("keys", ["create", "--user", "ada"], env);
  expect((await runProgram("keys", ["list"], env)).output).toContain(idOf(made));
  const opened = await openDatabase(own.options);
  expect(await opened.inspect("select key_id from recollect_api_keys")).toEqual([{ key_id: idOf(made) }]);
  await opened.close();
  await own.remove();
});
