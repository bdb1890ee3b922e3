import type { GraphQLResolveInfo } from "graphql";
import { Arg, type ClassType, Ctx, FieldResolver, ID, Int, Resolver, Root, Subscription } from "type-graphql";
import { checkId } from "../agent/input.ts";
import type { Services } from "../agent/ports.ts";
import type { Message, Recall, Run, UserId } from "../agent/types.ts";
import { AppError, badInput } from "../errors.ts";
import { actingUser, type RequestContext } from "./acting-user.ts";
import { type ChangeView, changesOfRun } from "./changes.ts";
import {
  MemoriesRecalledType,
  MemoryUpdateType,
  RunCancelledType,
  RunErrorType,
  RunEventType,
  RunFinishedType,
  RunSnapshotType,
  RunStartedType,
  TextMessageStartType,
  type UserRunEvent,
} from "./event.types.ts";
import { untilReturned, whenReturned } from "./follow.ts";
import { MemoryChangeType } from "./memory.types.ts";
import type { UserRecall } from "./recall.resolver.ts";
import { RecallType } from "./recall.types.ts";
import { type FollowUntil, FollowUntilEnum, RunAgentInput } from "./run.inputs.ts";
import { runRequest } from "./run.resolver.ts";
import { RunType } from "./run.types.ts";
import { replyOf } from "./run-messages.ts";
import { MessageRoleEnum } from "./session.types.ts";

interface SubscribeData<Args> {
  args: Args;
  context: RequestContext;
  info: GraphQLResolveInfo;
}

interface RunEventsArgs {
  userId?: string | null;
  runId: string;
  after: number;
  until: FollowUntil;
}

@Resolver(() => RunEventType)
export class EventResolver {
  @Subscription(() => RunEventType, {
    subscribe: ({ args, context, info }: SubscribeData<{ input: RunAgentInput; until: FollowUntil }>) => followNewRun(args, context, info),
    description:
      "Send a message and watch the reply being written. Ends by itself. A reconnect shows the same run from its first event: drop those whose `sequence` you have seen. Leaving does not stop the run, unless `onDisconnect` says so.",
  })
  runAgent(
    @Root() event: UserRunEvent,
    @Arg("input", () => RunAgentInput, { description: "What to answer." }) _input: RunAgentInput,
    @Arg("until", () => FollowUntilEnum, { defaultValue: "REPLY", description: "When to end." }) _until: FollowUntil,
  ): UserRunEvent {
    return event;
  }

  @Subscription(() => RunEventType, {
    subscribe: ({ args, context }: SubscribeData<RunEventsArgs>) => followStoredRun(args, context),
    description: "Watch a run, or go on watching it after a lost connection, a reload or a restart of the server. Ends by itself.",
  })
  runEvents(
    @Root() event: UserRunEvent,
    @Arg("userId", () => ID, { nullable: true, description: "Whose run; leave out for your own." }) _userId: string | null,
    @Arg("runId", () => ID, { description: "Which run." }) _runId: string,
    @Arg("after", () => Int, { defaultValue: 0, description: "Only events after this sequence; 0 for all." }) _after: number,
    @Arg("until", () => FollowUntilEnum, { defaultValue: "REPLY", description: "When to end." }) _until: FollowUntil,
  ): UserRunEvent {
    return event;
  }
}

async function followNewRun(
  { input, until }: { input: RunAgentInput; until: FollowUntil },
  context: RequestContext,
  info: GraphQLResolveInfo,
): Promise<AsyncIterableIterator<UserRunEvent>> {
  const { runner, runKeeper } = context.services;
  const { userId, runId } = await runner.submit(runRequest(input, context, info));
  const events = follow(context.services, userId, runId, 0, until);
  // Heard also from a client that has gone before the first event. Of a run that has ended there is nothing to stop.
  return whenReturned(events, () => runKeeper.clientLeft(userId, runId, input.onDisconnect, context.closing));
}

async function followStoredRun(args: RunEventsArgs, context: RequestContext): Promise<AsyncIterableIterator<UserRunEvent>> {
  const user = actingUser(context, args.userId);
  const runId = checkId(args.runId, "runId");
  if (args.after < 0) {
    throw badInput("after", "is below 0. Send the sequence of the last event you have seen, or 0 for all.");
  }
  if (!(await context.services.runs.get(user, runId))) {
    throw missingRun();
  }
  return follow(context.services, user, runId, args.after, args.until);
}

function follow(services: Services, user: UserId, runId: string, after: number, until: FollowUntil): AsyncIterableIterator<UserRunEvent> {
  return untilReturned(async function* (signal) {
    for await (const event of services.events.follow(user, runId, after, until, signal)) {
      yield { ...event, userId: user };
    }
  });
}

function missingRun(): AppError {
  return new AppError("NOT_FOUND", "There is no such run of this user. Check runId and userId.");
}

/** Runs of events being answered: fields of one event share one reading. */
const runsOfEvents = new WeakMap<UserRunEvent, Promise<Run>>();

function runOf(event: UserRunEvent, services: Services): Promise<Run> {
  const run = runsOfEvents.get(event) ?? loadRun(services, event.userId, event.runId);
  runsOfEvents.set(event, run);
  return run;
}

async function loadRun(services: Services, user: UserId, runId: string): Promise<Run> {
  const run = await services.runs.get(user, runId);
  if (!run) {
    throw missingRun();
  }
  return run;
}

/** The `run` field of a type of event. */
function runFieldOf(event: ClassType) {
  @Resolver(() => event)
  class EventRunResolver {
    @FieldResolver(() => RunType)
    run(@Root() event: UserRunEvent, @Ctx() { services }: RequestContext): Promise<Run> {
      return runOf(event, services);
    }
  }
  return EventRunResolver;
}

export const eventRunResolvers = [RunStartedType, RunSnapshotType, RunFinishedType, RunErrorType, RunCancelledType].map(runFieldOf);

@Resolver(() => MemoriesRecalledType)
export class MemoriesRecalledResolver {
  @FieldResolver(() => RecallType)
  recall(@Root() { recall, userId }: { recall: Recall; userId: UserId }): UserRecall {
    return { ...recall, userId };
  }
}

@Resolver(() => TextMessageStartType)
export class TextMessageStartResolver {
  @FieldResolver(() => MessageRoleEnum)
  role(): Message["role"] {
    return "ASSISTANT";
  }
}

@Resolver(() => RunFinishedType)
export class RunFinishedResolver {
  @FieldResolver(() => String)
  async reply(@Root() event: UserRunEvent, @Ctx() { services }: RequestContext): Promise<string> {
    return (await replyOf(services, await runOf(event, services))) ?? "";
  }
}

@Resolver(() => MemoryUpdateType)
export class MemoryUpdateResolver {
  @FieldResolver(() => [MemoryChangeType])
  async changes(
    @Root() { userId, runId, changeIds }: UserRunEvent & { changeIds: string[] },
    @Ctx() { services }: RequestContext,
  ): Promise<ChangeView[]> {
    const changes = await changesOfRun(services, userId, runId);
    return changes.filter((change) => changeIds.includes(change.changeId));
  }
}
