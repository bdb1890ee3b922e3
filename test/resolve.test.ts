import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { fingerprint } from "../src/agent/ground.ts";
import { userId } from "../src/agent/input.ts";
import { resolve } from "../src/agent/resolve.ts";
import type { Fact, Memory } from "../src/agent/types.ts";

const NOW = new Date("2026-08-10T09:30:00Z");

function fact(memory: string, rest: Partial<Fact> = {}): Fact {
  const subject = rest.subject ?? null;
  return {
    memory,
    topics: [],
    kind: "OTHER",
    subject,
    slot: null,
    quote: { text: memory, start: 0, end: memory.length },
    fingerprint: fingerprint(memory, subject),
    quarantined: false,
    expiresAt: null,
    ...rest,
  };
}

function stored(memoryId: string, memory: string, rest: Partial<Memory> = {}): Memory {
  return {
    userId: userId("alice"),
    memoryId,
    memory,
    topics: [],
    kind: "OTHER",
    subject: null,
    slot: null,
    status: "ACTIVE",
    origin: "EXTRACTED",
    agentId: null,
    createdAt: NOW,
    updatedAt: NOW,
    validFrom: NOW,
    validTo: null,
    expiresAt: null,
    supersededBy: null,
    evidenceCount: 1,
    lastConfirmedAt: NOW,
    pinned: false,
    feedback: null,
    version: 1,
    ...rest,
  };
}

const inParis = stored("m1", "User lives in Paris", { slot: "home_city" });

describe("a fact", () => {
  test("that is new is added", () => {
    const hiking = fact("User loves hiking");
    expect(resolve([hiking], [])).toEqual([{ action: "add", fact: hiking }]);
  });

  test("said again in the same words confirms the memory", () => {
    const again = fact("user  loves HIKING.");
    expect(resolve([again], [stored("m1", "User loves hiking")])).toEqual([{ action: "reinforce", fact: again, memoryId: "m1" }]);
  });

  test("with a new value for a slot takes the old one's place", () => {
    const berlin = fact("User lives in Berlin", { slot: "home_city" });
    expect(resolve([berlin], [inParis])).toEqual([{ action: "supersede", fact: berlin, memoryId: "m1" }]);
  });

  test("with the same value for a slot in other words confirms it", () => {
    const nurse = fact("User is a nurse", { slot: "job" });
    expect(resolve([nurse], [stored("m1", "User works as a nurse", { slot: "job" })])).toMatchObject([
      { action: "reinforce", memoryId: "m1" },
    ]);
  });

  test("without a slot replaces nothing, however close", () => {
    const sailing = fact("User loves sailing");
    expect(resolve([sailing], [stored("m1", "User loves hiking")])).toMatchObject([{ action: "add" }]);
  });

  test("about somebody else leaves the user's own slot alone", () => {
    const emma = fact("Emma lives in Rome", { subject: "Emma", slot: "home_city" });
    expect(resolve([emma], [inParis])).toMatchObject([{ action: "add" }]);
  });

  test("that was extracted never takes the place of a memory written by hand: both are kept, one has the slot", () => {
    const byHand = stored("m1", "User lives in Paris", { slot: "home_city", origin: "MANUAL" });
    const berlin = fact("User lives in Berlin", { slot: "home_city" });
    expect(resolve([berlin], [byHand])).toEqual([{ action: "add", fact: { ...berlin, slot: null } }]);
  });

  test("that was extracted may confirm a memory written by hand", () => {
    const byHand = stored("m1", "User lives in Paris", { slot: "home_city", origin: "MANUAL" });
    expect(resolve([fact("User lives in Paris", { slot: "home_city" })], [byHand])).toMatchObject([
      { action: "reinforce", memoryId: "m1" },
    ]);
  });

  test.each(["EXTRACTED", "MANUAL", "IMPORTED"] as const)("written by hand takes the place of one that is %s", (origin) => {
    const berlin = fact("User lives in Berlin", { slot: "home_city", quote: null });
    expect(resolve([berlin], [{ ...inParis, origin }])).toMatchObject([{ action: "supersede", memoryId: "m1" }]);
  });

  test("set aside for review neither confirms nor replaces, and fills no slot", () => {
    const same = fact("User lives in Paris", { slot: "home_city", quarantined: true });
    const other = fact("User lives in Berlin", { slot: "home_city", quarantined: true });
    expect(resolve([same, other], [inParis])).toEqual([
      { action: "add", fact: { ...same, slot: null } },
      { action: "add", fact: { ...other, slot: null } },
    ]);
  });

  test("that denies takes the place only of what it denies", () => {
    const notParis = fact("User no longer lives in Paris", { slot: "home_city" });
    expect(resolve([notParis], [inParis])).toMatchObject([{ action: "supersede", memoryId: "m1" }]);
    const inBerlin = stored("m2", "User lives in Berlin", { slot: "home_city" });
    expect(resolve([notParis], [inBerlin])).toEqual([{ action: "add", fact: { ...notParis, slot: null } }]);
  });
});

describe("several facts at once", () => {
  test("for one slot: the one said last fills it", () => {
    const berlin = fact("User lives in Berlin", { slot: "home_city", quote: { text: "Berlin", start: 40, end: 46 } });
    const rome = fact("User lives in Rome", { slot: "home_city", quote: { text: "Rome", start: 10, end: 14 } });
    expect(resolve([berlin, rome], [inParis])).toEqual([
      { action: "supersede", fact: berlin, memoryId: "m1" },
      { action: "add", fact: { ...rome, slot: null } },
    ]);
  });

  test("the same one twice counts once", () => {
    expect(resolve([fact("User loves hiking"), fact("user loves hiking!")], [])).toHaveLength(1);
    expect(resolve([fact("User loves hiking"), fact("user loves hiking!")], [stored("m1", "User loves hiking")])).toHaveLength(1);
  });

  test("a memory that is replaced is not confirmed as well", () => {
    const paris = fact("User lives in Paris");
    const berlin = fact("User lives in Berlin", { slot: "home_city" });
    expect(resolve([paris, berlin], [inParis])).toEqual([{ action: "supersede", fact: berlin, memoryId: "m1" }]);
  });

  test("touch each memory once and never add what is there, whatever they are", () => {
    const sentence = fc.constantFrom(
      "User lives in Paris",
      "User lives in Berlin",
      "User is a nurse",
      "User works as a nurse",
      "User no longer lives in Paris",
      "Emma lives in Rome",
    );
    const slot = fc.constantFrom(null, "home_city", "job");
    const subject = fc.constantFrom(null, "Emma");
    const facts = fc.array(
      fc
        .record({ sentence, slot, subject, quarantined: fc.boolean(), byHand: fc.boolean(), start: fc.nat(9) })
        .map(({ sentence, byHand, start, ...rest }) =>
          fact(sentence, { ...rest, quote: byHand ? null : { text: sentence, start, end: start + 1 } }),
        ),
      { maxLength: 6 },
    );
    const memories = fc.uniqueArray(
      fc
        .record({ sentence, slot, subject, origin: fc.constantFrom("EXTRACTED" as const, "MANUAL" as const) })
        .map(({ sentence, ...rest }) => stored(sentence, sentence, rest)),
      { maxLength: 4, selector: (memory) => memory.memoryId },
    );
    fc.assert(
      fc.property(facts, memories, (facts, memories) => {
        const resolutions = resolve(facts, memories);
        const targets = resolutions.flatMap((resolution) => (resolution.action === "add" ? [] : [resolution.memoryId]));
        const superseded = resolutions.flatMap((resolution) => (resolution.action === "supersede" ? [resolution] : []));
        const active = new Set(memories.map((memory) => fingerprint(memory.memory, memory.subject)));
        expect(new Set(targets).size).toBe(targets.length);
        for (const { action, fact } of resolutions) {
          expect(fact.quarantined && (action !== "add" || fact.slot !== null)).toBe(false);
          expect(action === "add" && !fact.quarantined && active.has(fact.fingerprint)).toBe(false);
        }
        for (const { fact, memoryId } of superseded) {
          const old = memories.find((memory) => memory.memoryId === memoryId);
          expect(old).toMatchObject({ slot: fact.slot, subject: fact.subject });
          expect(fact.quote !== null && old?.origin === "MANUAL").toBe(false);
        }
        const prints = resolutions.filter(({ fact }) => !fact.quarantined).map(({ fact }) => fact.fingerprint);
        expect(new Set(prints).size).toBe(prints.length);
      }),
    );
  });
});
