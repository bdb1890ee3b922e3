import { Arg, Args, Ctx, FieldResolver, ID, Int, Query, Resolver, Root } from "type-graphql";
import { checkId } from "../agent/input.ts";
import type { Message, Run, Session, UserId } from "../agent/types.ts";
import { actingUser, type RequestContext } from "./acting-user.ts";
import { connectionOf, PageArgs, pageRequest } from "./connection.ts";
import { RunType } from "./run.types.ts";
import { MessageConnectionType, MessageType, SessionSummaryType, SessionType } from "./session.types.ts";

type MessageConnectionView = ReturnType<typeof connectionOf<Message>> & { userId: UserId; sessionId: string };

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
    return { ...connectionOf(await services.sessions.messages(userId, sessionId, pageRequest(page))), userId, sessionId };
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
