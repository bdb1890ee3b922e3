import { Arg, Ctx, FieldResolver, ID, Query, Resolver, Root } from "type-graphql";
import type { AgentDefinition } from "../agent/agents.ts";
import { checkId } from "../agent/input.ts";
import type { RequestContext } from "./acting-user.ts";
import { AgentType } from "./agent.types.ts";

@Resolver(() => AgentType)
export class AgentResolver {
  @Query(() => [AgentType], { description: "The agents this server offers." })
  agents(@Ctx() { services }: RequestContext): AgentDefinition[] {
    return services.agents.all();
  }

  @Query(() => AgentType, { nullable: true, description: "One agent, or null when there is none of that name." })
  agent(
    @Arg("agentId", () => ID, { description: "Its name in requests, such as rag-agent." }) agentId: string,
    @Ctx() { services }: RequestContext,
  ): AgentDefinition | null {
    return services.agents.find(checkId(agentId, "agentId"));
  }

  @FieldResolver(() => String)
  model(@Root() agent: AgentDefinition, @Ctx() { services }: RequestContext): string | null {
    return services.status.modelOf("CHAT", agent);
  }

  @FieldResolver(() => String)
  memoryModel(@Root() agent: AgentDefinition, @Ctx() { services }: RequestContext): string | null {
    return services.status.modelOf("MEMORY", agent);
  }
}
