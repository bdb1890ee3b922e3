import { type ClassType, Field, ID, Int, InterfaceType, ObjectType } from "type-graphql";
import type { MemoryChange, Message, Recall, Run, RunEvent, TokenUsage, UserId } from "../agent/types.ts";
import type { Failure } from "../errors.ts";
import { FailureType } from "./failure.types.ts";
import { MemoryChangeType } from "./memory.types.ts";
import { RecallType } from "./recall.types.ts";
import { RunType, TokenUsageType } from "./run.types.ts";
import { DateTime } from "./scalars.ts";
import { MessageRoleEnum } from "./session.types.ts";

/** An event on its way to its user. */
export type UserRunEvent = RunEvent & { userId: UserId };

@InterfaceType("RunEvent", {
  description:
    "Something that happened in a run. New sorts may be added: skip those you do not know. Events have no `id`: keep them in your own state, not in a cache.",
  resolveType: (event: RunEvent) => EVENT_TYPES[event.type],
})
export abstract class RunEventType {
  @Field(() => ID, { description: "Which run." })
  runId!: RunEvent["runId"];

  @Field(() => Int, {
    description: "Its place in the run: 1, 2, 3 and so on without a gap, but for those a RunSnapshot stands for. The place to go on from.",
  })
  sequence!: RunEvent["sequence"];

  @Field(() => DateTime, { description: "When it happened." })
  at!: RunEvent["at"];
}

@ObjectType("RunStarted", {
  implements: RunEventType,
  description: "The agent begins to answer. Always the first event, unless the run is cancelled or fails before its turn comes.",
})
export class RunStartedType {
  @Field(() => RunType, { description: "The run, as it is now: it tells you the `sessionId` when you gave none." })
  run!: Run;
}

@ObjectType("MemoriesRecalled", { implements: RunEventType, description: "What the agent was given from memory." })
export class MemoriesRecalledType {
  @Field(() => RecallType, { description: "What was given, and what nearly was." })
  recall!: Recall;
}

@ObjectType("ReasoningDelta", { implements: RunEventType, description: "A piece of the model's thinking, when it shows it." })
export class ReasoningDeltaType {
  @Field(() => String, { description: "The next piece: append it." })
  delta!: string;
}

@ObjectType("TextMessageStart", { implements: RunEventType, description: "A message of the agent begins: start with empty text." })
export class TextMessageStartType {
  @Field(() => ID, { description: "Which message." })
  messageId!: string;

  @Field(() => MessageRoleEnum, { description: "Who speaks: the agent." })
  role!: Message["role"];
}

@ObjectType("TextMessageContent", { implements: RunEventType, description: "A piece of the agent's message." })
export class TextMessageContentType {
  @Field(() => ID, { description: "Which message." })
  messageId!: string;

  @Field(() => String, { description: "The next piece: append it." })
  delta!: string;
}

@ObjectType("TextMessageEnd", { implements: RunEventType, description: "The agent's message is written to its end." })
export class TextMessageEndType {
  @Field(() => ID, { description: "Which message." })
  messageId!: string;
}

@ObjectType("ToolCallStart", { implements: RunEventType, description: "The agent begins to use a tool." })
export class ToolCallStartType {
  @Field(() => ID, { description: "Which use of a tool." })
  toolCallId!: string;

  @Field(() => String, { description: "Which tool." })
  toolCallName!: string;
}

@ObjectType("ToolCallArgs", { implements: RunEventType, description: "A piece of what the tool is called with." })
export class ToolCallArgsType {
  @Field(() => ID, { description: "Which use of a tool." })
  toolCallId!: string;

  @Field(() => String, { description: "The next piece of JSON text: append it." })
  delta!: string;
}

@ObjectType("ToolCallEnd", { implements: RunEventType, description: "The tool is called." })
export class ToolCallEndType {
  @Field(() => ID, { description: "Which use of a tool." })
  toolCallId!: string;
}

@ObjectType("ToolCallResult", { implements: RunEventType, description: "What the tool gave back." })
export class ToolCallResultType {
  @Field(() => ID, { description: "Which use of a tool." })
  toolCallId!: string;

  @Field(() => String, { description: "The answer, as text." })
  content!: string;

  @Field(() => Boolean, { description: "True when the tool failed; `content` then says why." })
  failed!: boolean;
}

@ObjectType("RunSnapshot", {
  implements: RunEventType,
  description: "The beginning of this run is no longer kept piece by piece: replace the text you have with this, and go on.",
})
export class RunSnapshotType {
  @Field(() => RunType, {
    description: "The run, as it is now, with all of `reply`. Skip later events up to its `lastSequence`: they are in it.",
  })
  run!: Run;
}

@ObjectType("RunFinished", {
  implements: RunEventType,
  description: "The reply is complete and stored. Let the user write again; memory events may follow.",
})
export class RunFinishedType {
  @Field(() => String, { description: "The whole reply." })
  reply!: string;

  @Field(() => TokenUsageType, { description: "Tokens spent on it." })
  usage!: TokenUsage;

  @Field(() => RunType, { description: "The run, as it is now. Select `messages` here and the cache has the new messages." })
  run!: Run;
}

@ObjectType("RunError", {
  implements: RunEventType,
  description: "The run failed, or the server stopped in the middle of it. No reply follows.",
})
export class RunErrorType {
  @Field(() => FailureType, { description: "What went wrong, and what to do." })
  error!: Failure;

  @Field(() => RunType, { description: "The run, as it is now, with what was written." })
  run!: Run;
}

@ObjectType("RunCancelled", { implements: RunEventType, description: "Someone stopped the run. No reply follows." })
export class RunCancelledType {
  @Field(() => RunType, { description: "The run, as it is now, with what was written." })
  run!: Run;
}

@ObjectType("MemoryUpdate", { implements: RunEventType, description: "What was learned from the message. Comes after the reply." })
export class MemoryUpdateType {
  @Field(() => [MemoryChangeType], { description: "What changed; empty when there was nothing to learn." })
  changes!: MemoryChange[];
}

@ObjectType("MemoryUpdateFailed", {
  implements: RunEventType,
  description: "Learning from the message failed. The reply is not affected; `retryMemoryUpdate` tries again.",
})
export class MemoryUpdateFailedType {
  @Field(() => FailureType, { description: "What went wrong, and what to do." })
  error!: Failure;
}

/** Each event of the domain with its type here; the compiler asks for all of them. */
const EVENT_TYPES: Record<RunEvent["type"], ClassType> = {
  RunStarted: RunStartedType,
  MemoriesRecalled: MemoriesRecalledType,
  ReasoningDelta: ReasoningDeltaType,
  TextMessageStart: TextMessageStartType,
  TextMessageContent: TextMessageContentType,
  TextMessageEnd: TextMessageEndType,
  ToolCallStart: ToolCallStartType,
  ToolCallArgs: ToolCallArgsType,
  ToolCallEnd: ToolCallEndType,
  ToolCallResult: ToolCallResultType,
  RunSnapshot: RunSnapshotType,
  RunFinished: RunFinishedType,
  RunError: RunErrorType,
  RunCancelled: RunCancelledType,
  MemoryUpdate: MemoryUpdateType,
  MemoryUpdateFailed: MemoryUpdateFailedType,
};
