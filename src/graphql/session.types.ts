import { Field, ID, Int, ObjectType } from "type-graphql";
import type { Message, Session, SessionSummary } from "../agent/types.ts";
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
