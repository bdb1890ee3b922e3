import { describe, expect, test } from "vitest";
import { questionStates, worthExtracting } from "../src/agent/gate.ts";

describe("the gate before extraction", () => {
  test.each([
    "Hi! My name is Alice. I love hiking and photography. I work as a data scientist.",
    "I prefer dark mode",
    "I told you I'm vegan",
    "You can call me Bob",
    "Emma lives in Rome",
    "The deadline of Project Apollo is May 5",
    "Remember that Emma is allergic to nuts",
    "No, I live in Rome",
    "Vegan!",
    "34",
    "a nurse",
    "Me llamo Juan y vivo en Madrid",
    "Ich wohne in Berlin",
    "我叫小明，我喜欢徒步",
    "Меня зовут Анна",
    "¿Qué puedo cocinar si soy vegetariano y no como huevos?",
  ])("lets a statement through: %s", (message) => {
    expect(worthExtracting(message)).toBe(true);
  });

  test.each([
    "My daughter Emma turns seven tomorrow, what should I bake?",
    "What should I cook if I'm vegetarian?",
    "Since I moved to Berlin, what should I see?",
    "Can you help me find a gift for my wife Anna?",
    "Hello from Canada, how are you?",
  ])("lets a question through that states something: %s", (message) => {
    expect(worthExtracting(message)).toBe(true);
  });

  test.each([
    "",
    "  ",
    "?!",
    "👍",
    "Hi",
    "Hello there!",
    "thanks a lot",
    "ok",
    "Yes, that's right",
    "Hola",
    "Danke",
    "你好",
    "ありがとう",
    "Привет",
  ])("spares a greeting, thanks or assent: %j", (message) => {
    expect(worthExtracting(message)).toBe(false);
  });

  test.each([
    "What are my hobbies?",
    "What's my name?",
    "Do you remember my name",
    "How do I sort a list in Python?",
    "Thanks! Where do you live?",
    "Why not?",
  ])("spares a question that states nothing: %s", (message) => {
    expect(worthExtracting(message)).toBe(false);
  });

  test.each([
    "Write a poem about cats",
    "Translate this to French: good morning",
    "That sounds like fun!",
    "Tell me about yourself",
    "I'm sorry to hear that.",
  ])("spares a plain request or a remark: %s", (message) => {
    expect(worthExtracting(message)).toBe(false);
  });

  test.each([
    "```js\nconst name = 'Alice';\n```",
    "```\nI live in Rome",
    "const x = foo(1);\nreturn x;",
    "2026-01-02 10:00:00 ERROR boom\n    at foo (a.js:1:2)",
    "https://example.com/a?b=c",
    "SELECT name FROM users",
  ])("spares code, logs and addresses alone: %j", (message) => {
    expect(worthExtracting(message)).toBe(false);
  });

  test("sees the user's own words around code", () => {
    expect(worthExtracting("I work on this at Nimbus:\n```js\nconst x = 1;\n```")).toBe(true);
  });

  test.each([
    "Let's plan my trip to Rome",
    "From May on I live (mostly) in Rome",
    "Update: I set my alarm to six",
    "Info I live in Rome",
    "# I am Alice",
  ])("takes no sentence for code: %s", (message) => {
    expect(worthExtracting(message)).toBe(true);
  });

  test("answers at once for the longest message there is", () => {
    for (const filler of ["a ", "(", "?", "I ", ", ", "you ", "= ", "```", "abcdefgh"]) {
      expect(typeof worthExtracting(filler.repeat(65_536 / filler.length))).toBe("boolean");
    }
  });
});

test("a question states something when it has a clause in the order of a statement", () => {
  expect(questionStates("since I moved to Berlin, what should I see?")).toBe(true);
  expect(questionStates("do I like hiking?")).toBe(false);
  expect(questionStates("what is my name?")).toBe(false);
});
