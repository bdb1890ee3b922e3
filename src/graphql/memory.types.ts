import { Field, ID, Int, ObjectType } from "type-graphql";
import type { Memory, MemoryChange, MemoryEvidence, MemoryVersion, Message } from "../agent/types.ts";
import { PageInfoType } from "./connection.ts";
import { ChangeKindEnum, MemoryFeedbackEnum, MemoryKindEnum, MemoryOriginEnum, MemoryStatusEnum } from "./memory.enums.ts";
import { NodeType } from "./node.types.ts";
import { DateTime } from "./scalars.ts";
import { MessageType } from "./session.types.ts";

@ObjectType("Memory", { implements: NodeType, description: "One thing remembered about a user." })
export class MemoryType {
  @Field(() => ID, { description: "This memory's id, as in the column agno_memories.memory_id." })
  memoryId!: Memory["memoryId"];

  @Field(() => ID, { description: "Whom it is about." })
  userId!: Memory["userId"];

  @Field(() => String, { description: "The fact itself, in a short sentence: User enjoys hiking." })
  memory!: Memory["memory"];

  @Field(() => [String], { description: "What it is about, in lower case: hobbies, activities." })
  topics!: Memory["topics"];

  @Field(() => MemoryKindEnum, { description: "What sort of fact it is." })
  kind!: Memory["kind"];

  @Field(() => String, { nullable: true, description: "The other person or thing it is about; null when it is about the user." })
  subject!: Memory["subject"];

  @Field(() => MemoryStatusEnum, { description: "Whether it is in use." })
  status!: Memory["status"];

  @Field(() => MemoryOriginEnum, { description: "Where it came from." })
  origin!: Memory["origin"];

  @Field(() => ID, { nullable: true, description: "The agent that learned it; null when a person or an import wrote it." })
  agentId!: Memory["agentId"];

  @Field(() => DateTime, { description: "When it was first stored." })
  createdAt!: Memory["createdAt"];

  @Field(() => DateTime, { description: "When it was last changed." })
  updatedAt!: Memory["updatedAt"];

  @Field(() => DateTime, { description: "Since when it holds." })
  validFrom!: Memory["validFrom"];

  @Field(() => DateTime, { nullable: true, description: "Until when it held; null while it holds." })
  validTo!: Memory["validTo"];

  @Field(() => DateTime, { nullable: true, description: "When it will stop being used by itself; null for never." })
  expiresAt!: Memory["expiresAt"];

  @Field(() => MemoryType, { nullable: true, description: "The newer memory that took its place; null when there is none." })
  supersededBy!: Memory | null;

  @Field(() => Int, { description: "How often the user has said it; 0 when nobody said it in a message." })
  evidenceCount!: Memory["evidenceCount"];

  @Field(() => DateTime, { description: "When the user last said or confirmed it." })
  lastConfirmedAt!: Memory["lastConfirmedAt"];

  @Field(() => Boolean, { description: "True when it is given to the agent in every run." })
  pinned!: Memory["pinned"];

  @Field(() => MemoryFeedbackEnum, { nullable: true, description: "What the user thinks of it; null when not rated." })
  feedback!: Memory["feedback"];

  @Field(() => Int, {
    description: "Goes up by one with each change; send it as `expectedVersion` so as not to overwrite someone else's.",
  })
  version!: Memory["version"];
}

@ObjectType("MemoryEvidence", { description: "The words of the user that a memory rests on." })
export class MemoryEvidenceType {
  @Field(() => String, { description: "The words, exactly as written." })
  quote!: MemoryEvidence["quote"];

  @Field(() => Int, { description: "Where the quote starts in the message, counted in UTF-16 units as JavaScript does." })
  start!: MemoryEvidence["start"];

  @Field(() => Int, { description: "Where the quote ends: `content.slice(start, end)`." })
  end!: MemoryEvidence["end"];

  @Field(() => DateTime, { description: "When it was said." })
  saidAt!: MemoryEvidence["saidAt"];

  @Field(() => MessageType, { nullable: true, description: "The message it was said in; null once its conversation is deleted." })
  message!: Message | null;
}

@ObjectType("MemoryVersion", {
  description: "How a memory read at one time. A plain value: caching it never overwrites the memory itself.",
})
export class MemoryVersionType {
  @Field(() => Int, { description: "Which version this was." })
  version!: MemoryVersion["version"];

  @Field(() => String, { description: "The fact." })
  memory!: MemoryVersion["memory"];

  @Field(() => [String], { description: "Its topics." })
  topics!: MemoryVersion["topics"];

  @Field(() => MemoryStatusEnum, { description: "Its status." })
  status!: MemoryVersion["status"];

  @Field(() => Boolean, { description: "Whether every run was given it." })
  pinned!: MemoryVersion["pinned"];

  @Field(() => DateTime, { nullable: true, description: "When it was to stop being used by itself; null for never." })
  expiresAt!: MemoryVersion["expiresAt"];
}

@ObjectType("MemoryChange", {
  implements: NodeType,
  description: "One change of one memory: in a memory's history, in the result of a mutation, in `memoryEvents`, and after a run.",
})
export class MemoryChangeType {
  @Field(() => Int, { description: "Counts up by one per user. The place to go on from: `memoryEvents(after:)`." })
  sequence!: MemoryChange["sequence"];

  @Field(() => ChangeKindEnum, { description: "What was done." })
  kind!: MemoryChange["kind"];

  @Field(() => DateTime, { description: "When it was done." })
  at!: MemoryChange["at"];

  @Field(() => MemoryType, { description: "The memory as it is now." })
  memory!: Memory;

  @Field(() => MemoryVersionType, { nullable: true, description: "The memory before the change; null when it was new." })
  before!: MemoryChange["before"];

  @Field(() => MemoryVersionType, { nullable: true, description: "The memory after the change; null when it was deleted." })
  after!: MemoryChange["after"];

  @Field(() => String, { nullable: true, description: "The words of the user that caused it; null when no message did." })
  quote!: MemoryChange["quote"];

  @Field(() => ID, { nullable: true, description: "The run that caused it; null when no run did." })
  runId!: MemoryChange["runId"];
}

@ObjectType("MemoryEdge", { description: "A memory in a list." })
export class MemoryEdgeType {
  @Field(() => String, { description: "The place in the list." })
  cursor!: string;

  @Field(() => MemoryType, { description: "The memory." })
  node!: Memory;
}

@ObjectType("MemoryConnection", { description: "One page of memories." })
export class MemoryConnectionType {
  @Field(() => [MemoryEdgeType], { description: "The memories with their cursors." })
  edges!: MemoryEdgeType[];

  @Field(() => PageInfoType, { description: "Where the page begins and ends." })
  pageInfo!: PageInfoType;

  @Field(() => Int, {
    description: "The last change this page takes into account: pass it to `memoryEvents(after:)` and nothing is missed in between.",
  })
  sequence!: number;
}

@ObjectType("TopicCount", { description: "A topic and how many active memories have it." })
export class TopicCountType {
  @Field(() => String, { description: "The topic, in lower case." })
  topic!: string;

  @Field(() => Int, { description: "How many active memories have it." })
  count!: number;
}

@ObjectType("MemoryPayload", { description: "The memory after the change." })
export class MemoryPayloadType {
  @Field(() => MemoryType, { description: "The memory." })
  memory!: Memory;

  @Field(() => MemoryChangeType, { nullable: true, description: "What was done; null when it was so already." })
  change!: MemoryChange | null;
}

@ObjectType("MemoriesPayload", { description: "The memories after the change." })
export class MemoriesPayloadType {
  @Field(() => [MemoryChangeType], {
    description: "What was done to each memory, in the order of the input. Items that say the same share one change.",
  })
  changes!: MemoryChange[];
}

@ObjectType("ClearMemoriesPayload", { description: "What was cleared." })
export class ClearMemoriesPayloadType {
  @Field(() => Int, { description: "How many memories are gone." })
  clearedCount!: number;
}
