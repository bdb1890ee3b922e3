import type { MemoryOrder } from "../agent/ports.ts";
import type { ChangeKind, Memory, MemoryKind, MemoryOrigin, MemoryStatus } from "../agent/types.ts";
import { defineEnum } from "./enum.ts";

export const MemoryKindEnum = defineEnum<MemoryKind>("MemoryKind", "Sorts of fact. New ones may be added.", {
  IDENTITY: "Who the user is: User's name is Alice.",
  PREFERENCE: "Something liked, disliked or wanted: User prefers dark mode.",
  PLAN: "Something planned or striven for.",
  EVENT: "Something that happened or will happen at a time.",
  RELATION: "Someone or something in the user's world: User's sister Emma lives in Oslo.",
  SKILL: "What the user can do or does: User works as a data scientist.",
  CONSTRAINT: "A limit to respect: User is allergic to peanuts.",
  OTHER: "Anything else that is so.",
});

export const MemoryStatusEnum = defineEnum<MemoryStatus>("MemoryStatus", "Whether a memory is in use.", {
  ACTIVE: "In use: runs may recall it.",
  SUPERSEDED: "Replaced by a newer memory; kept for the record.",
  QUARANTINED: "Set aside because it reads like an order to the agent; not used.",
  RETIRED: "Deleted, forgotten or expired; not used.",
});

export const MemoryOriginEnum = defineEnum<MemoryOrigin>("MemoryOrigin", "Where a memory came from.", {
  EXTRACTED: "The memory model found it in a message.",
  MANUAL: "A person or program wrote it with `addMemory`.",
  IMPORTED: "It was brought over from another server.",
  RULE: "A rule in code found it, without a model.",
});

export const MemoryFeedbackEnum = defineEnum<NonNullable<Memory["feedback"]>>("MemoryFeedback", "What a user thinks of a memory.", {
  GOOD: "It is right or useful.",
  BAD: "It is wrong or unwanted; it is recalled less.",
});

export const ChangeKindEnum = defineEnum<ChangeKind>("MemoryChangeKind", "What was done to a memory. New ones may be added.", {
  ADDED: "It is new.",
  REINFORCED: "It was said, or written by hand, again.",
  SUPERSEDED: "A newer memory took its place. The newer one has a change of its own.",
  UPDATED: "It was edited, rated, pinned or approved.",
  QUARANTINED: "It was set aside for review.",
  DELETED: "It was deleted, cleared or rejected. It may be learned again when said again.",
  FORGOTTEN: "It was forgotten with all its older versions. It is not learned again from old messages.",
  EXPIRED: "Its time ran out.",
  RESTORED: "A change was undone.",
});

export const MemoryOrderEnum = defineEnum<MemoryOrder>("MemoryOrder", "The order of a list of memories.", {
  NEWEST: "Stored last comes first.",
  OLDEST: "Stored first comes first.",
  RECENTLY_CONFIRMED: "Confirmed last comes first.",
});

export const TopicsMatchEnum = defineEnum<"ANY" | "ALL">("TopicsMatch", "How topics are matched.", {
  ANY: "At least one of them.",
  ALL: "Every one of them.",
});
