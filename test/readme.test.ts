/** What the README tells a stranger to type works. */

import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startTestServer, type TestServer } from "./support/server.ts";

const README = readFileSync(new URL("../README.md", import.meta.url), "utf8");
const BODIES = [...README.matchAll(/curl [^'\n]*?(http:\/\/localhost:7777\S*)[^\n]*(?:\n\s*)?-d '([^']+)'/g)];

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer();
});

afterAll(() => server.close());

test("its requests are answered without an error", async () => {
  expect(BODIES.length).toBeGreaterThanOrEqual(2);
  for (const [, address = "", body = ""] of BODIES) {
    const url = address.replace("http://localhost:7777", server.url);
    const response = await fetch(url, { method: "POST", headers: { "content-type": "application/json" }, body });
    expect(response.status, address).toBe(200);
    expect(await response.json(), address).not.toHaveProperty("errors");
  }
});

test("a user's data is fetched, brought to another user and erased as it says", async () => {
  const commands = /## Your users' data[\s\S]*?```sh\n([\s\S]*?)```/.exec(README)?.[1] ?? "";
  await server.data("AddMemory", { input: { userId: "alice@example.com", memory: "User keeps bees" } });
  const folder = await mkdtemp(path.join(tmpdir(), "recollect-readme-"));
  try {
    const script = commands.replaceAll("http://localhost:7777", server.url);
    const { stdout } = await promisify(execFile)("sh", ["-ec", script], { cwd: folder });
    expect(stdout).toMatch(/^\{"imported":\d+,"skipped":0\}/);
    expect(stdout).toContain('"remainingCount":0');
    expect(await readFile(path.join(folder, "alice.json"), "utf8")).toContain("User keeps bees");
  } finally {
    await rm(folder, { recursive: true });
  }
});

test("its GraphQL documents are valid", async () => {
  const documents = [...README.matchAll(/```graphql\n([\s\S]*?)```/g)].map((match) => match[1] ?? "");
  expect(documents.length).toBeGreaterThan(0);
  for (const document of documents) {
    expect((await server.graphql(document)).errors).toBeUndefined();
  }
});

test("every npm script it names exists", () => {
  const { scripts } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as { scripts: Record<string, string> };
  for (const [, name = ""] of README.matchAll(/npm run ([\w:]+)/g)) {
    expect(scripts, name).toHaveProperty([name]);
  }
});
