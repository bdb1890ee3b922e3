/**
 * The file in which a user's data leaves and comes back: one JSON document, a record a line, in the order in which records
 * lean on each other. Fields have the names of the tables' columns. The same data is always the same bytes.
 */

import { z } from "zod";
import { AppError, badInput, ERROR_CODES } from "../errors.ts";
import { MAX_ID_BYTES, MAX_MEMORY_LENGTH, MAX_MESSAGE_BYTES } from "./input.ts";
import type { RunEvent } from "./types.ts";
import { CHANGE_KINDS, MEMORY_KINDS, MEMORY_ORIGINS, MEMORY_STATUSES, MEMORY_UPDATE_STATUSES, RUN_STATUSES, SEARCH_ARMS } from "./types.ts";

const FORMAT = "recollect-user";
const VERSION = 1;

/** What is kept of an ended run's events when its pieces are gone, and so what an export holds of them. */
export const LASTING_EVENTS = [
  "RunFinished",
  "RunError",
  "RunCancelled",
  "MemoryUpdate",
  "MemoryUpdateFailed",
] as const satisfies RunEvent["type"][];

const ENDED = RUN_STATUSES.filter((status) => status !== "QUEUED" && status !== "RUNNING" && status !== "PAUSED");
/** Room for a thousand million more of whatever is counted. */
const MAX_COUNT = 2 ** 30;
const MAX_REPLY_LENGTH = 1_100_000;
const MAX_TEXT_LENGTH = 20_000;
const MAX_ITEMS = 1_000;
const MAX_DEPTH = 8;

const storableText = (value: string) => value.isWellFormed() && !value.includes("\0");
const text = (most = MAX_TEXT_LENGTH) => z.string().max(most).refine(storableText, "holds a NUL character or half of a surrogate pair");
const id = text(MAX_ID_BYTES)
  .min(1)
  .refine((value) => Buffer.byteLength(value) <= MAX_ID_BYTES, `is longer than ${MAX_ID_BYTES} bytes`);
const count = z.int().min(0).max(MAX_COUNT);
const score = z.number().min(-1e9).max(1e9);
/** As Postgres writes a time in UTC, to the microsecond. */
const time = z
  .string()
  .regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?\+00:00$/, "is no time as an export writes it")
  .refine((value) => isReal(value), "is no time");
const texts = z.array(text()).max(MAX_ITEMS);
/** More than fit into the largest document. */
const MAX_RECORDS = 400_000;

const json = z.unknown().refine((value) => isStorable(value, MAX_DEPTH), "holds text that cannot be stored, or is nested too deep");

const failure = z.strictObject({ code: z.enum(ERROR_CODES), message: text(), retryable: z.boolean(), errorId: text().nullable() });
const usage = z.strictObject({ inputTokens: count, outputTokens: count, estimated: z.boolean() });
const recalled = z.strictObject({
  memoryId: id,
  text: text(),
  score: score.nullable(),
  ranks: z.array(z.strictObject({ arm: z.enum(SEARCH_ARMS), rank: count })).max(SEARCH_ARMS.length),
  missedBecause: z.enum(["TOO_WEAK", "NO_ROOM", "DUPLICATE"]).nullable(),
});
const recall = z.strictObject({
  complete: z.boolean(),
  used: z.array(recalled).max(MAX_ITEMS),
  nearMisses: z.array(recalled).max(MAX_ITEMS),
  arms: z.array(z.enum(SEARCH_ARMS)).max(SEARCH_ARMS.length),
});
const summary = z.strictObject({ summary: text(), topics: texts, updatedAt: z.iso.datetime({ precision: 3 }), coveredTurn: count });
const memoryText = text(MAX_MEMORY_LENGTH);
const version = z.strictObject({
  version: count,
  memory: memoryText,
  topics: texts,
  status: z.enum(MEMORY_STATUSES),
  pinned: z.boolean(),
  // As JavaScript writes it, or as Postgres does.
  expiresAt: z.union([z.iso.datetime({ precision: 3 }), time]).nullable(),
});

/** The records, in the order in which they are written and taken in. */
export const RECORDS = {
  user: z.strictObject({ session_sequence: count, memory_sequence: count, created_at: time }),
  session: z.strictObject({
    session_id: id,
    agent_id: id,
    name: text().nullable(),
    summary: summary.nullable(),
    state: json,
    turns: count,
    sequence: count,
    created_at: time,
    updated_at: time,
  }),
  run: z.strictObject({
    run_id: id,
    session_id: id,
    agent_id: id,
    turn: count.min(1),
    status: z.enum(ENDED),
    memory: z.enum(["ON", "OFF"]),
    model: text().nullable(),
    recall: recall.nullable(),
    usage: usage.nullable(),
    error: failure.nullable(),
    memory_status: z.enum(MEMORY_UPDATE_STATUSES).exclude(["PENDING"]),
    memory_error: failure.nullable(),
    idempotency_key: id.nullable(),
    fingerprint: id,
    last_sequence: count,
    created_at: time,
    finished_at: time,
  }),
  message: z.strictObject({
    message_id: id,
    session_id: id,
    run_id: id,
    role: z.enum(["USER", "ASSISTANT"]),
    content: text(MAX_REPLY_LENGTH),
    complete: z.boolean(),
    sequence: count.min(1),
    created_at: time,
  }),
  event: z.strictObject({
    run_id: id,
    sequence: count.min(1),
    type: z.enum(LASTING_EVENTS),
    data: z.union([
      z.strictObject({ usage }),
      z.strictObject({ error: failure }),
      z.strictObject({ changeIds: z.array(id).max(MAX_ITEMS) }),
      z.strictObject({}),
    ]),
    at: time,
  }),
  memory: z.strictObject({
    memory_id: id,
    memory: memoryText,
    topics: texts,
    agent_id: id.nullable(),
    input: text(MAX_MESSAGE_BYTES).nullable(),
    kind: z.enum(MEMORY_KINDS),
    subject: text().nullable(),
    slot: text().nullable(),
    status: z.enum(MEMORY_STATUSES),
    origin: z.enum(MEMORY_ORIGINS),
    fingerprint: text(MAX_MEMORY_LENGTH * 4),
    valid_from: time,
    valid_to: time.nullable(),
    superseded_by: id.nullable(),
    evidence_count: count,
    last_confirmed_at: time,
    expires_at: time.nullable(),
    pinned: z.boolean(),
    feedback: z.enum(["GOOD", "BAD"]).nullable(),
    version: count,
    sequence: count,
    confirmed_sequence: count,
    created_at: time,
    updated_at: time,
  }),
  evidence: z.strictObject({
    memory_id: id,
    evidence_id: id,
    message_id: id.nullable(),
    quote: text(MAX_MESSAGE_BYTES),
    quote_start: count,
    quote_end: count,
    said_at: time,
  }),
  change: z.strictObject({
    sequence: count.min(1),
    memory_id: id,
    kind: z.enum(CHANGE_KINDS),
    before: version.nullable(),
    after: version.nullable(),
    quote: text(MAX_MESSAGE_BYTES).nullable(),
    run_id: id.nullable(),
    undo_id: id.nullable(),
    at: time,
  }),
  usage: z.strictObject({
    day: z.iso.date(),
    purpose: z.enum(["reply", "memory", "summary"]),
    calls: count,
    input_tokens: z.int().min(0),
    output_tokens: z.int().min(0),
  }),
};

export type RecordKind = keyof typeof RECORDS;
export const RECORD_KINDS = Object.keys(RECORDS) as RecordKind[];

/** Rows by kind. */
export type UserRecords = { [Kind in RecordKind]: z.infer<(typeof RECORDS)[Kind]>[] };

/** The columns of a kind, as the tables name them. */
export function columnsOf(kind: RecordKind): string[] {
  return Object.keys(RECORDS[kind].shape);
}

/** The text of a document, a piece at a time. */
export function* writeDocument(userId: string, records: Iterable<{ kind: RecordKind; row: object }>): Generator<string, void> {
  yield `{"format":${JSON.stringify(FORMAT)},"version":${VERSION},"user_id":${JSON.stringify(userId)},"records":[`;
  let between = "\n";
  for (const { kind, row } of records) {
    yield `${between}${JSON.stringify({ record: kind, ...row })}`;
    between = ",\n";
  }
  yield "\n]}\n";
}

const DOCUMENT = z.strictObject({
  format: z.literal(FORMAT),
  version: z.literal(VERSION),
  user_id: id,
  // Each is read by its own shape, one after the other: the first fault is enough.
  records: z.array(z.unknown()).max(MAX_RECORDS),
});

const RECORD = z.looseObject({ record: z.enum(RECORD_KINDS) });

/** The records of a document. Throws BAD_USER_INPUT that names the first fault. */
export function readDocument(document: unknown): UserRecords {
  if (typeof document === "object" && document !== null && "version" in document && document.version !== VERSION) {
    throw badInput(
      "version",
      `is not ${VERSION}, the only one this server reads. Export from, or import into, a server of the same version.`,
    );
  }
  const { records } = checked(DOCUMENT, document, []);
  const found = Object.fromEntries(RECORD_KINDS.map((kind) => [kind, []])) as unknown as UserRecords;
  for (const [index, item] of records.entries()) {
    const { record, ...row } = checked(RECORD, item, ["records", index]);
    (found[record] as object[]).push(checked(RECORDS[record], row, ["records", index]));
  }
  checkWhole(found);
  return found;
}

function checked<Schema extends z.ZodType>(schema: Schema, value: unknown, path: PropertyKey[]): z.infer<Schema> {
  const parsed = schema.safeParse(value);
  if (parsed.success) {
    return parsed.data;
  }
  const [issue] = parsed.error.issues;
  const place = [...path, ...(issue?.path ?? [])].map(String).join(".");
  throw badInput(place || "document", `${(issue?.message ?? "is wrong").slice(0, 300)}. Send what an export gave, unchanged.`);
}

/** What the tables themselves do not hold together. */
function checkWhole({ user, session, run, event, change }: UserRecords): void {
  const turns = new Map(session.map(({ session_id, turns }) => [session_id, turns]));
  const ends = new Map(run.map(({ run_id, last_sequence }) => [run_id, last_sequence]));
  const whole =
    user.length <= 1 &&
    run.every(({ session_id, turn }) => turn <= (turns.get(session_id) ?? 0)) &&
    event.every(({ run_id, sequence }) => sequence <= (ends.get(run_id) ?? 0)) &&
    change.every(({ sequence }) => sequence <= (user[0]?.memory_sequence ?? 0));
  if (!whole) {
    throw contradiction();
  }
}

/** For a document whose records do not fit each other. */
export function contradiction(cause?: unknown): AppError {
  const message =
    "The document contradicts itself: records name others that are missing, or are there twice. Send what an export gave, unchanged.";
  return new AppError("BAD_USER_INPUT", message, { cause });
}

function isReal(value: string): boolean {
  const moment = new Date(value.replace(/(\.\d{3})\d+/, "$1").replace("+00:00", "Z"));
  return !Number.isNaN(moment.getTime()) && moment.toISOString().slice(0, 19) === value.slice(0, 19);
}

function isStorable(value: unknown, depth: number): boolean {
  if (typeof value === "string") {
    return value.length <= MAX_TEXT_LENGTH && storableText(value);
  }
  if (typeof value !== "object" || value === null) {
    return true;
  }
  return depth > 0 && Object.entries(value).every(([name, part]) => storableText(name) && isStorable(part, depth - 1));
}
