/** The guide's three test scripts, as the commands of package.json run them, against a server that is up and one that is not. */

import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { fails } from "./support/model-answers.ts";
import { startTestServer, type TestServer } from "./support/server.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const { scripts } = JSON.parse(readFileSync(path.join(root, "package.json"), "utf8")) as { scripts: Record<string, string> };

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer();
});

afterAll(() => server.close());

/** Runs `npm run demo:<scene>` without npm, and gives its exit code and all it printed. */
async function demo(scene: string, url: string): Promise<{ code: number | null; output: string }> {
  const [, ...words] = scripts[`demo:${scene}`]?.split(" ") ?? [];
  const child = spawn(process.execPath, words, {
    cwd: root,
    env: { ...process.env, RECOLLECT_URL: url },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
  }
  const code = await new Promise<number | null>((resolve) => child.once("close", resolve));
  return { code, output };
}

/** The part of an output under a heading. */
function under(output: string, heading: string): string {
  return output.split("\n== ").find((part) => part.startsWith(heading)) ?? "";
}

test("demo:memory shows what a conversation leaves behind: memories, a summary, and a next session that knows", async () => {
  const { code, output } = await demo("memory", server.url);
  expect(output).toMatch(/^Recollect at http:.*, model scripted-model, user demo-\w+@example\.com$/m);
  expect(under(output, "A conversation")).toContain(
    "added: User's name is Alice [personal, identity] EXTRACTED, because you said “My name is Alice”",
  );
  expect(under(output, "A conversation")).toMatch(/superseded: User lives in (?:Berlin|Hamburg)/);
  const stored = under(output, "What is stored");
  for (const memory of ["User loves hiking [hobbies, activities]", "User works as a data scientist [career, professional]", "6 in all"]) {
    expect(stored).toContain(memory);
  }
  expect(under(output, "The session's summary")).toContain("The user said: Hi! My name is Alice.");
  expect(under(output, "Another session")).toMatch(/> What are my hobbies\?\nI know: .*User loves hiking.*User loves photography/);
  expect(code).toBe(0);
});

test("demo:manual writes memories by hand, one and many, finds them by topic and uses them", async () => {
  const { code, output } = await demo("manual", server.url);
  expect(under(output, "Remembered from a message")).toContain("added: User loves Python programming");
  expect(under(output, "One memory written by hand")).toContain("added: User prefers dark mode [preferences, ui] MANUAL");
  expect(under(output, "Several at once").match(/added: /g)).toHaveLength(3);
  expect(under(output, "Found by topic")).toMatch(/User is allergic to peanuts \[health, allergies\] MANUAL\n {2}1 in all/);
  expect(under(output, "Used in a conversation")).toMatch(/I know: .*User is allergic to peanuts/);
  expect(code).toBe(0);
});

test("demo:debug shows every event of a run, what it recalled, and what became of its facts", async () => {
  const { code, output } = await demo("debug", server.url);
  const events = under(output, "Every event");
  for (const [index, name] of ["RunStarted", "MemoriesRecalled", "TextMessageStart", "TextMessageContent"].entries()) {
    expect(events).toMatch(new RegExp(`^ +${index + 1}  \\d\\d:\\d\\d:\\d\\d\\.\\d+Z? +${name} `, "m"));
  }
  expect(events).toMatch(/RunFinished[\s\S]*MemoryUpdate/);
  expect(under(output, "Why it said that")).toMatch(
    /model {5}scripted-model\ntokens {4}\d+ in, \d+ out\nrecalled {2}everything there is\n +User lives in Berlin/,
  );
  expect(under(output, "What became of its facts: DONE")).toContain("added: User is allergic to peanuts [health, allergies] EXTRACTED");
  expect(output).toContain("LOG_LEVEL=debug npm start");
  expect(code).toBe(0);
});

test("a demo without a server says how to start one, and one whose model fails says why", async () => {
  const down = await demo("memory", "http://127.0.0.1:1");
  expect(down).toEqual({
    code: 1,
    output:
      "No Recollect server answers at http://127.0.0.1:1. Start one with: npm start (one at another address is named by RECOLLECT_URL or --url)\n",
  });
  const notOurs = await demo("memory", server.model.url.replace(/\/v1$/, ""));
  expect(notOurs.code).toBe(1);
  expect(notOurs.output).toMatch(/is no Recollect server\. Set RECOLLECT_URL/);
  server.model.script("reply", fails(404, { error: "No models loaded." }));
  const failed = await demo("manual", server.url);
  expect(failed.code).toBe(1);
  expect(failed.output).toMatch(/The model is not loaded: No models loaded\. Load it in LM Studio/);
});
