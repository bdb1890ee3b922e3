import { Ctx, Query, Resolver } from "type-graphql";
import type { ServerStatus } from "../agent/status.ts";
import { seesServer } from "../identity/identity.ts";
import type { RequestContext } from "./acting-user.ts";
import { ServerStatusType } from "./status.types.ts";

/** What everybody may see of how the server is doing. */
type StatusView = Omit<ServerStatus, "queue"> & { queue: ServerStatus["queue"] | null };

@Resolver(() => ServerStatusType)
export class StatusResolver {
  @Query(() => ServerStatusType, {
    description:
      "How this server is doing, and what to do about what is wrong: the first thing to ask when something does not work. Takes seconds at most, whatever is down. The first time it also tries the memory model on a sentence. Where tokens are asked for, details are for admins.",
  })
  async serverStatus(@Ctx() { services, identity }: RequestContext): Promise<StatusView> {
    const status = await services.status.read();
    return seesServer(identity) ? status : withoutDetails(status);
  }
}

/** Addresses, versions to attack, and how much everybody does together are for whoever runs the server. */
function withoutDetails(status: ServerStatus): StatusView {
  const [worst] = status.problems;
  const fix = "Tell whoever runs this server: to the token of an admin, serverStatus says what it is.";
  return {
    ...status,
    problems: worst ? [{ severity: worst.severity, message: "Something is wrong with this server.", fix }] : [],
    database: { ...status.database, version: null },
    queue: null,
  };
}
