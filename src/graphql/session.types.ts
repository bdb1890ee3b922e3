import { Field, ID, Int, ObjectType } from "type-graphql";
import type { Message, Session, SessionChange, SessionChangeKind, SessionSummary } from "../agent/types.ts";
import { PageInfoType } from "./connection.ts";
import { defineEnum } from "./enum.ts";
import { NodeType } from "./node.types.ts";
import { DateTime } from "./scalars.ts";

export const MessageRoleEnum = defineEnum<Message["role"]>("MessageRole", "Who said something.", {
  USER: "The user.",
  ASSISTANT: "The agent.",
});

@ObjectType("Message", { implements: NodeType, description: "Something said in a conversation." })
export class MessageType {
  @Field(() => ID, { description: "This message's id, as in text message events." })
  messageId!: Message["messageId"];

  @Field(() => ID, { description: "The conversation it belongs to." })
  sessionId!: Message["sessionId"];

  @Field(() => ID, { description: "The id of the run it belongs to." })
  runId!: Message["runId"];

  @Field(() => MessageRoleEnum, { description: "Who said it." })
  role!: Message["role"];

  @Field(() => String, { description: "What was said. Of a reply still being written: what is there so far." })
  content!: Message["content"];

  @Field(() => Boolean, { description: "False while a reply is being written, and when it was cut off." })
  complete!: Message["complete"];

  @Field(() => DateTime, { description: "When it was said." })
  createdAt!: Message["createdAt"];
}

@ObjectType("MessageEdge", { description: "A message in a list." })
export class MessageEdgeType {
  @Field(() => String, { description: "The place in the list." })
  cursor!: string;

  @Field(() => MessageType, { description: "The message." })
  node!: Message;
}

@ObjectType("MessageConnection", { description: "One page of messages." })
export class MessageConnectionType {
  @Field(() => [MessageEdgeType], { description: "The messages with their cursors." })
  edges!: MessageEdgeType[];

  @Field(() => PageInfoType, { description: "Where the page begins and ends." })
  pageInfo!: PageInfoType;
}

@ObjectType("SessionSummary", { description: "What a conversation was about, and how much of it was read for that." })
export class SessionSummaryType {
  @Field(() => String, { description: "The summary, in a few sentences." })
  summary!: SessionSummary["summary"];

  @Field(() => [String], { description: "What it was about, in a word or two each." })
  topics!: SessionSummary["topics"];

  @Field(() => DateTime, { description: "When it was written." })
  updatedAt!: SessionSummary["updatedAt"];

  @Field(() => Int, { description: "How many turns it covers, from the start. A turn is a message of the user with its reply." })
  coveredTurns!: number;

  @Field(() => Int, { description: "How many turns have come since. 0 means it is up to date." })
  newerTurns!: number;
}

@ObjectType("Session", {
  implements: NodeType,
  description: "A conversation. Two users may use the same `sessionId`: they are two conversations, with different `id`.",
})
export class SessionType {
  @Field(() => ID, { description: "The name your client gave it, such as session-123." })
  sessionId!: Session["sessionId"];

  @Field(() => ID, { description: "Whose conversation it is." })
  userId!: Session["userId"];

  @Field(() => ID, { description: "The agent it was started with." })
  agentId!: Session["agentId"];

  @Field(() => String, { nullable: true, description: "A title for people; null until someone gives one." })
  name!: Session["name"];

  @Field(() => DateTime, { description: "When it was started." })
  createdAt!: Session["createdAt"];

  @Field(() => DateTime, { description: "When it last changed." })
  updatedAt!: Session["updatedAt"];

  @Field(() => SessionSummaryType, { nullable: true, description: "What it was about; null until there is enough to sum up." })
  summary!: SessionSummaryType | null;
}

@ObjectType("SessionEdge", { description: "A conversation in a list." })
export class SessionEdgeType {
  @Field(() => String, { description: "The place in the list." })
  cursor!: string;

  @Field(() => SessionType, { description: "The conversation." })
  node!: Session;
}

@ObjectType("SessionConnection", { description: "One page of conversations." })
export class SessionConnectionType {
  @Field(() => [SessionEdgeType], { description: "The conversations with their cursors." })
  edges!: SessionEdgeType[];

  @Field(() => PageInfoType, { description: "Where the page begins and ends." })
  pageInfo!: PageInfoType;
}

@ObjectType("SessionPayload", { description: "The conversation after the change." })
export class SessionPayloadType {
  @Field(() => SessionType, { description: "The conversation." })
  session!: Session;
}

@ObjectType("DeletePayload", { description: "What was deleted." })
export class DeletePayloadType {
  @Field(() => ID, { description: "The cache key of what is gone: take it out of your cache." })
  deletedId!: string;
}

export const SessionEventKindEnum = defineEnum<SessionChangeKind>(
  "SessionEventKind",
  "What happened to a conversation. New ones may be added.",
  {
    CURRENT: "Nothing yet: this is how it is when the watching begins, so that nothing is missed between reading and watching.",
    SUMMARIZED: "Its summary was written anew.",
    RENAMED: "It was given another title, or its title was taken away.",
    DELETED: "It is gone. Always the last event.",
  },
);

@ObjectType("SessionEvent", { description: "A change of a conversation, from `sessionEvents`." })
export class SessionEventType {
  @Field(() => SessionEventKindEnum, { description: "What happened." })
  kind!: SessionChange["kind"];

  @Field(() => DateTime, { description: "When it happened." })
  at!: SessionChange["at"];

  @Field(() => SessionType, { nullable: true, description: "The conversation as it is now; null once it is deleted." })
  session!: Session | null;

  @Field(() => ID, { nullable: true, description: "The cache key to take out of your cache; null unless it was deleted." })
  deletedId!: string | null;
}
