import { describe, expect, test } from "vitest";
import { addMemories, manualFact, type NewMemory } from "../src/agent/add-memories.ts";
import { fingerprint } from "../src/agent/ground.ts";
import { userId } from "../src/agent/input.ts";

function written(memory: string, rest: Partial<NewMemory> = {}): NewMemory {
  return { memory, topics: [], kind: "OTHER", ...rest };
}

test("a memory written by hand is a fact without a quote, never set aside", () => {
  expect(manualFact(written(" User prefers dark mode ", { topics: ["UI", "ui "], kind: "PREFERENCE" }), "")).toEqual({
    memory: "User prefers dark mode",
    topics: ["ui"],
    kind: "PREFERENCE",
    subject: null,
    slot: null,
    quote: null,
    fingerprint: fingerprint("User prefers dark mode", null),
    quarantined: false,
    expiresAt: null,
  });
});

test("a plain statement of a single-valued property fills its slot", () => {
  expect(manualFact(written("User's name is Bob"), "").slot).toBe("name");
});

describe("a memory is refused", () => {
  test.each<[Partial<NewMemory>, string]>([
    [{ memory: " \n" }, "memories.3.memory: is empty"],
    [{ memory: "a\0b" }, "memories.3.memory: contains a NUL character"],
    [{ memory: "\udc00" }, "memories.3.memory: contains half of a surrogate pair"],
    [{ memory: "a".repeat(2_001) }, "memories.3.memory: is longer than 2000 characters"],
    [{ topics: ["ok", ""] }, "memories.3.topics.1: is empty"],
    [{ expiresAt: new Date("2020-01-01") }, "memories.3.expiresAt: is not in the future"],
    [{ expiresAt: new Date("never") }, "memories.3.expiresAt: is not in the future"],
  ])("with %j", (rest, message) => {
    expect(() => manualFact(written("User likes tea", rest), "memories.3")).toThrow(message);
  });

  test.each([[0], [101]])("in a request of %i, before anything is stored", async (count) => {
    const store = { add: () => Promise.reject(new Error("must not be called")) };
    const inputs = Array.from({ length: count }, () => written("User likes tea"));
    await expect(addMemories(userId("alice"), { memories: inputs }, store)).rejects.toMatchObject({ code: "BAD_USER_INPUT" });
  });
});
