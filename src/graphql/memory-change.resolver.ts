import { Arg, Ctx, ID, Int, Mutation, Resolver, Root, Subscription } from "type-graphql";
import { addMemories, addMemory } from "../agent/add-memories.ts";
import { clearMemories, deleteMemory, type EditedMemory, updateMemory } from "../agent/edit-memories.ts";
import { checkId } from "../agent/input.ts";
import type { ChangedMemory } from "../agent/ports.ts";
import type { Memory } from "../agent/types.ts";
import { badInput } from "../errors.ts";
import { actingUser, type RequestContext } from "./acting-user.ts";
import { untilReturned } from "./follow.ts";
import { AddMemoriesInput, AddMemoryInput, ClearMemoriesInput, DeleteMemoryInput, UpdateMemoryInput } from "./memory.inputs.ts";
import { ClearMemoriesPayloadType, MemoriesPayloadType, MemoryChangeType, MemoryPayloadType } from "./memory.types.ts";

interface MemoryPayload {
  memory: Memory;
  change: ChangedMemory | null;
}

interface MemoryEventsArgs {
  userId?: string | null;
  after?: number | null;
}

@Resolver(() => MemoryChangeType)
export class MemoryChangeResolver {
  @Mutation(() => MemoryPayloadType, {
    description: "Write down a memory yourself. No model is asked. One that is already there is confirmed instead.",
  })
  async addMemory(
    @Arg("input", () => AddMemoryInput, { description: "What to remember." }) input: AddMemoryInput,
    @Ctx() context: RequestContext,
  ): Promise<MemoryPayload> {
    const change = await addMemory(actingUser(context, input.userId), input, context.services.memories);
    return { memory: change.memory, change };
  }

  @Mutation(() => MemoriesPayloadType, { description: "Write down several memories: all of them, or none when one is wrong." })
  async addMemories(
    @Arg("input", () => AddMemoriesInput, { description: "What to remember." }) input: AddMemoriesInput,
    @Ctx() context: RequestContext,
  ): Promise<{ changes: ChangedMemory[] }> {
    return { changes: await addMemories(actingUser(context, input.userId), input, context.services.memories) };
  }

  @Mutation(() => MemoryPayloadType, {
    description: "Change an active memory. Fields left out stay as they are. CONFLICT when another memory says the same already.",
  })
  async updateMemory(
    @Arg("input", () => UpdateMemoryInput, { description: "What to change." }) input: UpdateMemoryInput,
    @Ctx() context: RequestContext,
  ): Promise<MemoryPayload> {
    const user = actingUser(context, input.userId);
    checkId(input.memoryId, "memoryId");
    return payloadOf(await updateMemory(user, input, context.services.memories));
  }

  @Mutation(() => MemoryPayloadType, { description: "Delete a memory. It may be learned again when it is said again." })
  async deleteMemory(
    @Arg("input", () => DeleteMemoryInput, { description: "Which memory." }) input: DeleteMemoryInput,
    @Ctx() context: RequestContext,
  ): Promise<MemoryPayload> {
    const user = actingUser(context, input.userId);
    checkId(input.memoryId, "memoryId");
    return payloadOf(await deleteMemory(user, input, context.services.memories));
  }

  @Mutation(() => ClearMemoriesPayloadType, { description: "Delete all of a user's active memories." })
  async clearMemories(
    @Arg("input", () => ClearMemoriesInput, { description: "Whose memories." }) input: ClearMemoriesInput,
    @Ctx() context: RequestContext,
  ): Promise<ClearMemoriesPayloadType> {
    return { clearedCount: await clearMemories(actingUser(context, input.userId), input, context.services.memories) };
  }

  @Subscription(() => MemoryChangeType, {
    subscribe: ({ args, context }: { args: MemoryEventsArgs; context: RequestContext }) => followMemories(args, context),
    description: "Watch what is learned, changed and deleted about a user, from any run or client. Does not end by itself.",
  })
  memoryEvents(
    @Root() change: ChangedMemory,
    @Arg("userId", () => ID, { nullable: true, description: "Whose memories; leave out for your own." }) _userId: string | null,
    @Arg("after", () => Int, {
      nullable: true,
      description: "Only changes after this sequence, taken from `memories { sequence }`; leave out to begin now, 0 for all.",
    })
    _after: number | null,
  ): ChangedMemory {
    return change;
  }
}

function payloadOf({ memory, change }: EditedMemory): MemoryPayload {
  return { memory, change: change && { ...change, memory } };
}

async function followMemories(args: MemoryEventsArgs, context: RequestContext): Promise<AsyncIterableIterator<ChangedMemory>> {
  const { memories, memoryFeed } = context.services;
  const user = actingUser(context, args.userId);
  if (args.after != null && args.after < 0) {
    throw badInput("after", "is below 0. Send the sequence of the last change you have seen, or 0 for all.");
  }
  const after = args.after ?? (await memories.sequence(user));
  return untilReturned((signal) => memoryFeed.follow(user, after, signal));
}
