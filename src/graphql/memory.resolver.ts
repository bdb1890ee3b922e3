import { Arg, Args, Ctx, FieldResolver, ID, Int, Query, Resolver, Root } from "type-graphql";
import { checkId } from "../agent/input.ts";
import type { MemoryFilter, MemoryOrder } from "../agent/ports.ts";
import { type MemoryMatch, searchMemories } from "../agent/search-memories.ts";
import type { Memory, MemoryEvidence, Message, UserId } from "../agent/types.ts";
import { actingUser, type RequestContext } from "./acting-user.ts";
import type { ChangeView } from "./changes.ts";
import { checkLimit, connectionOf, PageArgs } from "./connection.ts";
import { MemoryOrderEnum } from "./memory.enums.ts";
import { MemoryFilterInput, memoryFilter } from "./memory.inputs.ts";
import { MemoryChangeType, MemoryConnectionType, MemoryEvidenceType, MemoryType, TopicCountType } from "./memory.types.ts";
import { MemoryMatchType } from "./memory-search.types.ts";

/** More topics than anybody reads. */
const MAX_TOPIC_COUNTS = 1_000;

type MemoryConnectionView = ReturnType<typeof connectionOf<Memory>> & { sequence: number; userId: UserId; filter: MemoryFilter };

@Resolver(() => MemoryType)
export class MemoryResolver {
  @Query(() => MemoryConnectionType, {
    description: "What is remembered about a user, one page at a time. Active memories only, unless the filter names a status.",
  })
  async memories(
    @Arg("userId", () => ID, { nullable: true, description: "Whose memories; leave out for your own." }) userId: string | null,
    @Arg("filter", () => MemoryFilterInput, { nullable: true, description: "Which memories to list." })
    filterInput: MemoryFilterInput | null,
    @Arg("orderBy", () => MemoryOrderEnum, { defaultValue: "NEWEST", description: "In which order." }) orderBy: MemoryOrder,
    @Args(() => PageArgs) page: PageArgs,
    @Ctx() context: RequestContext,
  ): Promise<MemoryConnectionView> {
    const { memories } = context.services;
    const user = actingUser(context, userId);
    const filter = memoryFilter(filterInput);
    // Before the list: a change between the two is then reported again rather than never.
    const sequence = await memories.sequence(user);
    return { ...connectionOf(await memories.list(user, filter, orderBy, page)), sequence, userId: user, filter };
  }

  @Query(() => MemoryType, {
    nullable: true,
    description: "One memory with its evidence and history. Null when it is missing or not yours.",
  })
  memory(
    @Arg("userId", () => ID, { nullable: true, description: "Whose memory; leave out for your own." }) userId: string | null,
    @Arg("memoryId", () => ID, { description: "Which memory." }) memoryId: string,
    @Ctx() context: RequestContext,
  ): Promise<Memory | null> {
    return context.services.memories.get(actingUser(context, userId), checkId(memoryId, "memoryId"));
  }

  @Query(() => [TopicCountType], {
    description: "The topics of a user's active memories, most used first, then by name; at most 1,000.",
  })
  memoryTopics(
    @Arg("userId", () => ID, { nullable: true, description: "Whose topics; leave out for your own." }) userId: string | null,
    @Ctx() context: RequestContext,
  ): Promise<TopicCountType[]> {
    return context.services.memories.topics(actingUser(context, userId), MAX_TOPIC_COUNTS);
  }

  @Query(() => [MemoryMatchType], {
    description: "Find memories by words and by topics, best first, the way a run recalls them. Empty when nothing fits.",
  })
  searchMemories(
    @Arg("userId", () => ID, { nullable: true, description: "Whose memories; leave out for your own." }) userId: string | null,
    @Arg("query", () => String, { description: "What to look for, in plain words; of a long text, its start." }) query: string,
    @Arg("filter", () => MemoryFilterInput, { nullable: true, description: "Search only among these." })
    filter: MemoryFilterInput | null,
    @Arg("limit", () => Int, { defaultValue: 10, description: "At most this many (1 to 100)." }) limit: number,
    @Ctx() context: RequestContext,
  ): Promise<MemoryMatch[]> {
    const search = { query, filter: memoryFilter(filter), limit: checkLimit(limit, "limit") };
    return searchMemories(actingUser(context, userId), search, context.services.memories);
  }

  @FieldResolver(() => MemoryType)
  supersededBy(@Root() { userId, supersededBy }: Memory, @Ctx() { services }: RequestContext): Promise<Memory | null> | null {
    return supersededBy === null ? null : services.memories.get(userId, supersededBy);
  }

  @FieldResolver(() => [MemoryEvidenceType], {
    description: "The user's own words it rests on, latest first. Empty for memories written by hand.",
  })
  evidence(
    @Root() { userId, memoryId }: Memory,
    @Arg("limit", () => Int, { defaultValue: 10, description: "At most this many (1 to 100)." }) limit: number,
    @Ctx() { services }: RequestContext,
  ): Promise<(MemoryEvidence & { message: Message | null })[]> {
    return services.memories.evidence(userId, memoryId, checkLimit(limit, "limit"));
  }

  @FieldResolver(() => [MemoryChangeType], { description: "What happened to it, latest first." })
  async history(
    @Root() memory: Memory,
    @Arg("limit", () => Int, { defaultValue: 10, description: "At most this many (1 to 100)." }) limit: number,
    @Ctx() { services }: RequestContext,
  ): Promise<ChangeView[]> {
    const changes = await services.memories.history(memory.userId, memory.memoryId, checkLimit(limit, "limit"));
    return changes.map((change) => ({ ...change, memory }));
  }
}

@Resolver(() => MemoryConnectionType)
export class MemoryConnectionResolver {
  @FieldResolver(() => Int, { description: "How many there are on all pages." })
  totalCount(@Root() { userId, filter }: MemoryConnectionView, @Ctx() { services }: RequestContext): Promise<number> {
    return services.memories.count(userId, filter);
  }
}
