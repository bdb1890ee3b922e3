/** What the README tells a stranger to type works. */

import { readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startTestServer, type TestServer } from "./support/server.ts";

const README = readFileSync(new URL("../README.md", import.meta.url), "utf8");
const BODIES = [...README.matchAll(/curl [^']*?(http:\/\/localhost:7777\S*)[\s\S]*?-d '([^']+)'/g)];

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
