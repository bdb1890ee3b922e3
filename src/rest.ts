/** The seed guide's two REST routes: a message to an agent, and what is remembered about a user. Words in snake_case, errors in one shape. */

import type { IncomingMessage, ServerResponse } from "node:http";
import { z } from "zod";
import { checkId, checkText, parseRunRequest } from "./agent/input.ts";
import type { Services } from "./agent/ports.ts";
import { normalizeTopic } from "./agent/topics.ts";
import type { Run, UserId } from "./agent/types.ts";
import { AppError, badInput, type Failure, httpStatus } from "./errors.ts";
import { allowMethods, errorBody, HttpError, numberParameter, sendJson } from "./http.ts";
import { type Access, actingUser } from "./identity/identity.ts";
import { type RequestBody, readRequestBody } from "./rest/body.ts";
import { sendEvents } from "./rest/event-stream.ts";
import { agnoEvents, type StreamSignals, untilRefused } from "./rest/stream.ts";
import { handleUserData } from "./rest/user-data.ts";
import { memoryView, runView } from "./rest/views.ts";

const ROUTE = /^\/v1\/agents\/([^/]+)\/(run|memories)$/;
/** The most memories on a page, which is also how many there are when nobody says, and the last page. */
const MAX_LIMIT = 100;
const MAX_PAGE = 100;

const runBody = z.object({
  message: z.string("is missing, or not text. Send what the user says."),
  user_id: z.string("must be text: who is speaking, such as alice@example.com. Everyone has memories of their own.").nullish(),
  session_id: z.string("must be text, such as session-123; leave it out to start a conversation.").nullish(),
  stream: z.boolean("must be true or false.").nullish(),
  on_disconnect: z
    .enum(["continue", "cancel"], "must be continue or cancel: what becomes of the run when you leave before the answer.")
    .nullish(),
});

/** Answers a REST request; false when the address is none of ours. When the client leaves, its run goes on, unless it asked otherwise. */
export async function handleRest(
  request: IncomingMessage,
  response: ServerResponse,
  url: URL,
  services: Services,
  access: Access,
  signals: StreamSignals,
): Promise<boolean> {
  const [, agent, action] = ROUTE.exec(url.pathname) ?? [];
  if (agent === undefined) {
    return handleUserData(request, response, url, services, access, signals.leaving);
  }
  if (action === "run") {
    allowMethods(request, "POST");
    await runAgent(agentIdOf(agent), request, response, services, access, signals);
  } else {
    allowMethods(request, "GET");
    sendJson(response, 200, await listMemories(agentIdOf(agent), url.searchParams, services, access));
  }
  return true;
}

/** Runs an agent, and waits for its reply or streams it. A run that was accepted and then failed is answered with its error and its ids. */
async function runAgent(
  agentId: string,
  request: IncomingMessage,
  response: ServerResponse,
  services: Services,
  access: Access,
  signals: StreamSignals,
): Promise<void> {
  const body = parseBody(await readRequestBody(request));
  const key = idempotencyKey(request);
  const after = lastEventId(request, key);
  const accepted = await services.runner.submit(
    parseRunRequest({
      agentId,
      userId: countedUser(access, body.user_id, services),
      sessionId: body.session_id == null ? null : checkId(body.session_id, "session_id"),
      message: body.message,
      idempotencyKey: key,
    }),
  );
  try {
    await (body.stream
      ? sendEvents(
          response,
          untilRefused(accepted, access, signals, (until) => agnoEvents(accepted, after, services, until)),
          signals.leaving,
        )
      : sendRun(response, accepted, services, signals));
  } finally {
    if (signals.leaving.aborted) {
      const wanted = body.on_disconnect === "cancel" ? "CANCEL" : "CONTINUE";
      services.runKeeper.clientLeft(accepted.userId, accepted.runId, wanted, signals.closing);
    }
  }
}

/** The user to act for; this is one of that user's requests. */
function countedUser({ identity }: Access, requested: string | null | undefined, { rates }: Services): UserId {
  const user = actingUser(identity, requested, "user_id");
  rates.count(user);
  return user;
}

/** Waits for the reply and sends it. */
async function sendRun(response: ServerResponse, accepted: Run, services: Services, signals: StreamSignals): Promise<void> {
  const run = await services.runner.wait(accepted.userId, accepted.runId, "REPLY", signals.leaving);
  const messages = await services.runs.messages(run);
  const failure = failureOf(run);
  const view = runView(run, messages.find((item) => item.role === "ASSISTANT")?.content ?? null);
  sendJson(response, failure ? httpStatus(failure.code) : 200, failure ? { ...view, ...errorBody({ failure }) } : view);
}

function parseBody({ form, value }: RequestBody): z.infer<typeof runBody> {
  const parsed = runBody.safeParse(form ? withSwitch(value as Record<string, string>) : value);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    if (!issue || issue.path.length === 0) {
      throw new AppError("BAD_USER_INPUT", "The body must be a JSON object with message and user_id.");
    }
    throw badInput(issue.path.join("."), issue.message);
  }
  return parsed.data;
}

/** A form says true and false in letters; other values stay as they are, to be refused. */
function withSwitch(fields: Record<string, string>): Record<string, unknown> {
  const { stream } = fields;
  return stream === "true" || stream === "false" ? { ...fields, stream: stream === "true" } : fields;
}

/** The client's name for this request: sent again, it gives the same run. */
function idempotencyKey({ headers }: IncomingMessage): string | null {
  const key = headers["idempotency-key"];
  return typeof key === "string" ? checkId(key, "Idempotency-Key") : null;
}

/** After which event a stream goes on; 0: from the start. */
function lastEventId({ headers }: IncomingMessage, key: string | null): number {
  const id = headers["last-event-id"];
  if (id === undefined) {
    return 0;
  }
  if (key === null) {
    throw badInput("Last-Event-ID", "goes on with an earlier stream. Send the Idempotency-Key of that request too, or leave it out.");
  }
  if (typeof id !== "string" || !/^\d{1,9}$/.test(id)) {
    throw badInput("Last-Event-ID", "must be the id of an event of this run, a whole number.");
  }
  return Number(id);
}

/** Why a run has no complete reply; null when it has one. */
function failureOf(run: Run): Failure | null {
  if (run.status === "CANCELLED") {
    return { code: "CANCELLED", message: "Someone stopped this run. Send the message again.", retryable: false, errorId: null };
  }
  return run.error;
}

/** A user's active memories, the newest first. */
async function listMemories(agentId: string, query: URLSearchParams, services: Services, access: Access): Promise<object[]> {
  const owner = countedUser(access, query.get("user_id"), services);
  services.agents.get(agentId);
  const topic = query.get("topic");
  const filter = { status: ["ACTIVE" as const], topics: topic === null ? null : [normalizeTopic(checkText(topic, "topic"))] };
  const first = numberParameter(query, "limit", MAX_LIMIT, MAX_LIMIT);
  let page = await services.memories.list(owner, filter, "NEWEST", { first });
  for (let skip = numberParameter(query, "page", 1, MAX_PAGE); skip > 1; skip -= 1) {
    if (!page.hasNextPage) {
      return [];
    }
    page = await services.memories.list(owner, filter, "NEWEST", { first, after: page.items.at(-1)?.cursor });
  }
  return page.items.map(({ node }) => memoryView(node));
}

function agentIdOf(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    throw new HttpError(404, "NOT_FOUND", "There is no such address: its percent signs do not stand for UTF-8.");
  }
}
