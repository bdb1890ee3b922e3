import { Field, ID, InputType } from "type-graphql";
import { checkText } from "../agent/input.ts";
import type { SessionFilter } from "../agent/ports.ts";
import { DateTime } from "./scalars.ts";

@InputType("SessionFilter", { description: "Which conversations to list. Every field given must match." })
export class SessionFilterInput {
  @Field(() => ID, { nullable: true, description: "Started with this agent." })
  agentId?: string | null;

  @Field(() => String, {
    nullable: true,
    description: "With this text in the name or the summary; upper and lower case are the same.",
  })
  text?: string | null;

  @Field(() => DateTime, { nullable: true, description: "Last changed at this moment or later." })
  updatedAfter?: Date | null;

  @Field(() => DateTime, { nullable: true, description: "Last changed before this moment." })
  updatedBefore?: Date | null;
}

/** A checked filter. Throws BAD_USER_INPUT for text no conversation can have. */
export function sessionFilter(filter: SessionFilterInput | null | undefined): SessionFilter {
  for (const field of ["text", "agentId"] as const) {
    checkText(filter?.[field] ?? "", `filter.${field}`);
  }
  return { ...filter };
}

@InputType("RenameSessionInput", { description: "A title for a conversation." })
export class RenameSessionInput {
  @Field(() => ID, { nullable: true, description: "Whose conversation; leave out for your own." })
  userId?: string | null;

  @Field(() => ID, { description: "Which conversation." })
  sessionId!: string;

  @Field(() => String, { nullable: true, description: "The title, at most 200 characters; null takes it away." })
  name?: string | null;

  @Field(() => ID, { nullable: true, description: "Your name for this request: sent again, it is not carried out again." })
  idempotencyKey?: string | null;
}

@InputType("SummarizeSessionInput", { description: "Which conversation to sum up." })
export class SummarizeSessionInput {
  @Field(() => ID, { nullable: true, description: "Whose conversation; leave out for your own." })
  userId?: string | null;

  @Field(() => ID, { description: "Which conversation." })
  sessionId!: string;

  @Field(() => ID, { nullable: true, description: "Your name for this request: sent again, it is not carried out again." })
  idempotencyKey?: string | null;
}

@InputType("DeleteSessionInput", { description: "Which conversation to delete." })
export class DeleteSessionInput {
  @Field(() => ID, { nullable: true, description: "Whose conversation; leave out for your own." })
  userId?: string | null;

  @Field(() => ID, { description: "Which conversation." })
  sessionId!: string;

  @Field(() => ID, { nullable: true, description: "Your name for this request: sent again, it is not carried out again." })
  idempotencyKey?: string | null;
}
