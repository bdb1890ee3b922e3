import { Arg, Ctx, Mutation, Resolver } from "type-graphql";
import { badInput } from "../errors.ts";
import { actingUser, type RequestContext } from "./acting-user.ts";
import {
  EraseUserInput,
  EraseUserPayloadType,
  ExportUserInput,
  ExportUserPayloadType,
  ImportUserInput,
  ImportUserPayloadType,
} from "./user.types.ts";

/** What users may do with all that is stored about them. */
@Resolver()
export class UserResolver {
  @Mutation(() => ExportUserPayloadType, {
    description:
      "Ask for everything stored about a user: conversations with their runs and summaries, memories of every status with evidence and history, tokens used. A mutation so that no cache keeps the answer; nothing is changed.",
  })
  exportUser(
    @Arg("input", () => ExportUserInput, { description: "Whose data." }) input: ExportUserInput,
    @Ctx() context: RequestContext,
  ): ExportUserPayloadType {
    return { path: `/v1/users/${encodeURIComponent(actingUser(context, input.userId))}/export` };
  }

  @Mutation(() => ImportUserPayloadType, {
    description:
      "Take in what an export gave, for a user without conversations and memories: all of it or nothing. Nothing is learned from it again. Sent again it changes nothing; CONFLICT when the user has other data.",
  })
  async importUser(
    @Arg("input", () => ImportUserInput, { description: "The document, and into whose account." }) input: ImportUserInput,
    @Ctx() context: RequestContext,
  ): Promise<ImportUserPayloadType> {
    const user = actingUser(context, input.userId);
    const { imported, skipped } = await context.services.userData.import(user, input.document);
    return { importedCount: imported, skippedCount: skipped };
  }

  @Mutation(() => EraseUserPayloadType, {
    description:
      "Erase everything stored about a user, for good. Runs under way are stopped; what works on the user's data anywhere can write nothing any more. This cannot be undone. The same id may be used anew.",
  })
  async eraseUser(
    @Arg("input", () => EraseUserInput, { description: "Whose data." }) input: EraseUserInput,
    @Ctx() context: RequestContext,
  ): Promise<EraseUserPayloadType> {
    const user = actingUser(context, input.userId);
    if (input.confirmUserId !== user) {
      throw badInput("confirmUserId", "is not the user whose data is to be erased. Send the same id twice; nothing was erased.");
    }
    const { receiptId, erasedAt, counts, remaining } = await context.services.userData.erase(user);
    return {
      receiptId,
      erasedAt,
      counts: counts.map(({ table, count }) => ({ table, erasedCount: count })),
      remainingCount: remaining,
    };
  }
}
