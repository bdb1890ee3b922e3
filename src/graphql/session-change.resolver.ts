import { Arg, Ctx, ID, Mutation, Resolver, Root, Subscription } from "type-graphql";
import { checkId } from "../agent/input.ts";
import type { Session, SessionChange } from "../agent/types.ts";
import { AppError, badInput } from "../errors.ts";
import { actingUser, type RequestContext } from "./acting-user.ts";
import { untilReturned } from "./follow.ts";
import { encodeId } from "./ids.ts";
import { DeleteSessionInput, RenameSessionInput, SummarizeSessionInput } from "./session.inputs.ts";
import { DeletePayloadType, SessionEventType, SessionPayloadType } from "./session.types.ts";

interface SubscribeData {
  args: { userId?: string | null; sessionId: string };
  context: RequestContext;
}

/** What changes a conversation, and what tells of it. Reading them is in `session.resolver.ts`. */
@Resolver()
export class SessionChangeResolver {
  @Mutation(() => SessionPayloadType, { description: "Give a conversation a title." })
  async renameSession(
    @Arg("input", () => RenameSessionInput, { description: "Which, and the title." }) input: RenameSessionInput,
    @Ctx() context: RequestContext,
  ): Promise<{ session: Session }> {
    if (input.name === undefined) {
      throw badInput("name", "is missing. Send a title, or null to take it away.");
    }
    const { sessionId, name, idempotencyKey } = input;
    const user = actingUser(context, input.userId);
    return { session: await context.services.keeper.rename(user, checkId(sessionId, "sessionId"), name, idempotencyKey) };
  }

  @Mutation(() => SessionPayloadType, {
    description:
      "Bring a conversation's summary up to date now, and wait for it, at most 60 seconds. Calls a model, unless there is nothing new to sum up.",
  })
  async summarizeSession(
    @Arg("input", () => SummarizeSessionInput, { description: "Which conversation." }) input: SummarizeSessionInput,
    @Ctx() context: RequestContext,
  ): Promise<{ session: Session }> {
    const user = actingUser(context, input.userId);
    const sessionId = checkId(input.sessionId, "sessionId");
    return { session: await context.services.keeper.summarize(user, sessionId, input.idempotencyKey, context.signal) };
  }

  @Mutation(() => DeletePayloadType, {
    description:
      "Delete a conversation with its messages, runs and summary. A run of it that is under way is stopped. Memories learned from it stay, with the user's words they rest on; what was not learned yet is not learned any more.",
  })
  async deleteSession(
    @Arg("input", () => DeleteSessionInput, { description: "Which conversation." }) input: DeleteSessionInput,
    @Ctx() context: RequestContext,
  ): Promise<DeletePayloadType> {
    const user = actingUser(context, input.userId);
    const sessionId = checkId(input.sessionId, "sessionId");
    await context.services.keeper.delete(user, sessionId, input.idempotencyKey);
    return { deletedId: encodeId("Session", user, sessionId) };
  }

  @Subscription(() => SessionEventType, {
    subscribe: ({ args, context }: SubscribeData) => followSession(args, context),
    description:
      "Watch the summary and the title of a conversation. Begins with how it is now, also after a lost connection, so nothing is missed; ends after it is deleted.",
  })
  sessionEvents(
    @Root() { kind, at, session }: SessionChange,
    @Arg("userId", () => ID, { nullable: true, description: "Whose conversation; leave out for your own." }) _userId: string | null,
    @Arg("sessionId", () => ID, { description: "Which conversation." }) _sessionId: string,
  ): SessionEventType {
    const deleted = kind === "DELETED";
    return {
      kind,
      at,
      session: deleted ? null : session,
      deletedId: deleted ? encodeId("Session", session.userId, session.sessionId) : null,
    };
  }
}

async function followSession({ userId, sessionId }: SubscribeData["args"], context: RequestContext) {
  const { sessions, sessionFeed } = context.services;
  const user = actingUser(context, userId);
  if (!(await sessions.get(user, checkId(sessionId, "sessionId")))) {
    throw new AppError("NOT_FOUND", "There is no such session of this user. Check sessionId and userId.");
  }
  return untilReturned((signal) => sessionFeed.follow(user, sessionId, signal));
}
