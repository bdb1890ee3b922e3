import { Field, ID, InputType, Int } from "type-graphql";
import { checkText } from "../agent/input.ts";
import type { MemoryFilter } from "../agent/ports.ts";
import { normalizeTopic } from "../agent/topics.ts";
import type { MemoryKind, MemoryOrigin, MemoryStatus } from "../agent/types.ts";
import { badInput } from "../errors.ts";
import { MemoryKindEnum, MemoryOriginEnum, MemoryStatusEnum, TopicsMatchEnum } from "./memory.enums.ts";
import { DateTime } from "./scalars.ts";

@InputType("MemoryFilter", {
  description:
    "Which memories to list. Every field given must match. One value may stand where a list is asked for; an empty list is as good as none.",
})
export class MemoryFilterInput {
  @Field(() => [String], { nullable: true, description: "With these topics; upper and lower case are the same." })
  topics?: string[] | null;

  @Field(() => TopicsMatchEnum, { defaultValue: "ANY", description: "With any of the topics, or all of them." })
  topicsMatch!: "ANY" | "ALL";

  @Field(() => String, {
    nullable: true,
    description:
      "Containing this text, character by character (% and _ mean themselves); upper and lower case are the same, also ß and SS.",
  })
  text?: string | null;

  @Field(() => ID, { nullable: true, description: "Learned by this agent." })
  agentId?: string | null;

  @Field(() => ID, { nullable: true, description: "With evidence from this conversation." })
  sessionId?: string | null;

  @Field(() => [MemoryKindEnum], { nullable: true, description: "Of these kinds." })
  kind?: MemoryKind[] | null;

  @Field(() => [MemoryStatusEnum], {
    defaultValue: ["ACTIVE"],
    description: "In one of these states. One whose time has run out is RETIRED.",
  })
  status!: MemoryStatus[];

  @Field(() => [MemoryOriginEnum], { nullable: true, description: "From one of these sources." })
  origin?: MemoryOrigin[] | null;

  @Field(() => DateTime, { nullable: true, description: "Stored at this moment or later." })
  createdAfter?: Date | null;

  @Field(() => DateTime, { nullable: true, description: "Stored before this moment." })
  createdBefore?: Date | null;
}

/** The most topics to look for at a time. */
const MAX_FILTER_TOPICS = 100;

/** A checked filter: active memories, unless it names other states. Throws BAD_USER_INPUT for text no memory can have. */
export function memoryFilter(filter: MemoryFilterInput | null | undefined): MemoryFilter {
  if (!filter) {
    return { status: ["ACTIVE"] };
  }
  for (const field of ["text", "agentId", "sessionId"] as const) {
    checkText(filter[field] ?? "", `filter.${field}`);
  }
  if ((filter.topics?.length ?? 0) > MAX_FILTER_TOPICS) {
    throw badInput("filter.topics", `has more than ${MAX_FILTER_TOPICS} topics. Send fewer.`);
  }
  return { ...filter, topics: filter.topics?.map((topic) => normalizeTopic(checkText(topic, "filter.topics"))) };
}

@InputType("AddMemoryInput", { description: "A memory to write down." })
export class AddMemoryInput {
  @Field(() => ID, { nullable: true, description: "Whom it is about; leave out for yourself." })
  userId?: string | null;

  @Field(() => String, { description: "The fact, in a short sentence: User prefers dark mode." })
  memory!: string;

  @Field(() => [String], { defaultValue: [], description: "What it is about: preferences, ui." })
  topics!: string[];

  @Field(() => MemoryKindEnum, { defaultValue: "OTHER", description: "What sort of fact it is." })
  kind!: MemoryKind;

  @Field(() => DateTime, { nullable: true, description: "When to stop using it by itself; leave out for never." })
  expiresAt?: Date | null;

  @Field(() => ID, { nullable: true, description: "Your name for this request: sent again, it is not carried out again." })
  idempotencyKey?: string | null;
}

@InputType("NewMemoryInput", { description: "One memory of several." })
export class NewMemoryInput {
  @Field(() => String, { description: "The fact, in a short sentence." })
  memory!: string;

  @Field(() => [String], { defaultValue: [], description: "What it is about." })
  topics!: string[];

  @Field(() => MemoryKindEnum, { defaultValue: "OTHER", description: "What sort of fact it is." })
  kind!: MemoryKind;

  @Field(() => DateTime, { nullable: true, description: "When to stop using it by itself; leave out for never." })
  expiresAt?: Date | null;
}

@InputType("AddMemoriesInput", { description: "Several memories to write down." })
export class AddMemoriesInput {
  @Field(() => ID, { nullable: true, description: "Whom they are about; leave out for yourself." })
  userId?: string | null;

  @Field(() => [NewMemoryInput], { description: "The memories, 1 to 100." })
  memories!: NewMemoryInput[];

  @Field(() => ID, { nullable: true, description: "Your name for this request: sent again, it is not carried out again." })
  idempotencyKey?: string | null;
}

@InputType("UpdateMemoryInput", { description: "What to change about a memory. Fields left out stay as they are." })
export class UpdateMemoryInput {
  @Field(() => ID, { nullable: true, description: "Whose memory; leave out for your own." })
  userId?: string | null;

  @Field(() => ID, { description: "Which memory." })
  memoryId!: string;

  @Field(() => Int, {
    nullable: true,
    description: "The version you saw; when it has changed since, CONFLICT. Leave out to change it whatever it is now.",
  })
  expectedVersion?: number | null;

  @Field(() => String, { nullable: true, description: "The fact. Null is not allowed." })
  memory?: string | null;

  @Field(() => [String], { nullable: true, description: "All its topics. Null is not allowed." })
  topics?: string[] | null;

  @Field(() => Boolean, { nullable: true, description: "Whether every run is given it. Null is not allowed." })
  pinned?: boolean | null;

  @Field(() => DateTime, { nullable: true, description: "When to stop using it by itself; null for never." })
  expiresAt?: Date | null;

  @Field(() => ID, { nullable: true, description: "Your name for this request: sent again, it is not carried out again." })
  idempotencyKey?: string | null;
}

@InputType("DeleteMemoryInput", { description: "Which memory to delete." })
export class DeleteMemoryInput {
  @Field(() => ID, { nullable: true, description: "Whose memory; leave out for your own." })
  userId?: string | null;

  @Field(() => ID, { description: "Which memory." })
  memoryId!: string;

  @Field(() => Int, { nullable: true, description: "The version you saw; when it has changed since, CONFLICT." })
  expectedVersion?: number | null;

  @Field(() => ID, { nullable: true, description: "Your name for this request: sent again, it is not carried out again." })
  idempotencyKey?: string | null;
}

@InputType("ClearMemoriesInput", { description: "Whose memories to clear." })
export class ClearMemoriesInput {
  @Field(() => ID, { nullable: true, description: "Whose memories; leave out for your own." })
  userId?: string | null;

  @Field(() => ID, { nullable: true, description: "Your name for this request: sent again, it is not carried out again." })
  idempotencyKey?: string | null;
}
