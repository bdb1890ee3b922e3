import { Ctx, Query, Resolver } from "type-graphql";
import type { ServerStatus } from "../agent/status.ts";
import type { RequestContext } from "./acting-user.ts";
import { ServerStatusType } from "./status.types.ts";

@Resolver(() => ServerStatusType)
export class StatusResolver {
  @Query(() => ServerStatusType, {
    description:
      "How this server is doing, and what to do about what is wrong: the first thing to ask when something does not work. Takes seconds at most, whatever is down. The first time it also tries the memory model on a sentence.",
  })
  serverStatus(@Ctx() { services }: RequestContext): Promise<ServerStatus> {
    return services.status.read();
  }
}
