import { Field, ID, ObjectType } from "type-graphql";
import type { AgentDefinition } from "../agent/agents.ts";
import { NodeType } from "./node.types.ts";

@ObjectType("Agent", { implements: NodeType, description: "Something that answers messages." })
export class AgentType {
  @Field(() => ID, { description: "Its name in requests and REST addresses, such as rag-agent." })
  agentId!: AgentDefinition["agentId"];

  @Field(() => String, { description: "Its name for people, such as RAG Agent." })
  name!: AgentDefinition["name"];

  @Field(() => String, { description: "What it is good for, in a sentence." })
  description!: AgentDefinition["description"];

  @Field(() => String, {
    nullable: true,
    description: "The model set for its replies; null when none is: the first one the model server lists, see `serverStatus { models }`.",
  })
  model!: string | null;

  @Field(() => String, { nullable: true, description: "The model set to pick out memories; often the same. Null when none is set." })
  memoryModel!: string | null;

  @Field(() => Boolean, { description: "True when it remembers what users tell it." })
  remembers!: AgentDefinition["remembers"];

  @Field(() => Boolean, { description: "True when it keeps a summary of each conversation." })
  summarizes!: AgentDefinition["summarizes"];
}
