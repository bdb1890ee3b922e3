import { Field, Int, ObjectType } from "type-graphql";
import type { BreakerState, StructuredOutput } from "../agent/ports.ts";
import type { ModelRole, ModelStatus, Problem, ServerStatus, Severity } from "../agent/status.ts";
import { defineEnum } from "./enum.ts";
import { DateTime } from "./scalars.ts";

export const SeverityEnum = defineEnum<Severity>("Severity", "How bad a problem is.", {
  ERROR: "Something does not work.",
  WARNING: "Works, but not as well as it could.",
});

export const ModelRoleEnum = defineEnum<ModelRole>("ModelRole", "What a model is used for.", {
  CHAT: "Writing replies.",
  MEMORY: "Picking out memories.",
  SUMMARY: "Writing summaries of conversations.",
  EMBEDDING: "Searching by meaning.",
});

export const StructuredOutputEnum = defineEnum<StructuredOutput>("StructuredOutput", "How a model returns structured answers.", {
  STRICT_SCHEMA: "Its server keeps it to a JSON schema.",
  TEXT: "It writes text, which is read as JSON. Expect fewer memories; a server that takes schemas helps.",
});

@ObjectType("Problem", { description: "Something wrong with the server." })
export class ProblemType {
  @Field(() => SeverityEnum, { description: "How bad it is." })
  severity!: Problem["severity"];

  @Field(() => String, { description: "What is wrong." })
  message!: Problem["message"];

  @Field(() => String, { description: "What to do about it." })
  fix!: Problem["fix"];
}

@ObjectType("ModelStatus", { description: "A model and what it was seen to do." })
export class ModelStatusType {
  @Field(() => ModelRoleEnum, { description: "What it is used for." })
  role!: ModelStatus["role"];

  @Field(() => String, {
    nullable: true,
    description: "Its name on the model server; null while none is set and the server lists none that chats.",
  })
  model!: ModelStatus["model"];

  @Field(() => Boolean, { description: "True when the model server has it: it was listed, or it has answered." })
  available!: ModelStatus["available"];

  @Field(() => StructuredOutputEnum, {
    nullable: true,
    description: "How it returns structured answers; null for embedding models, and before its first.",
  })
  structuredOutput!: ModelStatus["structuredOutput"];

  @Field(() => DateTime, { nullable: true, description: "When the model server was last asked; null when not yet." })
  checkedAt!: ModelStatus["checkedAt"];
}

export const BreakerStateEnum = defineEnum<BreakerState>("BreakerState", "Whether requests are sent to the model server.", {
  CLOSED: "They are.",
  OPEN: "It failed again and again, so it is left alone for a moment: messages are refused at once, background work waits.",
  HALF_OPEN: "One request is trying it; when that is answered, all are sent.",
});

@ObjectType("ModelBreaker", { description: "Keeps requests from a model server that fails again and again." })
export class ModelBreakerType {
  @Field(() => BreakerStateEnum, { description: "Whether requests are sent." })
  state!: ServerStatus["modelBreaker"]["state"];

  @Field(() => DateTime, { description: "Since when they are sent, or are not." })
  since!: ServerStatus["modelBreaker"]["since"];

  @Field(() => DateTime, { nullable: true, description: "From when on the server is tried again; null while requests are sent." })
  nextTryAt!: ServerStatus["modelBreaker"]["nextTryAt"];
}

@ObjectType("DatabaseStatus", { description: "The database and what it can do." })
export class DatabaseStatusType {
  @Field(() => Boolean, { description: "True for the database inside this process, false for a Postgres server." })
  embedded!: boolean;

  @Field(() => Boolean, { description: "True when it answered." })
  available!: boolean;

  @Field(() => String, {
    nullable: true,
    description: "The version of Postgres; null when it does not answer, and for users where tokens are asked for.",
  })
  version!: string | null;

  @Field(() => Boolean, { description: "True when it can search by meaning." })
  vectorSearch!: boolean;
}

@ObjectType("QueueStatus", { description: "Work that is done beside the replies, for all users together." })
export class QueueStatusType {
  @Field(() => Int, { description: "Jobs waiting." })
  waiting!: number;

  @Field(() => Int, { description: "Jobs being done." })
  running!: number;

  @Field(() => Int, { description: "Jobs given up after several tries." })
  failed!: number;

  @Field(() => Int, { nullable: true, description: "How long the first has waited, in seconds; null when none waits." })
  oldestWaitingSeconds!: number | null;
}

@ObjectType("Limits", { description: "How much may be sent at once." })
export class LimitsType {
  @Field(() => Int, { description: "The longest message, in bytes of UTF-8." })
  messageBytes!: number;

  @Field(() => Int, { description: "The longest memory, in UTF-16 units, as JavaScript counts." })
  memoryLength!: number;

  @Field(() => Int, { description: "The longest id of a user or a conversation, in bytes of UTF-8." })
  idBytes!: number;

  @Field(() => Int, { description: "The most memories in one request." })
  batchSize!: number;
}

@ObjectType("ServerStatus", { description: "How the server is doing. Holds no passwords and no keys." })
export class ServerStatusType {
  @Field(() => [ProblemType], {
    description:
      "Everything that is wrong, worst first, each with what to do. Empty when all is well. Users are told only that something is, where tokens are asked for.",
  })
  problems!: ServerStatus["problems"];

  @Field(() => String, { description: "The version of this server." })
  version!: ServerStatus["version"];

  @Field(() => Boolean, {
    description:
      "True when requests need a token. False on a server that listens to its own machine only: there every request has to name its userId.",
  })
  authentication!: ServerStatus["authentication"];

  @Field(() => [ModelStatusType], { description: "The models in use and what they were seen to do." })
  models!: ServerStatus["models"];

  @Field(() => ModelBreakerType, { description: "Whether requests are sent to the model server." })
  modelBreaker!: ServerStatus["modelBreaker"];

  @Field(() => DatabaseStatusType, { description: "The database." })
  database!: ServerStatus["database"];

  @Field(() => QueueStatusType, {
    nullable: true,
    description: "Work that is done beside the replies. Null for users where tokens are asked for: it counts everybody's.",
  })
  queue!: ServerStatus["queue"] | null;

  @Field(() => LimitsType, { description: "How much may be sent at once." })
  limits!: ServerStatus["limits"];
}
