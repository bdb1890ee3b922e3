import { Field, ID, InputType } from "type-graphql";
import type { MemoryMode, OnBusy, OnDisconnect, RunStage } from "../agent/types.ts";
import { defineEnum } from "./enum.ts";

/** How long a subscription goes on. */
export type FollowUntil = "REPLY" | "MEMORY";

export const MemoryModeEnum = defineEnum<MemoryMode>("MemoryMode", "Whether a run uses memory.", {
  ON: "Recall what is known, and learn from the message.",
  OFF: "Neither recall nor learn.",
});

export const OnBusyEnum = defineEnum<OnBusy>("OnBusy", "What to do when a conversation is still being answered.", {
  ENQUEUE: "Wait for one's turn.",
  REJECT: "Refuse, with code CONFLICT.",
  INTERRUPT: "Stop the runs of the conversation that go on or wait, and answer this one.",
});

export const OnDisconnectEnum = defineEnum<OnDisconnect>(
  "OnDisconnect",
  "What becomes of a run when its client leaves before the answer.",
  {
    CONTINUE: "It goes on. A client that comes back finds the reply.",
    CANCEL:
      "It is stopped, also while others watch it. Leaving is: to complete the subscription, to close the connection, or to lose it; a client that connects again by itself finds the run CANCELLED. Not when the server stops.",
  },
);

export const RunStageEnum = defineEnum<RunStage>("RunStage", "A point in a run to wait for.", {
  ACCEPTED: "The message is stored and will be answered.",
  REPLY: "The reply is complete, or failed.",
  MEMORY: "This message's memories are settled too, or 60 seconds have passed: what was just said can be read back.",
});

export const FollowUntilEnum = defineEnum<FollowUntil>("FollowUntil", "When to stop watching a run.", {
  REPLY: "Ends after the reply: with RunFinished, RunError or RunCancelled.",
  MEMORY: "Ends after this message's memory work is settled: when there is any, MemoryUpdate or MemoryUpdateFailed comes last.",
});

@InputType("RunAgentInput", { description: "What to answer. The same for the mutation and the subscription." })
export class RunAgentInput {
  @Field(() => ID, { defaultValue: "rag-agent", description: "Which agent answers." })
  agentId!: string;

  @Field(() => ID, { nullable: true, description: "Who is speaking; leave out for yourself." })
  userId?: string | null;

  @Field(() => ID, {
    nullable: true,
    description:
      "In which conversation. An unknown name starts one; leave out to start one with a name of our own, found in `run.sessionId`.",
  })
  sessionId?: string | null;

  @Field(() => String, { description: "What the user says." })
  message!: string;

  @Field(() => ID, {
    nullable: true,
    description: "Your name for this request, new for each message. Sent again, it gives the same run instead of a second one.",
  })
  idempotencyKey?: string | null;

  @Field(() => MemoryModeEnum, { defaultValue: "ON", description: "Whether to recall and to learn." })
  memory!: MemoryMode;

  @Field(() => OnBusyEnum, { defaultValue: "ENQUEUE", description: "What to do when the conversation is still being answered." })
  onBusy!: OnBusy;

  @Field(() => OnDisconnectEnum, {
    defaultValue: "CONTINUE",
    description: "What to do when you leave before the answer. Each request with the same idempotencyKey may choose for itself.",
  })
  onDisconnect!: OnDisconnect;
}

@InputType("CancelRunInput", { description: "Which run to stop." })
export class CancelRunInput {
  @Field(() => ID, { nullable: true, description: "Whose run; leave out for your own." })
  userId?: string | null;

  @Field(() => ID, { description: "Which run." })
  runId!: string;

  @Field(() => ID, { nullable: true, description: "Your name for this request: sent again, it is not carried out again." })
  idempotencyKey?: string | null;
}

@InputType("RetryMemoryUpdateInput", { description: "Which run to learn from again." })
export class RetryMemoryUpdateInput {
  @Field(() => ID, { nullable: true, description: "Whose run; leave out for your own." })
  userId?: string | null;

  @Field(() => ID, { description: "Which run." })
  runId!: string;

  @Field(() => ID, { nullable: true, description: "Your name for this request: sent again, it is not carried out again." })
  idempotencyKey?: string | null;
}
