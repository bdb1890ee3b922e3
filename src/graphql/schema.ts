import "reflect-metadata";
import type { GraphQLObjectType, GraphQLSchema } from "graphql";
import { buildSchemaSync } from "type-graphql";
import { AgentResolver } from "./agent.resolver.ts";
import {
  EventResolver,
  eventRunResolvers,
  MemoriesRecalledResolver,
  MemoryUpdateResolver,
  RunFinishedResolver,
  TextMessageStartResolver,
} from "./event.resolver.ts";
import { MemoryConnectionResolver, MemoryResolver } from "./memory.resolver.ts";
import { MemoryChangeResolver } from "./memory-change.resolver.ts";
import { NodeResolver } from "./node.resolver.ts";
import { RecallResolver } from "./recall.resolver.ts";
import { RunMemoryUpdateResolver, RunResolver } from "./run.resolver.ts";
import { MessageConnectionResolver, MessageResolver, SessionConnectionResolver, SessionResolver } from "./session.resolver.ts";
import { SessionChangeResolver } from "./session-change.resolver.ts";
import { StatusResolver } from "./status.resolver.ts";
import { UserResolver } from "./user.resolver.ts";

/** The public contract, as `schema/schema.graphql` shows it. Resolvers find everything they need in the request's context. */
export function buildGraphQLSchema(): GraphQLSchema {
  const schema = buildSchemaSync({
    resolvers: [
      AgentResolver,
      EventResolver,
      MemoriesRecalledResolver,
      MemoryChangeResolver,
      MemoryConnectionResolver,
      MemoryResolver,
      MemoryUpdateResolver,
      MessageConnectionResolver,
      MessageResolver,
      NodeResolver,
      RecallResolver,
      RunFinishedResolver,
      RunMemoryUpdateResolver,
      RunResolver,
      SessionChangeResolver,
      SessionConnectionResolver,
      SessionResolver,
      StatusResolver,
      TextMessageStartResolver,
      UserResolver,
      ...eventRunResolvers,
    ],
    validate: false,
    pubSub: noPubSub,
  });
  describe(
    schema.getQueryType(),
    "Everything that can be read. Reading never changes anything. Lists hold at most 100 items a page, 20 when no size is given.",
  );
  describe(
    schema.getMutationType(),
    "Everything that can be changed. One `input` each. A request that cannot be accepted gives an error with a code and changes nothing.",
  );
  describe(
    schema.getSubscriptionType(),
    "What can be watched, over WebSocket (graphql-transport-ws). What is shown is stored first. Events of runs and changes of memories can be asked for again by their sequence; a conversation begins with how it is.",
  );
  return schema;
}

/** The builder takes no subscription without a publisher; each of ours reads the event log, so this one is never asked. */
const noPubSub = {
  publish: refuse,
  subscribe: refuse,
};

function refuse(): never {
  throw new Error("a subscription without a subscribe function of its own");
}

/** The builder has no place for what the root types are about. */
function describe(type: GraphQLObjectType | null | undefined, description: string): void {
  if (type) {
    type.description = description;
  }
}
