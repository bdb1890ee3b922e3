import { Field, Float, Int, ObjectType } from "type-graphql";
import type { Memory, Recall, RecallItem, SearchArm } from "../agent/types.ts";
import { defineEnum } from "./enum.ts";
import { MemoryType } from "./memory.types.ts";

export const SearchArmEnum = defineEnum<SearchArm>("SearchArm", "A way of searching.", {
  VECTOR: "By meaning; needs an embedding model.",
  TEXT: "By words.",
  NAME: "By spelling of names.",
  TOPIC: "By topic.",
  DATE: "By date.",
});

export const RecallMissEnum = defineEnum<NonNullable<RecallItem["missedBecause"]>>(
  "RecallMiss",
  "Why something was not given to the agent.",
  {
    TOO_WEAK: "It did not fit the message well enough.",
    NO_ROOM: "There was no room left.",
    DUPLICATE: "Something given already says the same.",
  },
);

@ObjectType("SearchRank", { description: "The place something took in one way of searching." })
export class SearchRankType {
  @Field(() => SearchArmEnum, { description: "The way of searching." })
  arm!: SearchArm;

  @Field(() => Int, { description: "Its place there; 1 is best." })
  rank!: number;
}

@ObjectType("RecallItem", { description: "A memory considered for a reply." })
export class RecallItemType {
  @Field(() => String, { description: "The text as the agent was, or would have been, given it." })
  text!: RecallItem["text"];

  @Field(() => MemoryType, { nullable: true, description: "The memory, as it is now; null when it is gone." })
  memory!: Memory | null;

  @Field(() => Float, { nullable: true, description: "How well it fits; null when everything fitted and nothing was ranked." })
  score!: RecallItem["score"];

  @Field(() => [SearchRankType], { description: "Its place in each way of searching that found it." })
  ranks!: RecallItem["ranks"];

  @Field(() => RecallMissEnum, { nullable: true, description: "Why it was not given; null when it was." })
  missedBecause!: RecallItem["missedBecause"];
}

@ObjectType("Recall", { description: 'What was looked up about the user before answering: the answer to "why did it say that".' })
export class RecallType {
  @Field(() => Boolean, { description: "True when all active memories fitted, so that nothing had to be chosen." })
  complete!: Recall["complete"];

  @Field(() => [RecallItemType], { description: "What the agent was given: best first, or by age when everything fitted." })
  used!: RecallItemType[];

  @Field(() => [RecallItemType], { description: "What was not given, the closest first, with the reason." })
  nearMisses!: RecallItemType[];

  @Field(() => [SearchArmEnum], { description: "The ways of searching that were available." })
  arms!: Recall["arms"];
}
