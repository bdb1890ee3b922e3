import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ThinkFilter } from "../src/models/think-filter.ts";

function filter(chunks: string[], expected: boolean | null = null, complete = true) {
  const thinking = new ThinkFilter(expected);
  const pieces = [...chunks.flatMap((chunk) => thinking.push(chunk)), ...thinking.end(complete)];
  const join = (type: string) => pieces.map((piece) => (piece.type === type ? piece.text : "")).join("");
  return { text: join("text"), reasoning: join("reasoning"), opened: thinking.opened };
}

describe("the think filter", () => {
  it.each<[string, string, string, string]>([
    ["leaves plain text alone", "1 < 2 and <b>bold</b>", "1 < 2 and <b>bold</b>", ""],
    ["takes a block from the start", "\n<think>\nhm\n</think>\n\nHi", "Hi", "\nhm\n"],
    ["takes a block from the middle", "Hi <think>hm</think>there", "Hi there", "hm"],
    ["takes several blocks", "<think>a</think>x<think>b</think>y", "xy", "ab"],
    ["counts an open block as thinking to the end", "Hi<think>hm", "Hi", "hm"],
    ["lets a tag that is not finished be text", "Hi </thin", "Hi </thin", ""],
    ["takes what begins like thinking and ends like it", "Okay, the user greets.</think>Hi", "Hi", "Okay, the user greets."],
    ["gives back what only begins like thinking", "Okay, here you are.", "Okay, here you are.", ""],
    ["leaves out an end that comes too late", "Hello</think> there", "Hello there", ""],
  ])("%s", (_name, said, text, reasoning) => {
    expect(filter([said])).toMatchObject({ text, reasoning });
  });

  it("holds the replies of a model that is known to begin inside a block, and tells when one did", () => {
    expect(filter(["She greets", " me.</think>", "Hi"], true)).toEqual({ text: "Hi", reasoning: "She greets me.", opened: true });
    expect(filter(["Hi, ", "Alice"], true)).toEqual({ text: "Hi, Alice", reasoning: "", opened: false });
    expect(filter(["She greets"], true, false)).toMatchObject({ text: "", reasoning: "She greets" });
    expect(filter(["Hello</think>Hi"], false)).toEqual({ text: "HelloHi", reasoning: "", opened: true });
  });

  it("does not hold back for ever", () => {
    const thinking = new ThinkFilter(null);
    expect(thinking.push(`Okay ${"so ".repeat(1_000)}`)).toEqual([]);
    expect(thinking.push("so ".repeat(400)).map((piece) => piece.type)).toEqual(["text"]);
    expect(thinking.push("so")).toEqual([{ type: "text", text: "so" }]);
  });

  it("streams at once whatever does not begin like thinking", () => {
    const thinking = new ThinkFilter(null);
    expect([thinking.push("I"), thinking.push(" know")]).toEqual([[{ type: "text", text: "I" }], [{ type: "text", text: " know" }]]);
  });

  it("gives the same whichever way the text is cut", () => {
    const part = fc.constantFrom("<think>", "</think>", "Okay, ", "hm", "<thi", "</", "\n", " ", "Hi there", "🙂");
    const cuts = fc.array(fc.nat(80), { maxLength: 8 });
    fc.assert(
      fc.property(fc.array(part, { maxLength: 12 }), cuts, fc.constantFrom(true, false, null), (parts, places, expected) => {
        const said = parts.join("");
        const edges = [0, ...places.filter((place) => place < said.length).toSorted((a, b) => a - b), said.length];
        const chunks = edges.slice(1).map((edge, index) => said.slice(edges[index], edge));
        expect(filter(chunks, expected)).toEqual(filter([said], expected));
        expect(filter([said], expected).text).not.toMatch(/<\/?think>/);
      }),
      { numRuns: 300 },
    );
  });
});
