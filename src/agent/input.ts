/** Checks of everything a client sends, before anything is stored or a model is asked. */

import { createHash } from "node:crypto";
import { badInput } from "../errors.ts";
import type { MemoryMode, OnBusy, RequestKey, RunRequest, UserId } from "./types.ts";

/** The longest id, in bytes of UTF-8. */
export const MAX_ID_BYTES = 256;
/** The longest message, in bytes of UTF-8. */
export const MAX_MESSAGE_BYTES = 64 * 1024;
/** The longest memory, in UTF-16 units. */
export const MAX_MEMORY_LENGTH = 2_000;
/** How many topics a memory may have, and how long each may be, in UTF-16 units. */
export const MAX_TOPICS = 16;
export const MAX_TOPIC_LENGTH = 64;

/** A checked user id. Throws BAD_USER_INPUT. */
export function userId(value: string, path = "userId"): UserId {
  return checkId(value, path) as UserId;
}

/** A checked id of any other kind: 1 to 256 bytes of text a database can hold, kept exactly as sent. Throws BAD_USER_INPUT. */
export function checkId(value: string, path: string): string {
  if (value === "") {
    throw badInput(path, "is empty. Send any text of 1 to 256 bytes, such as alice@example.com or session-123.");
  }
  checkText(value, path);
  if (Buffer.byteLength(value) > MAX_ID_BYTES) {
    throw badInput(path, `is longer than ${MAX_ID_BYTES} bytes. Send a shorter id, or a hash of yours.`);
  }
  return value;
}

/** Refuses text that Postgres cannot hold: NUL characters and halves of surrogate pairs. Throws BAD_USER_INPUT. */
export function checkText(value: string, path: string): string {
  if (value.includes("\0")) {
    throw badInput(path, "contains a NUL character (\\u0000), which cannot be stored. Remove it.");
  }
  if (!value.isWellFormed()) {
    throw badInput(path, "contains half of a surrogate pair, which is not valid Unicode. Send well-formed text.");
  }
  return value;
}

/** What transports hand over: anything may still be wrong with it. */
export interface RunRequestInput {
  userId: UserId;
  agentId: string;
  sessionId?: string | null | undefined;
  message: string;
  idempotencyKey?: string | null | undefined;
  memory?: MemoryMode | undefined;
  onBusy?: OnBusy | undefined;
}

/** A checked request. Throws BAD_USER_INPUT naming the argument. */
export function parseRunRequest(input: RunRequestInput): RunRequest {
  if (input.message.trim() === "") {
    throw badInput("message", "is empty. Send what the user says.");
  }
  checkText(input.message, "message");
  if (Buffer.byteLength(input.message) > MAX_MESSAGE_BYTES) {
    throw badInput("message", `is longer than ${MAX_MESSAGE_BYTES / 1024} KB. Send a shorter one; add long texts as documents.`);
  }
  return {
    userId: input.userId,
    agentId: checkId(input.agentId, "agentId"),
    sessionId: input.sessionId == null ? null : checkId(input.sessionId, "sessionId"),
    message: input.message,
    idempotencyKey: input.idempotencyKey == null ? null : checkId(input.idempotencyKey, "idempotencyKey"),
    memory: input.memory ?? "ON",
    onBusy: input.onBusy ?? "ENQUEUE",
  };
}

/** Hash of what a request asks for, its key left out. */
export function requestFingerprint(request: RunRequest): string {
  const { agentId, sessionId, message, memory, onBusy } = request;
  return hashOf([agentId, sessionId, message, memory, onBusy]);
}

/** The checked key of a request that writes; null without one. `asked`: all it asks for, but for the user. Throws BAD_USER_INPUT. */
export function requestKey(key: string | null | undefined, operation: string, asked: object): RequestKey | null {
  return key == null ? null : { key: checkId(key, "idempotencyKey"), operation, fingerprint: hashOf(asked) };
}

function hashOf(asked: object): string {
  return createHash("sha256").update(JSON.stringify(asked)).digest("base64url");
}
