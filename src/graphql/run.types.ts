import { Field, ID, Int, ObjectType } from "type-graphql";
import type { MemoryChange, MemoryUpdateStatus, Message, Recall, Run, RunStatus, TokenUsage } from "../agent/types.ts";
import type { Failure } from "../errors.ts";
import { PageInfoType } from "./connection.ts";
import { defineEnum } from "./enum.ts";
import { FailureType } from "./failure.types.ts";
import { MemoryChangeType } from "./memory.types.ts";
import { NodeType } from "./node.types.ts";
import { RecallType } from "./recall.types.ts";
import { DateTime } from "./scalars.ts";
import { MessageType } from "./session.types.ts";

export const RunStatusEnum = defineEnum<RunStatus>("RunStatus", "How far a run is.", {
  QUEUED: "Waits for earlier runs of the same conversation.",
  RUNNING: "The agent is answering.",
  PAUSED: "Waits for someone to allow what the agent is about to do.",
  COMPLETED: "The reply is complete. Memory work may still go on.",
  FAILED: "It could not be answered; `error` says why.",
  CANCELLED: "Someone stopped it.",
  INTERRUPTED: "The server went down in the middle; what was written is kept.",
});

export const MemoryUpdateStatusEnum = defineEnum<MemoryUpdateStatus>("MemoryUpdateStatus", "How far learning from a message is.", {
  PENDING: "Not begun, or being tried.",
  DONE: "Done.",
  SKIPPED: "Not tried: memory is off, or the message holds nothing to remember.",
  FAILED: "Given up after several tries.",
});

@ObjectType("TokenUsage", { description: "Tokens spent." })
export class TokenUsageType {
  @Field(() => Int, { description: "Tokens read by the model." })
  inputTokens!: TokenUsage["inputTokens"];

  @Field(() => Int, { description: "Tokens written by the model." })
  outputTokens!: TokenUsage["outputTokens"];

  @Field(() => Boolean, { description: "True when the model server did not count and we did." })
  estimated!: TokenUsage["estimated"];
}

@ObjectType("RunMemoryUpdate", { description: "What learning from a run's message came to. It never delays the reply." })
export class RunMemoryUpdateType {
  @Field(() => MemoryUpdateStatusEnum, { description: "How far it is." })
  status!: MemoryUpdateStatus;

  @Field(() => [MemoryChangeType], { description: "What was done to which memories; empty when there was nothing to learn." })
  changes!: MemoryChange[];

  @Field(() => FailureType, {
    nullable: true,
    description: "Why it failed; null unless the status is FAILED. `retryMemoryUpdate` tries again.",
  })
  error!: Failure | null;
}

@ObjectType("Run", { implements: NodeType, description: "One message of the user and what the agent did to answer it." })
export class RunType {
  @Field(() => ID, { description: "This run's id, as in every event of it." })
  runId!: Run["runId"];

  @Field(() => ID, { description: "For whom." })
  userId!: Run["userId"];

  @Field(() => ID, { description: "In which conversation." })
  sessionId!: Run["sessionId"];

  @Field(() => ID, { description: "By which agent." })
  agentId!: Run["agentId"];

  @Field(() => RunStatusEnum, { description: "How far it is." })
  status!: Run["status"];

  @Field(() => DateTime, { description: "When it was accepted." })
  createdAt!: Run["createdAt"];

  @Field(() => DateTime, { nullable: true, description: "When it ended; null while it goes on." })
  finishedAt!: Run["finishedAt"];

  @Field(() => String, { nullable: true, description: "The reply, or what there is of it so far; null before the first word." })
  reply!: string | null;

  @Field(() => Int, {
    description: "The last event that `reply` and the rest of this object include: go on with `runEvents(after:)`. 0 before the first.",
  })
  lastSequence!: Run["lastSequence"];

  @Field(() => [MessageType], {
    description: "The user's message and, once begun, the agent's. Write these into your list of messages when the run ends.",
  })
  messages!: Message[];

  @Field(() => String, {
    nullable: true,
    description: "The model that answered, as its server named it; null until the reply is complete.",
  })
  model!: Run["model"];

  @Field(() => RecallType, { nullable: true, description: "What was recalled; null before that step and when memory is off." })
  recall!: Recall | null;

  @Field(() => TokenUsageType, { nullable: true, description: "Tokens spent on the reply; null until it is complete." })
  usage!: Run["usage"];

  @Field(() => FailureType, { nullable: true, description: "Why it failed; null unless the status is FAILED or INTERRUPTED." })
  error!: Run["error"];

  @Field(() => RunMemoryUpdateType, { description: "What it taught the server about the user." })
  memoryUpdate!: RunMemoryUpdateType;
}

@ObjectType("RunEdge", { description: "A run in a list." })
export class RunEdgeType {
  @Field(() => String, { description: "The place in the list." })
  cursor!: string;

  @Field(() => RunType, { description: "The run." })
  node!: Run;
}

@ObjectType("RunConnection", { description: "One page of runs." })
export class RunConnectionType {
  @Field(() => [RunEdgeType], { description: "The runs with their cursors." })
  edges!: RunEdgeType[];

  @Field(() => PageInfoType, { description: "Where the page begins and ends." })
  pageInfo!: PageInfoType;
}

@ObjectType("RunPayload", { description: "The run, as far as it is." })
export class RunPayloadType {
  @Field(() => RunType, { description: "The run." })
  run!: Run;
}
