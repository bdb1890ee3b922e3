import { Field, ID, InputType } from "type-graphql";
import { checkText } from "../agent/input.ts";
import type { MemoryFilter } from "../agent/ports.ts";
import { normalizeTopic } from "../agent/topics.ts";
import type { MemoryKind, MemoryOrigin, MemoryStatus } from "../agent/types.ts";
import { MemoryKindEnum, MemoryOriginEnum, MemoryStatusEnum, TopicsMatchEnum } from "./memory.enums.ts";
import { DateTime } from "./scalars.ts";

@InputType("MemoryFilter", {
  description: "Which memories to list. Every field given must match. One value may stand where a list is asked for.",
})
export class MemoryFilterInput {
  @Field(() => [String], { nullable: true, description: "With these topics; upper and lower case are the same." })
  topics?: string[] | null;

  @Field(() => TopicsMatchEnum, { defaultValue: "ANY", description: "With any of the topics, or all of them." })
  topicsMatch!: "ANY" | "ALL";

  @Field(() => String, { nullable: true, description: "Containing this text; upper and lower case are the same." })
  text?: string | null;

  @Field(() => ID, { nullable: true, description: "Learned by this agent." })
  agentId?: string | null;

  @Field(() => ID, { nullable: true, description: "With evidence from this conversation." })
  sessionId?: string | null;

  @Field(() => [MemoryKindEnum], { nullable: true, description: "Of these kinds." })
  kind?: MemoryKind[] | null;

  @Field(() => [MemoryStatusEnum], { defaultValue: ["ACTIVE"], description: "In one of these states." })
  status!: MemoryStatus[];

  @Field(() => [MemoryOriginEnum], { nullable: true, description: "From one of these sources." })
  origin?: MemoryOrigin[] | null;

  @Field(() => DateTime, { nullable: true, description: "Stored at this moment or later." })
  createdAfter?: Date | null;

  @Field(() => DateTime, { nullable: true, description: "Stored before this moment." })
  createdBefore?: Date | null;
}

/** A checked filter: active memories, unless it names other states. Throws BAD_USER_INPUT for text no memory can have. */
export function memoryFilter(filter: MemoryFilterInput | null | undefined): MemoryFilter {
  if (!filter) {
    return { status: ["ACTIVE"] };
  }
  for (const field of ["text", "agentId", "sessionId"] as const) {
    checkText(filter[field] ?? "", `filter.${field}`);
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
}
