/** The seed guide's two REST routes: a message to an agent, and what is remembered about a user. Words in snake_case, errors in one shape. */

import type { IncomingMessage, ServerResponse } from "node:http";
import { z } from "zod";
import { checkText, parseRunRequest, userId } from "./agent/input.ts";
import type { Services } from "./agent/ports.ts";
import { normalizeTopic } from "./agent/topics.ts";
import type { Memory, Run } from "./agent/types.ts";
import { AppError, badInput, type Failure, httpStatus } from "./errors.ts";
import { allowMethods, errorBody, HttpError, numberParameter, readJson, sendJson } from "./http.ts";

const ROUTE = /^\/v1\/agents\/([^/]+)\/(run|memories)$/;
/** The most memories on a page, which is also how many there are when nobody says, and the last page. */
const MAX_LIMIT = 100;
const MAX_PAGE = 100;

const runBody = z.object({
  message: z.string("is missing, or not text. Send what the user says."),
  user_id: z.string("is missing, or not text. Send who is speaking, such as alice@example.com: everyone has memories of their own."),
  session_id: z.string("must be text, such as session-123; leave it out to start a conversation.").nullish(),
  stream: z.boolean("must be true or false.").nullish(),
});

/** Answers a REST request; false when the address is none of ours. `signal` aborts when the client leaves: its run goes on. */
export async function handleRest(
  request: IncomingMessage,
  response: ServerResponse,
  url: URL,
  services: Services,
  signal: AbortSignal,
): Promise<boolean> {
  const [, agent, action] = ROUTE.exec(url.pathname) ?? [];
  if (agent === undefined) {
    return false;
  }
  if (action === "run") {
    allowMethods(request, "POST");
    const { status, body } = await runAgent(agentIdOf(agent), await readJson(request), services, signal);
    sendJson(response, status, body);
  } else {
    allowMethods(request, "GET");
    sendJson(response, 200, await listMemories(agentIdOf(agent), url.searchParams, services));
  }
  return true;
}

/** Runs an agent and waits for its reply. A run that was accepted and then failed is answered with its error and its ids. */
async function runAgent(
  agentId: string,
  body: unknown,
  services: Services,
  signal: AbortSignal,
): Promise<{ status: number; body: unknown }> {
  const input = parseBody(body);
  if (input.stream) {
    throw badInput(
      "stream",
      "is not offered over REST. Leave it out, or use the GraphQL subscription runAgent at /graphql, which streams.",
    );
  }
  const { message, session_id: sessionId } = input;
  const accepted = await services.runner.submit(parseRunRequest({ agentId, userId: userId(input.user_id, "user_id"), sessionId, message }));
  const run = await services.runner.wait(accepted.userId, accepted.runId, "REPLY", signal);
  const messages = await services.runs.messages(run);
  const failure = failureOf(run);
  const view = runView(run, messages.find((item) => item.role === "ASSISTANT")?.content ?? null);
  return failure ? { status: httpStatus(failure.code), body: { ...view, ...errorBody({ failure }) } } : { status: 200, body: view };
}

function parseBody(body: unknown): z.infer<typeof runBody> {
  const parsed = runBody.safeParse(body);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    if (!issue || issue.path.length === 0) {
      throw new AppError("BAD_USER_INPUT", "The body must be a JSON object with message and user_id.");
    }
    throw badInput(issue.path.join("."), issue.message);
  }
  return parsed.data;
}

/** Why a run has no complete reply; null when it has one. */
function failureOf(run: Run): Failure | null {
  if (run.status === "CANCELLED") {
    return { code: "CANCELLED", message: "Someone stopped this run. Send the message again.", retryable: false, errorId: null };
  }
  return run.error;
}

function runView(run: Run, content: string | null) {
  return {
    run_id: run.runId,
    session_id: run.sessionId,
    user_id: run.userId,
    agent_id: run.agentId,
    status: run.status,
    content,
    model: run.model,
    created_at: run.createdAt.toISOString(),
    memory_update: run.memoryUpdate.status,
  };
}

/** A user's active memories, the newest first. */
async function listMemories(agentId: string, query: URLSearchParams, services: Services): Promise<object[]> {
  services.agents.get(agentId);
  const user = query.get("user_id");
  if (user === null) {
    throw badInput("user_id", "is missing. Add it to the address: ?user_id=alice@example.com.");
  }
  const owner = userId(user, "user_id");
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

function memoryView(memory: Memory) {
  return {
    memory_id: memory.memoryId,
    user_id: memory.userId,
    memory: memory.memory,
    topics: memory.topics,
    agent_id: memory.agentId,
    created_at: memory.createdAt.toISOString(),
  };
}

function agentIdOf(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    throw new HttpError(404, "NOT_FOUND", "There is no such address: its percent signs do not stand for UTF-8.");
  }
}
