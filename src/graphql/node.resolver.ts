import type { GraphQLResolveInfo } from "graphql";
import { Arg, Ctx, FieldResolver, ID, Info, Query, Resolver, Root } from "type-graphql";
import type { AgentDefinition } from "../agent/agents.ts";
import type { Services } from "../agent/ports.ts";
import type { Memory, MemoryChange, Message, Run, Session, UserId } from "../agent/types.ts";
import { mayActFor } from "../identity/identity.ts";
import { actingUser, type RequestContext } from "./acting-user.ts";
import type { ChangeView } from "./changes.ts";
import { decodeId, encodeId } from "./ids.ts";
import { NodeType, type NodeValue } from "./node.types.ts";

/** How a type of Node is named within its user, and found again by those names. */
interface NodeLoader {
  keys(value: object): string[];
  load(services: Services, user: UserId, keys: string[]): Promise<object | null | undefined>;
  /** True for what belongs to no user. */
  shared?: boolean;
}

/** Stands where the user does in the id of what belongs to none. */
const NOBODY = "-" as UserId;

const LOADERS: ReadonlyMap<string, NodeLoader> = new Map<string, NodeLoader>([
  [
    "Run",
    loader<Run>(
      (run) => [run.runId],
      (services, user, [runId = ""]) => services.runs.get(user, runId),
    ),
  ],
  [
    "Session",
    loader<Session>(
      (session) => [session.sessionId],
      ({ sessions }, user, [sessionId = ""]) => sessions.get(user, sessionId),
    ),
  ],
  ["Message", loader<Message>((message) => [message.runId, message.messageId], findMessage)],
  [
    "Memory",
    loader<Memory>(
      (memory) => [memory.memoryId],
      ({ memories }, user, [memoryId = ""]) => memories.get(user, memoryId),
    ),
  ],
  [
    "Agent",
    {
      ...loader<AgentDefinition>(
        (agent) => [agent.agentId],
        async ({ agents }, _, [agentId = ""]) => agents.find(agentId),
      ),
      shared: true,
    },
  ],
  ["MemoryChange", loader<MemoryChange>((change) => [change.changeId], findChange)],
]);

@Resolver(() => NodeType)
export class NodeResolver {
  @Query(() => NodeType, {
    nullable: true,
    description: "Fetch any cached object again by its `id`. Null when it is gone or not yours: the two look the same.",
  })
  async node(
    @Arg("id", () => ID, { description: "The `id` of the object." }) id: string,
    @Ctx() context: RequestContext,
  ): Promise<NodeValue | null> {
    const key = decodeId(id);
    const loader = key && LOADERS.get(key.type);
    const allowed = loader && (loader.shared || mayActFor(context.identity, key.userId));
    const found = allowed && (await loader.load(context.services, loader.shared ? NOBODY : actingUser(context, key.userId), key.keys));
    return key && found ? { ...found, __typename: key.type } : null;
  }

  @FieldResolver(() => ID)
  id(@Root() value: { userId?: UserId }, @Info() { parentType }: GraphQLResolveInfo): string {
    const loader = LOADERS.get(parentType.name);
    const owner = loader?.shared ? NOBODY : value.userId;
    if (!loader || owner === undefined) {
      throw new Error(`${parentType.name} is a Node, but nothing says how to name one`);
    }
    return encodeId(parentType.name, owner, ...loader.keys(value));
  }
}

function loader<T extends object>(
  keys: (value: T) => string[],
  load: (services: Services, user: UserId, keys: string[]) => Promise<T | null | undefined>,
): NodeLoader {
  return { keys: (value) => keys(value as T), load };
}

async function findMessage({ runs }: Services, user: UserId, [runId = "", messageId]: string[]): Promise<Message | undefined> {
  const run = await runs.get(user, runId);
  return (run ? await runs.messages(run) : []).find((message) => message.messageId === messageId);
}

async function findChange({ memories }: Services, user: UserId, [changeId = ""]: string[]): Promise<ChangeView | null> {
  const change = await memories.change(user, changeId);
  const memory = change && (await memories.get(user, change.memoryId));
  return memory ? { ...change, memory } : null;
}
