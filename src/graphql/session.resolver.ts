import { Arg, Args, Ctx, FieldResolver, ID, Int, Query, Resolver, Root } from "type-graphql";
import { checkId } from "../agent/input.ts";
import type { SessionFilter } from "../agent/ports.ts";
import type { Message, Run, RunStatus, Session, UserId } from "../agent/types.ts";
import { actingUser, type RequestContext } from "./acting-user.ts";
import { connectionOf, PageArgs } from "./connection.ts";
import { RunConnectionType, RunStatusEnum, RunType } from "./run.types.ts";
import { SessionFilterInput, sessionFilter } from "./session.inputs.ts";
import { MessageConnectionType, MessageType, SessionConnectionType, SessionSummaryType, SessionType } from "./session.types.ts";

type MessageConnectionView = ReturnType<typeof connectionOf<Message>> & { userId: UserId; sessionId: string };
type SessionConnectionView = ReturnType<typeof connectionOf<Session>> & { userId: UserId; filter: SessionFilter };

@Resolver(() => SessionType)
export class SessionResolver {
  @Query(() => SessionType, { nullable: true, description: "One conversation. Null when it is missing or not yours." })
  session(
    @Arg("userId", () => ID, { nullable: true, description: "Whose conversation; leave out for your own." }) userId: string | null,
    @Arg("sessionId", () => ID, { description: "Which conversation." }) sessionId: string,
    @Ctx() context: RequestContext,
  ): Promise<Session | null> {
    return context.services.sessions.get(actingUser(context, userId), checkId(sessionId, "sessionId"));
  }

  @Query(() => SessionConnectionType, { description: "A user's conversations, the one used last first." })
  async sessions(
    @Arg("userId", () => ID, { nullable: true, description: "Whose conversations; leave out for your own." }) userId: string | null,
    @Arg("filter", () => SessionFilterInput, { nullable: true, description: "Which conversations to list." })
    filterInput: SessionFilterInput | null,
    @Arg("first", () => Int, { nullable: true, description: "Take this many (1 to 100)." }) first: number | null,
    @Arg("after", () => String, { nullable: true, description: "Start after this cursor." }) after: string | null,
    @Ctx() context: RequestContext,
  ): Promise<SessionConnectionView> {
    const user = actingUser(context, userId);
    const filter = sessionFilter(filterInput);
    const page = await context.services.sessions.list(user, filter, { first, after });
    return { ...connectionOf(page), userId: user, filter };
  }

  @FieldResolver(() => SessionSummaryType)
  summary(@Root() { summary, turns }: Session): SessionSummaryType | null {
    if (!summary) {
      return null;
    }
    const { coveredTurn, ...rest } = summary;
    return { ...rest, coveredTurns: coveredTurn, newerTurns: Math.max(0, turns - coveredTurn) };
  }

  @FieldResolver(() => [RunType], {
    description:
      "Runs not finished yet, oldest first: the first is being answered, the others wait. After a page reload, follow these with `runEvents`.",
  })
  activeRuns(@Root() { userId, sessionId }: Session, @Ctx() { services }: RequestContext): Promise<Run[]> {
    return services.runs.active(userId, sessionId);
  }

  @FieldResolver(() => MessageConnectionType, {
    description: "What was said, oldest first. A chat asks for `last: 30`, then for those `before` the first.",
  })
  async messages(
    @Root() { userId, sessionId }: Session,
    @Args(() => PageArgs) page: PageArgs,
    @Ctx() { services }: RequestContext,
  ): Promise<MessageConnectionView> {
    return { ...connectionOf(await services.sessions.messages(userId, sessionId, page)), userId, sessionId };
  }

  @FieldResolver(() => RunConnectionType, { description: "The runs of this conversation, newest first." })
  async runs(
    @Root() { userId, sessionId }: Session,
    @Arg("status", () => [RunStatusEnum], { nullable: true, description: "Only runs of these statuses; leave out for all." })
    status: RunStatus[] | null,
    @Arg("first", () => Int, { nullable: true, description: "Take this many (1 to 100)." }) first: number | null,
    @Arg("after", () => String, { nullable: true, description: "Start after this cursor." }) after: string | null,
    @Ctx() { services }: RequestContext,
  ): Promise<ReturnType<typeof connectionOf<Run>>> {
    return connectionOf(await services.sessions.runs(userId, sessionId, status ?? null, { first, after }));
  }
}

@Resolver(() => SessionConnectionType)
export class SessionConnectionResolver {
  @FieldResolver(() => Int, { description: "How many there are on all pages." })
  totalCount(@Root() { userId, filter }: SessionConnectionView, @Ctx() { services }: RequestContext): Promise<number> {
    return services.sessions.count(userId, filter);
  }
}

@Resolver(() => MessageConnectionType)
export class MessageConnectionResolver {
  @FieldResolver(() => Int, { description: "How many there are on all pages." })
  totalCount(@Root() { userId, sessionId }: MessageConnectionView, @Ctx() { services }: RequestContext): Promise<number> {
    return services.sessions.messageCount(userId, sessionId);
  }
}

@Resolver(() => MessageType)
export class MessageResolver {
  @FieldResolver(() => RunType, { description: "The run it belongs to." })
  run(@Root() { userId, runId }: Message, @Ctx() { services }: RequestContext): Promise<Run | null> {
    return services.runs.get(userId, runId);
  }
}
