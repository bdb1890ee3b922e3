import { describe, expect, it } from "vitest";
import { readJson } from "../src/models/read-json.ts";

describe("readJson", () => {
  it.each<[string, string, unknown]>([
    ["an object", '{"a": 1}', { a: 1 }],
    ["an array", '[{"a": 1}, {"a": 2}]', [{ a: 1 }, { a: 2 }]],
    ["nothing found", '{"facts": []}', { facts: [] }],
    ["an empty array", "Nothing to remember: []", []],
    ["an empty object", "{}", {}],
    ["a code fence", 'Sure!\n```json\n{"a": "```"}\n```', { a: "```" }],
    ["prose around it", 'As said in [1], {"a": {"b": [1, 2]}} is it.', { a: { b: [1, 2] } }],
    ["brackets and quotes in texts", '{"a": "} ] \\" \\\\", "b": "{["}', { a: '} ] " \\', b: "{[" }],
    ["braces in prose", 'The form {text, quote} gives {"text": "x"}', { text: "x" }],
    ["the first of two", '{"a": 1} or {"a": 2}', { a: 1 }],
    ["what follows a think block", '<think>{"a": 0}</think>{"a": 1}', { a: 1 }],
    ["what follows the end of a think block", 'hm {"a": 0}</think>{"a": 1}', { a: 1 }],
  ])("finds %s", (_name, text, value) => {
    expect(readJson(text)).toEqual(value);
  });

  it.each<[string, string, unknown]>([
    [
      "an array of objects",
      '{"facts": [{"t": "a", "topics": ["x"]}, {"t": "b", "topics": ["y", "z',
      { facts: [{ t: "a", topics: ["x"] }] },
    ],
    ["an array and its end", '{"facts": [{"t": "a"}], "note": "and', { facts: [{ t: "a" }] }],
    ["an array of texts", '{"summary": "s", "topics": ["a", "b", "c', { summary: "s", topics: ["a", "b"] }],
    ["an array of numbers", "[1, 2, 34", [1, 2]],
    ["a second array", '{"a": [1, 2], "b": [{"c": 1}, {"c"', { a: [1, 2], b: [{ c: 1 }] }],
    ["a list in a fence", '```json\n[{"t": "a"}, {"t": ', [{ t: "a" }]],
  ])("keeps the complete items of %s that breaks off", (_name, text, value) => {
    expect(readJson(text)).toEqual(value);
  });

  it.each<[string, string]>([
    ["an empty text", ""],
    ["prose", "I found no facts."],
    ["a bare text or number", '"a"'],
    ["an item whose array has no complete one", '{"facts": [{"t": "a", "topics": ["x"], "q'],
    ["an item of a broken whole", '{"facts": [{"t": "a\nb"}, {"t": "c"}]}'],
    ["brackets that do not match", '{"a": [1}]'],
    ["a think block that never ends", '<think>{"a": 1}'],
  ])("does not make an answer of %s", (_name, text) => {
    expect(readJson(text)).toBeUndefined();
  });

  it("keeps what is complete wherever an answer breaks off, and never half an item", () => {
    const facts = [
      { t: 'a "quoted" one', topics: ["x", "y"] },
      { t: "b\\", topics: [] },
      { t: "ü🙂", topics: ["z"] },
    ];
    const text = JSON.stringify({ facts });
    for (let length = 0; length < text.length; length++) {
      const value = readJson(text.slice(0, length)) as { facts: unknown[] } | undefined;
      const kept = value?.facts ?? [];
      expect(kept).toEqual(facts.slice(0, kept.length));
    }
  });

  it("takes its time with nothing, however hostile", () => {
    for (const text of [
      "[".repeat(300_000),
      '{"a":'.repeat(60_000),
      "[1,".repeat(100_000),
      "<think>".repeat(40_000),
      "</think>".repeat(40_000),
    ]) {
      expect(readJson(text) === undefined || typeof readJson(text) === "object").toBe(true);
    }
  });
});
