import fc from "fast-check";
import { expect, test } from "vitest";
import { checkTopics, normalizeTopic, normalizeTopics } from "../src/agent/topics.ts";

test.each<[unknown, string[]]>([
  [
    ["Hobbies", " hobbies ", "#Hiking"],
    ["hobbies", "hiking"],
  ],
  ["hobbies", ["hobbies"]],
  ["Work, Data Science; career", ["work", "data science", "career"]],
  ['["ui", "Preferences"]', ["ui", "preferences"]],
  ['{"topics": ["ui"]}', ["ui"]],
  [
    [["a", ["b"]], { topic: "c" }],
    ["a", "b", "c"],
  ],
  [
    ["C++", "c#.", ".NET", "(food)", '"music"', "alice."],
    ["c++", "c#", ".net", "food", "music", "alice"],
  ],
  [["日本、旅行"], ["日本", "旅行"]],
  [2026, ["2026"]],
  [[null, true, undefined, "", " , "], []],
  [null, []],
  ["[broken", ["broken"]],
])("a model's %j are the topics %j", (value, topics) => {
  expect(normalizeTopics(value)).toEqual(topics);
});

test("a model's topics are few, short, clean and final whatever it sent", () => {
  fc.assert(
    fc.property(fc.oneof(fc.anything(), fc.json(), fc.array(fc.string({ unit: "binary", maxLength: 100 }), { maxLength: 40 })), (value) => {
      const topics = normalizeTopics(value);
      expect(topics.length).toBeLessThanOrEqual(16);
      for (const topic of topics) {
        expect(topic.length).toBeLessThanOrEqual(64);
        expect(topic.isWellFormed()).toBe(true);
        expect(topic).not.toMatch(/^\s|\s$|\p{Cc}/u);
        expect(topic).not.toBe("");
      }
      expect(new Set(topics).size).toBe(topics.length);
      expect(normalizeTopics(topics)).toEqual(topics);
    }),
  );
});

test("topics written by hand keep their marks, in one case and each once", () => {
  expect(checkTopics([" UI/UX ", "ui/ux", "two  words", "#1"], "topics")).toEqual(["ui/ux", "two words", "#1"]);
});

test.each<[string[], string]>([
  [["ok", " "], "topics.1: is empty"],
  [["a".repeat(65)], "topics.0: is longer than 64 characters"],
  [["a\0b"], "topics.0: contains a NUL character"],
  [["\ud800"], "topics.0: contains half of a surrogate pair"],
  [Array.from({ length: 17 }, (_, index) => `t${index}`), "topics: has more than 16 topics"],
])("topics %j written by hand are refused", (topics, message) => {
  expect(() => checkTopics(topics, "topics")).toThrow(message);
});

test("both spellings of an accented topic are one", () => {
  expect(normalizeTopic("Cafe\u0301")).toBe(normalizeTopic("CAFÉ"));
});
