import type { GraphQLResolveInfo } from "graphql";
import { Arg, Ctx, FieldResolver, ID, Info, Int, Mutation, Query, Resolver, Root } from "type-graphql";
import { checkId, parseRunRequest } from "../agent/input.ts";
import type { Message, Run, RunRequest, RunStage } from "../agent/types.ts";
import { actingUser, type RequestContext } from "./acting-user.ts";
import { type ChangeView, changesOfRun } from "./changes.ts";
import { connectionOf } from "./connection.ts";
import { MemoryChangeType } from "./memory.types.ts";
import type { UserRecall } from "./recall.resolver.ts";
import { RecallType } from "./recall.types.ts";
import { CancelRunInput, RetryMemoryUpdateInput, RunAgentInput, RunStageEnum } from "./run.inputs.ts";
import { RunConnectionType, RunMemoryUpdateType, RunPayloadType, RunType } from "./run.types.ts";
import { messagesOf, replyOf } from "./run-messages.ts";
import { MessageType } from "./session.types.ts";

@Resolver(() => RunType)
export class RunResolver {
  @Query(() => RunType, {
    nullable: true,
    description: "One run: a message and the agent's answer to it. Null when it is missing or not yours.",
  })
  run(
    @Arg("userId", () => ID, { nullable: true, description: "Whose run; leave out for your own." }) userId: string | null,
    @Arg("runId", () => ID, { description: "Which run." }) runId: string,
    @Ctx() context: RequestContext,
  ): Promise<Run | null> {
    return context.services.runs.get(actingUser(context, userId), checkId(runId, "runId"));
  }

  @Query(() => RunConnectionType, {
    description:
      "The runs whose memory update failed for good, newest first: what was said in them is not remembered. Why is in `memoryUpdate.error`; `retryMemoryUpdate` tries again.",
  })
  async failedMemoryUpdates(
    @Arg("userId", () => ID, { nullable: true, description: "Whose runs; leave out for your own." }) userId: string | null,
    @Arg("first", () => Int, { nullable: true, description: "Take this many (1 to 100)." }) first: number | null,
    @Arg("after", () => String, { nullable: true, description: "Start after this cursor." }) after: string | null,
    @Ctx() context: RequestContext,
  ): Promise<ReturnType<typeof connectionOf<Run>>> {
    return connectionOf(await context.services.runKeeper.failedMemoryUpdates(actingUser(context, userId), { first, after }));
  }

  @Mutation(() => RunPayloadType, {
    description:
      "Send a message and wait for the reply. To see it being written, use the subscription of the same name. A run that was accepted and then failed is in `run.error`. Leaving does not stop the run, unless `onDisconnect` says so.",
  })
  async runAgent(
    @Arg("input", () => RunAgentInput, { description: "What to answer." }) input: RunAgentInput,
    @Arg("waitFor", () => RunStageEnum, {
      defaultValue: "REPLY",
      description: "When to return. REPLY leaves memory work to go on by itself.",
    })
    waitFor: RunStage,
    @Ctx() context: RequestContext,
    @Info() info: GraphQLResolveInfo,
  ): Promise<{ run: Run }> {
    const { runner, runKeeper } = context.services;
    const { userId, runId } = await runner.submit(runRequest(input, context, info));
    try {
      return { run: await runner.wait(userId, runId, waitFor, context.signal) };
    } finally {
      if (context.signal.aborted) {
        runKeeper.clientLeft(userId, runId, input.onDisconnect, context.closing);
      }
    }
  }

  @Mutation(() => RunPayloadType, {
    description: "Stop a run. What was written is kept. Leaving a subscription does not stop a run. Of a finished run: nothing happens.",
  })
  async cancelRun(
    @Arg("input", () => CancelRunInput, { description: "Which run." }) input: CancelRunInput,
    @Ctx() context: RequestContext,
  ): Promise<{ run: Run }> {
    const { runKeeper } = context.services;
    return { run: await runKeeper.cancel(actingUser(context, input.userId), checkId(input.runId, "runId"), input.idempotencyKey) };
  }

  @Mutation(() => RunPayloadType, {
    description:
      "Try again to learn from a run whose memory update failed for good. It is then PENDING: watch it with `runEvents(until: MEMORY)`. Of any other run: nothing happens.",
  })
  async retryMemoryUpdate(
    @Arg("input", () => RetryMemoryUpdateInput, { description: "Which run." }) input: RetryMemoryUpdateInput,
    @Ctx() context: RequestContext,
  ): Promise<{ run: Run }> {
    const user = actingUser(context, input.userId);
    return { run: await context.services.runKeeper.retryMemoryUpdate(user, checkId(input.runId, "runId"), input.idempotencyKey) };
  }

  @FieldResolver(() => String)
  reply(@Root() run: Run, @Ctx() { services }: RequestContext): Promise<string | null> {
    return replyOf(services, run);
  }

  @FieldResolver(() => [MessageType])
  messages(@Root() run: Run, @Ctx() { services }: RequestContext): Promise<Message[]> {
    return messagesOf(services, run);
  }

  @FieldResolver(() => RecallType)
  recall(@Root() run: Run): UserRecall | null {
    return run.recall && { ...run.recall, userId: run.userId };
  }

  @FieldResolver(() => RunMemoryUpdateType)
  memoryUpdate(@Root() run: Run): RunMemoryUpdateView {
    return { ...run.memoryUpdate, run };
  }
}

type RunMemoryUpdateView = Run["memoryUpdate"] & { run: Run };

@Resolver(() => RunMemoryUpdateType)
export class RunMemoryUpdateResolver {
  @FieldResolver(() => [MemoryChangeType])
  changes(@Root() { run }: RunMemoryUpdateView, @Ctx() { services }: RequestContext): Promise<ChangeView[]> {
    return changesOfRun(services, run.userId, run.runId);
  }
}

/**
 * The checked request. A client that lost its socket sends its operations again under the ids they had: without a key of
 * its own, that id makes the repeat find the run instead of starting, paying for and remembering another one. The field's
 * name in the answer tells apart two runs started by one operation.
 */
export function runRequest(input: RunAgentInput, context: RequestContext, info: GraphQLResolveInfo): RunRequest {
  const repeatKey = context.operationId === null ? null : `ws:${context.operationId}:${info.path.key}`;
  return parseRunRequest({
    ...input,
    userId: actingUser(context, input.userId),
    idempotencyKey: input.idempotencyKey ?? repeatKey,
  });
}
