import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { fold } from "../src/agent/fold.ts";
import { checkGrounded, fingerprint, locateQuote } from "../src/agent/ground.ts";

const SAID_AT = new Date("2026-08-10T09:30:00Z");

function reasonFor(message: string, quote: string, text: string): string | null {
  const located = locateQuote(message, quote);
  if (!located) {
    throw new Error(`"${quote}" is not in "${message}"`);
  }
  return checkGrounded({ text, quote: located, message, saidAt: SAID_AT });
}

describe("folding", () => {
  test.each([
    ["I’m ALLERGIC — to\n peanuts!", "im allergic to peanuts"],
    ["Ｃａｆｅ́", "café"],
    ["cafe\u0301", "café"],
    ["ﬁancé", "fiancé"],
    ["soft\u00adhyphen, zero\u200bwidth", "softhyphen zerowidth"],
    ["C++ and C#", "c++ and c#"],
    ["ΟΔΟΣ οδος", "οδοσ οδοσ"],
    ["\u314e\u314f\u3134 한글", `${"\u314e\u314f\u3134".normalize("NFKC")} 한글`],
    ["  …  ", ""],
  ])("%j becomes %j", (text, folded) => {
    expect(fold(text)).toBe(folded);
  });

  test("changes nothing the second time", () => {
    fc.assert(fc.property(fc.string({ unit: "binary" }), (text) => fold(fold(text)) === fold(text)));
  });

  test("makes Unicode forms of a text equal", () => {
    fc.assert(fc.property(fc.string({ unit: "grapheme" }), (text) => fold(text.normalize("NFD")) === fold(text.normalize("NFC"))));
  });
});

describe("finding a quote", () => {
  test("gives the message's own words and their place", () => {
    const message = "Hi 👋🏽! I’m  ALLERGIC\nto “peanuts”…";
    const found = locateQuote(message, "i'm allergic to peanuts");
    expect(found?.text).toBe("I’m  ALLERGIC\nto “peanuts");
    expect(message.slice(found?.start, found?.end)).toBe(found?.text);
  });

  test("keeps its place after characters that grow or shrink when folded", () => {
    const message = "㎏ ﷺ ½ İstanbul'da 𝒜lice yaşıyor 🏔️ hiking";
    expect(locateQuote(message, "alice yaşıyor")?.text).toBe("𝒜lice yaşıyor");
    expect(locateQuote(message, "HIKING")?.text).toBe("hiking");
  });

  test.each([
    ["I was at the party", "art"],
    ["I like cats", "like cat"],
    ["I love hiking", "I love sailing"],
    ["I love hiking", "  … "],
    ["", "hiking"],
  ])("in %j does not find %j", (message, quote) => {
    expect(locateQuote(message, quote)).toBeNull();
  });

  test("finds words inside scripts that have no spaces", () => {
    expect(locateQuote("我叫小明，我喜欢徒步。", "喜欢徒步")?.text).toBe("喜欢徒步");
  });

  test("always gives a slice of the message that folds to what was looked for", () => {
    const text = fc.string({ unit: fc.constantFrom(..."aB éÉ'’-,.ﬁß½İ👋🏽한ㅏ我 \u200b\n".split("")), maxLength: 30 });
    fc.assert(
      fc.property(text, fc.nat(30), fc.nat(30), (message, from, to) => {
        const quote = message.slice(Math.min(from, to), Math.max(from, to));
        const found = locateQuote(message, quote);
        return found === null || (message.slice(found.start, found.end) === found.text && fold(found.text) === fold(quote));
      }),
    );
  });

  test("finds any run of whole words", () => {
    const words = fc.array(fc.constantFrom("Alice", "höhe", "loves", "C++", "we’re", "😀", "2", "naïve"), { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(words, fc.nat(7), fc.nat(7), (list, from, to) => {
        const part = list.slice(Math.min(from, to), Math.max(from, to) + 1).join("  ");
        return part === "" || locateQuote(`So: ${list.join(", ")}!`, part.toUpperCase()) !== null;
      }),
    );
  });
});

describe("a fact is grounded", () => {
  test.each([
    ["My name is Alice.", "User's name is Alice"],
    ["I work as a data scientist", "User works as a data scientist"],
    ["I love hiking", "User enjoys hiking"],
    ["I hike a lot", "User enjoys hiking"],
    ["I'm 34", "User is 34 years old"],
    ["I turned thirty-four", "User is 34 years old"],
    ["I have two dogs and a cat", "User has 2 dogs and a cat"],
    ["I hate mushrooms", "User dislikes mushrooms"],
    ["I don't eat meat, but I do eat fish", "User eats fish"],
    ["I don't eat meat, but I do eat fish", "User does not eat meat"],
    ["No, I live in Berlin", "User lives in Berlin"],
    ["I can't wait to visit Rome in May", "User is going to visit Rome in May"],
    ["My sister Emma lives in Paris", "User's sister Emma lives in Paris"],
    ["My dog Rex is 4", "User has a dog named Rex"],
    ["I used to work at Siemens", "User used to work at Siemens"],
    ["I wish I lived in Paris", "User wishes to live in Paris"],
    ["Can you help my daughter Emma?", "User has a daughter named Emma"],
    ["My birthday is March 5", "User's birthday is 5 March"],
    ["Ich wandere gern in den Alpen", "User mag Wandern in den Alpen"],
    ["我喜欢徒步", "用户喜欢徒步"],
    ["私は東京に住んでいます", "User は東京に住んでいます"],
  ])("%j carries %j", (quote, text) => {
    expect(reasonFor(quote, quote, text)).toBeNull();
  });

  test.each([
    ["My exam is tomorrow", "User has an exam on 2026-08-11"],
    ["My exam was yesterday", "User had an exam on 9 August"],
    ["I moved here 3 years ago", "User moved here in 2023"],
    ["I marry in two weeks", "User will marry on 2026-08-24"],
    ["I retire next year", "User retires in 2027"],
    ["I am in Rome until Friday", "User is in Rome until 2026-08-14"],
  ])("with the time it was said: %j carries %j", (quote, text) => {
    expect(reasonFor(quote, quote, text)).toBeNull();
  });
});

describe("a fact is not grounded", () => {
  test.each([
    ["in a quote without a word of its own", "It is what it is", "User likes hiking", "the quote holds no content word"],
    ["with another number", "I'm 34", "User is 35 years old", "a number or date is not in the quote"],
    ["with a date worked out wrongly", "My exam is tomorrow", "User has an exam on 2026-08-12", "a number or date is not in the quote"],
    ["with a name from nowhere", "I love hiking", "User is John Doe", "a name is not in the quote"],
    ["with another place", "Ich wohne in Berlin", "User wohnt in Hamburg", "a name is not in the quote"],
    ["with a hobby added", "I love hiking", "User loves hiking and skydiving", "the quote says something else"],
    ["about something else", "I love hiking", "User works as a nurse", "the quote says something else"],
    ["with a no turned into a yes", "I don't eat meat", "User eats meat", "one of text and quote denies, the other does not"],
    ["with a yes turned into a no", "I eat meat", "User does not eat meat", "one of text and quote denies, the other does not"],
    ["with dislike turned into like", "I hate mushrooms", "User loves mushrooms", "one of text and quote denies, the other does not"],
    [
      "with the name that was denied",
      "My name is Jonathan, not John",
      "User's name is John",
      "one of text and quote denies, the other does not",
    ],
    ["with a no turned into a yes in Chinese", "我不喜欢咖啡", "用户喜欢咖啡", "one of text and quote denies, the other does not"],
    ["with another's life", "My sister lives in Paris", "User lives in Paris", "the user spoke of somebody else"],
    ["with another's life by a pronoun", "She works at Nimbus", "User works at Nimbus", "the user spoke of somebody else"],
    ["with the past", "I used to work at Siemens", "User works at Siemens", "the user spoke of the past"],
    ["with a condition", "I'd live in Paris if I could", "User lives in Paris", "the user only supposed or wished it"],
  ])("%s", (_, quote, text, reason) => {
    expect(reasonFor(quote, quote, text)).toBe(reason);
  });

  test.each([
    ["I don't think I like hiking", "I like hiking", "User likes hiking", "one of text and quote denies, the other does not"],
    ["I like hiking, but not anymore", "I like hiking", "User likes hiking", "one of text and quote denies, the other does not"],
    ["I wish I lived in Paris", "I lived in Paris", "User lives in Paris", "the user only supposed or wished it"],
    ["My sister lives in Paris", "lives in Paris", "User lives in Paris", "the user spoke of somebody else"],
    ["Do I like hiking?", "I like hiking", "User likes hiking", "the user asked this"],
    ["Do you like hiking? I'm off.", "like hiking", "User likes hiking", "the user asked this"],
  ])("when the quote was cut out of its sentence: %j", (message, quote, text, reason) => {
    expect(reasonFor(message, quote, text)).toBe(reason);
  });
});

describe("the fingerprint", () => {
  test.each([
    ["User loves hiking.", "user loves  HIKING"],
    ["The user's name is Zoë", "User’s name is Zoe\u0308!"],
    ["User has a dog", "User has the dog"],
  ])("of %j and %j is the same", (one, other) => {
    expect(fingerprint(one, null)).toBe(fingerprint(other, null));
  });

  test("differs when the fact, the language C or its subject does", () => {
    const all = [
      fingerprint("User loves hiking", null),
      fingerprint("User loves sailing", null),
      fingerprint("User codes in C++", null),
      fingerprint("User codes in C#", null),
      fingerprint("Loves hiking", "Emma"),
      fingerprint("Loves hiking", "Tom"),
    ];
    expect(new Set(all).size).toBe(all.length);
  });

  test("is the same with a subject that the text names anyway", () => {
    expect(fingerprint("User's sister Emma lives in Rome", "Emma")).toBe(fingerprint("User's sister Emma lives in Rome", null));
  });

  test("of a long text is short enough for an index, and still its own", () => {
    const long = "漢".repeat(2_000);
    expect(Buffer.byteLength(fingerprint(long, null))).toBeLessThan(1_000);
    expect(fingerprint(long, null)).not.toBe(fingerprint(`${long}字`, null));
  });
});
