/** What clients in TypeScript get: typed documents from the schema, an example that uses them, recipes that stay true. */

import { type ExecFileException, execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { rm, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { isInterfaceType } from "graphql";
import { afterAll, beforeAll, expect, test } from "vitest";
import { buildGraphQLSchema } from "../src/graphql/schema.ts";
import { startTestServer, type TestServer } from "./support/server.ts";

const ROOT = fileURLToPath(new URL("../", import.meta.url));
const TIMEOUT = 60_000;
/** Beside the generated files, which are made anew each time. */
const WRONG = new URL("../examples/generated/wrong.ts", import.meta.url);

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer();
  await runNode("node_modules/@graphql-codegen/cli/esm/bin.js", "--config", "codegen.yml");
}, TIMEOUT);

afterAll(() => server.close());

/** Runs a program with this Node, in the project's folder; what it printed. Throws when it fails. */
async function runNode(...words: string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(process.execPath, words, { cwd: ROOT, timeout: TIMEOUT });
  return stdout;
}

function checkTypes(): Promise<string> {
  return runNode("node_modules/typescript/bin/tsc", "--project", "examples/tsconfig.json");
}

test("the example client fits the generated types, which refuse a field that is not there", { timeout: TIMEOUT }, async () => {
  expect(await checkTypes()).toBe("");
  await writeFile(
    WRONG,
    `import type { MemoriesByTopicQuery } from "./graphql.ts";\nexport const wrong = (data: MemoriesByTopicQuery) => data.memories.nothing;\n`,
  );
  const refused = await checkTypes()
    .catch((error: ExecFileException) => String(error.stdout))
    .finally(() => rm(WRONG));
  expect(refused).toMatch(/wrong\.ts.*'nothing' does not exist/);
});

test("the example client writes, streams and reads, as a program of its own", { timeout: TIMEOUT }, async () => {
  const printed = await runNode("examples/client.ts", `${server.url}/graphql`, "codegen-1");
  expect(printed.split("\n")).toEqual([
    "Noted: User prefers dark mode",
    expect.stringMatching(/You said: I love hiking\.$/),
    "Learned: User loves hiking",
    "Hobbies: User loves hiking",
    "",
  ]);
  const { memories } = await server.data("MemoriesByTopic", { userId: "codegen-1" });
  expect(memories.totalCount).toBe(2);
});

test("the example client is short", () => {
  const lines = readFileSync(new URL("../examples/client.ts", import.meta.url), "utf8").split("\n");
  expect(lines.length).toBeLessThan(60);
});

test("the recipe for Apollo Client names the types behind every interface", () => {
  const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");
  const recipe = /const possibleTypes = \{([\s\S]*?)\};/.exec(readme)?.[1] ?? "";
  const named = Object.fromEntries(
    [...recipe.matchAll(/(\w+): \[([^\]]*)\]/g)].map(([, name, list = ""]) => [name, [...list.matchAll(/\w+/g)].map(([type]) => type)]),
  );
  const schema = buildGraphQLSchema();
  const interfaces = Object.values(schema.getTypeMap()).filter(isInterfaceType);
  const behind = interfaces.map((type) => [
    type.name,
    schema
      .getPossibleTypes(type)
      .map(({ name }) => name)
      .toSorted(),
  ]);
  expect(named).toEqual(Object.fromEntries(behind));
});
