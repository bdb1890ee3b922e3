/** The named moments at which the chaos harness kills the server. */

import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { STEPS } from "../src/step.ts";
import { startTestServer } from "./support/server.ts";

const SOURCE = fileURLToPath(new URL("../src/", import.meta.url));

test("every step has one place in the source, and every place a step of the list", () => {
  const files = readdirSync(SOURCE, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".ts"));
  const called = files.flatMap((name) =>
    [...readFileSync(`${SOURCE}${name}`, "utf8").matchAll(/\bstep\("([^"]+)"\)/g)].map((match) => match[1]),
  );
  expect(called.sort()).toEqual([...STEPS].sort());
});

test("a turn and a batch of memories pass their steps in their order", async () => {
  const passed: unknown[] = [];
  const listen = (name: unknown): void => {
    passed.push(name);
  };
  const server = await startTestServer();
  subscribe("recollect:step", listen);
  try {
    const userId = "steps";
    await server.data("RunAgent", { input: { userId, message: "I love hiking." }, waitFor: "MEMORY" });
    // Events are stored whenever there are some.
    const once = passed.filter((name) => name !== "events-stored");
    expect(once).toEqual(["run-accepted", "reply-complete", "run-ended", "jobs-claimed", "facts-found", "facts-stored"]);
    passed.length = 0;
    await server.data("AddMemories", { input: { userId, memories: [{ memory: "User owns a boat" }, { memory: "User owns a kayak" }] } });
    expect(passed.filter((name) => String(name).startsWith("batch"))).toEqual(["batch-written", "batch-stored"]);
  } finally {
    unsubscribe("recollect:step", listen);
    await server.close();
  }
});
