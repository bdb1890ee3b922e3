import { Ctx, FieldResolver, Resolver, Root } from "type-graphql";
import type { Memory, Recall, RecallItem, UserId } from "../agent/types.ts";
import type { RequestContext } from "./acting-user.ts";
import { RecallItemType, RecallType } from "./recall.types.ts";

/** A recall on its way to its user. */
export type UserRecall = Recall & { userId: UserId };

@Resolver(() => RecallType)
export class RecallResolver {
  @FieldResolver(() => [RecallItemType])
  used(@Root() recall: UserRecall, @Ctx() context: RequestContext) {
    return withMemories(recall.used, recall.userId, context);
  }

  @FieldResolver(() => [RecallItemType])
  nearMisses(@Root() recall: UserRecall, @Ctx() context: RequestContext) {
    return withMemories(recall.nearMisses, recall.userId, context);
  }
}

/** Loads the memories of all items at once. */
async function withMemories(
  items: RecallItem[],
  user: UserId,
  { services }: RequestContext,
): Promise<(RecallItem & { memory: Memory | null })[]> {
  const memories = await services.memories.getMany(user, [...new Set(items.map((item) => item.memoryId))]);
  const byId = new Map(memories.map((memory) => [memory.memoryId, memory]));
  return items.map((item) => ({ ...item, memory: byId.get(item.memoryId) ?? null }));
}
