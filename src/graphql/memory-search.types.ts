import { Field, Float, ObjectType } from "type-graphql";
import type { MemoryMatch } from "../agent/search-memories.ts";
import type { Memory } from "../agent/types.ts";
import { MemoryType } from "./memory.types.ts";
import { SearchRankType } from "./recall.types.ts";

@ObjectType("MemoryMatch", { description: "A memory found by `searchMemories`." })
export class MemoryMatchType {
  @Field(() => MemoryType, { description: "The memory." })
  memory!: Memory;

  @Field(() => Float, { description: "How well it fits; only the order within one answer means something." })
  score!: MemoryMatch["score"];

  @Field(() => [SearchRankType], { description: "Its place in each way of searching that found it." })
  ranks!: MemoryMatch["ranks"];

  @Field(() => String, { description: "Why it was found, in a sentence." })
  why!: MemoryMatch["why"];
}
