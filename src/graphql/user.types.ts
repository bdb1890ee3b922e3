import { Field, ID, InputType, Int, ObjectType } from "type-graphql";
import { DateTime, JsonValue } from "./scalars.ts";

@InputType("ExportUserInput", { description: "Whose data to hand out." })
export class ExportUserInput {
  @Field(() => ID, { nullable: true, description: "Whose data; leave out for your own." })
  userId?: string | null;
}

@ObjectType("ExportUserPayload", { description: "Where everything stored about a user can be fetched." })
export class ExportUserPayloadType {
  @Field(() => String, {
    description:
      "The path on this server: send GET to it, with the same token. It gives one JSON document, as it is at that moment; the same data is always the same bytes.",
  })
  path!: string;
}

@InputType("ImportUserInput", { description: "What to take in." })
export class ImportUserInput {
  @Field(() => ID, { nullable: true, description: "Into whose account; leave out for your own." })
  userId?: string | null;

  @Field(() => JsonValue, {
    description:
      "What an export gave, unchanged. One that makes the request larger than 256 KB is sent by POST to /v1/users/{userId}/import.",
  })
  document!: unknown;
}

@ObjectType("ImportUserPayload", { description: "What was taken in." })
export class ImportUserPayloadType {
  @Field(() => Int, { description: "How many records are new." })
  importedCount!: number;

  @Field(() => Int, { description: "How many were there already: all of them, or none." })
  skippedCount!: number;
}

@InputType("EraseUserInput", { description: "Whose data to erase." })
export class EraseUserInput {
  @Field(() => ID, { nullable: true, description: "Whose data; leave out for your own." })
  userId?: string | null;

  @Field(() => ID, { description: "The same user's id once more, so that it is no accident." })
  confirmUserId!: string;
}

@ObjectType("ErasedCount", { description: "How much was erased from one table." })
export class ErasedCountType {
  @Field(() => String, { description: "The table, such as agno_memories." })
  table!: string;

  @Field(() => Int, { description: "How many rows were erased." })
  erasedCount!: number;
}

@ObjectType("EraseUserPayload", { description: "The proof that a user's data is gone." })
export class EraseUserPayloadType {
  @Field(() => ID, { description: "Names the receipt that the server keeps. It holds these numbers, and nothing that names the user." })
  receiptId!: string;

  @Field(() => DateTime, { description: "When it was erased." })
  erasedAt!: Date;

  @Field(() => [ErasedCountType], { description: "What was erased, table by table." })
  counts!: ErasedCountType[];

  @Field(() => Int, { description: "How many rows of this user are left in all tables, counted afterwards: 0." })
  remainingCount!: number;
}
