import { Field, ID, ObjectType } from "type-graphql";
import type { ErrorCode, Failure } from "../errors.ts";
import { defineEnum } from "./enum.ts";

export const ErrorCodeEnum = defineEnum<ErrorCode>(
  "ErrorCode",
  "Sorts of fault: in `Failure.code`, in `errors[].extensions.code`, and in REST. New ones may be added; treat an unknown one as INTERNAL.",
  {
    BAD_USER_INPUT: "Something in the request is missing or wrong; where one argument is at fault, `extensions.fields` names it.",
    UNAUTHENTICATED: "No token, or one that is not valid.",
    FORBIDDEN: "The token may not act for this user, or may not do this. Says nothing about whether the user exists.",
    NOT_FOUND: "There is no such thing, or it is not yours.",
    CONFLICT: "Someone else changed it first (`extensions.currentVersion`), or the conversation is busy and you asked not to wait.",
    IDEMPOTENCY_CONFLICT: "The idempotency key was used before with other arguments.",
    PAYLOAD_TOO_LARGE: "The request is larger than this server takes.",
    CANCELLED: "Someone stopped it before it was done.",
    RATE_LIMITED:
      "Too many requests, runs or operations at a time; `extensions.retryAfterSeconds` says when to come back, `extensions.limit` what the most is.",
    BUDGET_EXCEEDED:
      "What a user may use up is used up: the tokens of today (`extensions.retryAfterSeconds` says when to come back), or the room for memories.",
    MODEL_UNAVAILABLE: "The model server cannot be reached, or has no such model.",
    MODEL_BAD_RESPONSE: "The model server's answer was cut off or made no sense.",
    MODEL_TIMEOUT: "The model server took too long.",
    RUN_INTERRUPTED: "The server stopped in the middle of this run.",
    SERVICE_UNAVAILABLE: "The database is away or the server is shutting down.",
    STORAGE_FULL: "The disk is full.",
    INTERNAL: "A fault of the server; `errorId` finds it in the log.",
  },
);

@ObjectType("Failure", {
  description:
    "What went wrong, as data. Requests that cannot be accepted carry the same words in `errors[].message` and `errors[].extensions`.",
})
export class FailureType {
  @Field(() => ErrorCodeEnum, { description: "The sort of fault, for programs." })
  code!: Failure["code"];

  @Field(() => String, { description: "What happened and what to do about it, for people." })
  message!: Failure["message"];

  @Field(() => Boolean, { description: "True when the same request may work later." })
  retryable!: Failure["retryable"];

  @Field(() => ID, {
    nullable: true,
    description: "Quote this to the operator; it is in the server's log. Null when there is nothing to look up.",
  })
  errorId!: Failure["errorId"];
}
