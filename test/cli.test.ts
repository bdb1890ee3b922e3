/** `recollect`: the command line, as a program of its own against a running server. */

import { readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { makeKey } from "./support/keys.ts";
import { fails } from "./support/model-answers.ts";
import { type Outcome, runProgram } from "./support/processes.ts";
import { startTestServer, type TestServer } from "./support/server.ts";

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer();
});

afterAll(() => server.close());

function recollect(user: string, ...words: string[]): Promise<Outcome> {
  return runProgram("cli", words, { RECOLLECT_URL: server.url, RECOLLECT_USER: user });
}

test("a message on the command line shows its reply, then what was remembered and from which words", async () => {
  server.model.script("reply", { kind: "speech", text: "Nice to meet you." });
  const said = await recollect("cli-1", "chat", "--session", "s", "I love hiking.");
  expect(said).toMatchObject({ code: 0, errors: [] });
  expect(said.output).toContain("Nice to meet you.\n");
  expect(said.output).toContain("added: User loves hiking");
  expect(said.output).toContain("because you said “I love hiking”");
  const shown = await recollect("cli-1", "sessions", "show", "s");
  expect(shown.output).toBe("> I love hiking.\nNice to meet you.\n");
});

test("with --json a chat gives its session, its reply and every event as one document", async () => {
  const { code, output } = await recollect("cli-2", "chat", "--json", "Hello!");
  const { sessionId, reply, events } = JSON.parse(output);
  expect(code).toBe(0);
  expect(sessionId).toMatch(/^\S{36}$/);
  expect(events.map((event: { delta?: string }) => event.delta ?? "").join("")).toBe(reply);
  expect(JSON.parse((await recollect("cli-2", "sessions", "--json")).output)).toMatchObject([{ sessionId }]);
});

test("a reply whose model fails ends with 1 and says what to do", async () => {
  server.model.script("reply", fails(404, { error: "No models loaded." }));
  const failed = await recollect("cli-3", "chat", "Hello!");
  expect(failed.code).toBe(1);
  expect(failed.errors.join("\n")).toMatch(/The model is not loaded/);
});

test("memories are written, listed by topic, found, shown with their history, and deleted", async () => {
  const added = JSON.parse(
    (await recollect("cli-4", "memories", "add", "User prefers dark mode", "--topic", "ui", "taste", "--json")).output,
  );
  expect(added).toMatchObject({ memory: { topics: ["ui", "taste"], origin: "MANUAL" }, change: { kind: "ADDED" } });
  const { memoryId } = added.memory;
  await recollect("cli-4", "memories", "add", "User has a cat", "--topic", "pets");
  expect((await recollect("cli-4", "memories", "list", "--topic", "ui")).output).toBe(
    `${memoryId}  User prefers dark mode  [ui, taste] manual\n1 in all\n`,
  );
  expect((await recollect("cli-4", "memories", "search", "dark", "mode")).output).toContain("User prefers dark mode");
  expect((await recollect("cli-4", "memories", "show", memoryId)).output).toMatch(/User prefers dark mode.*\n {2}\S+ added\n/);
  expect((await recollect("cli-4", "memories", "delete", memoryId)).output).toContain("deleted:");
  expect((await recollect("cli-4", "memories")).output).toMatch(/^\S+ {2}User has a cat {2}\[pets\] manual\n1 in all\n$/);
  expect((await recollect("cli-4", "memories", "show", "nothing")).errors).toEqual([
    "There is no memory with this id. Look it up with: recollect memories list",
  ]);
});

test("more than a page of memories is listed whole", async () => {
  await server.data("AddMemories", {
    input: { userId: "cli-5", memories: Array.from({ length: 70 }, (_, index) => ({ memory: `User owns thing number ${index}` })) },
  });
  await server.data("AddMemories", {
    input: { userId: "cli-5", memories: Array.from({ length: 70 }, (_, index) => ({ memory: `User has seen place number ${index}` })) },
  });
  expect(JSON.parse((await recollect("cli-5", "memories", "--json")).output)).toHaveLength(140);
});

test("what is exported from one user into a file is taken in for another", async () => {
  await recollect("cli-6", "chat", "--session", "s", "I love hiking.");
  const file = path.join(tmpdir(), `recollect-cli-${process.pid}.json`);
  try {
    const exported = await recollect("cli-6", "export", file);
    expect(exported).toMatchObject({ code: 0, output: "", errors: [`Written to ${file}.`] });
    const onOutput = await recollect("cli-6", "export");
    expect(onOutput.output).toBe(await readFile(file, "utf8"));
    const taken = await recollect("cli-7", "import", file, "--json");
    expect(JSON.parse(taken.output).imported).toBeGreaterThan(3);
    expect((await recollect("cli-7", "memories")).output).toContain("User loves hiking");
    expect((await recollect("cli-7", "import", `${file}.none`)).errors.join()).toContain("cannot be read");
  } finally {
    await rm(file, { force: true });
  }
});

test("the doctor says how a server is doing, and without one what would be found here", async () => {
  const up = await recollect("cli-8", "doctor");
  expect(up.output).toMatch(/^ok +server +version \S+ at http/);
  expect(up.output).toMatch(/^ok +database +(embedded|Postgres)/m);
  const down = await runProgram("cli", ["--url", "http://127.0.0.1:1", "doctor", "--json"], { OPENAI_BASE_URL: "http://127.0.0.1:1/v1" });
  expect(down.code).toBe(1);
  expect(JSON.parse(down.output)).toEqual(
    expect.arrayContaining([
      expect.objectContaining({ about: "server", state: "error", fix: expect.stringContaining("npm start") }),
      expect.objectContaining({ about: "disk" }),
      expect.objectContaining({ about: "models", state: "warning", fix: expect.stringContaining("LM Studio") }),
    ]),
  );
  const wrong = await runProgram("cli", ["--url", "http://127.0.0.1:1", "doctor"], { PORT: "none" });
  expect(wrong.output).toMatch(/^error +settings +PORT/m);
  const gone = await runProgram("cli", ["--url", "http://127.0.0.1:1", "doctor"], { DATABASE_URL: "postgres://nobody@127.0.0.1:1/none" });
  expect(gone.output).toMatch(/^error +database .*ECONNREFUSED/m);
});

test("a wrong command ends with 2 and says what there is, help ends with 0", async () => {
  const wrong = await recollect("cli-9", "memorise");
  expect(wrong.code).toBe(2);
  expect(wrong.errors.join("\n")).toMatch(/unknown command 'memorise'/);
  expect((await recollect("cli-9", "demo", "nothing")).code).toBe(2);
  const help = await recollect("cli-9", "--help");
  expect(help.code).toBe(0);
  for (const command of ["serve", "chat", "memories", "sessions", "import", "export", "doctor", "demo", "keys", "migrate-from-agno"]) {
    expect(help.output).toContain(`  ${command}`);
  }
});

test("keys are made through the same command line", async () => {
  const { code, errors } = await recollect("cli-10", "keys");
  expect(code).toBe(1);
  expect(errors.join("\n")).toContain("npm run keys -- create --user <id>");
  const behindOptions = await recollect("cli-10", "--url", server.url, "keys", "create");
  expect(behindOptions.errors.join("\n")).toMatch(/^Say whom the key acts for/);
});

test("a token is sent over HTTP and over the socket, and a wrong one says so", async () => {
  const guarded = await startTestServer({ env: { AUTH: "keys" } });
  try {
    const { token } = await makeKey(guarded.context.database, { user: "cli-11" });
    const withToken = (credential: string, ...words: string[]) =>
      runProgram("cli", ["--token", credential, ...words], { RECOLLECT_URL: guarded.url });
    const said = await withToken(token, "chat", "I love hiking.");
    expect(said).toMatchObject({ code: 0, output: expect.stringContaining("added: User loves hiking") });
    expect((await withToken(token, "memories")).output).toContain("User loves hiking");
    for (const words of [["memories"], ["chat", "Hello!"]]) {
      const wrong = await withToken("rk_0000000000000000_none", ...words);
      expect(wrong).toMatchObject({ code: 1, output: "" });
      expect(wrong.errors.join("\n")).toMatch(/key|token/);
    }
  } finally {
    await guarded.close();
  }
});
