/** How the server is doing, and what to do about what is wrong. */

import { AppError } from "../errors.ts";
import { MAX_MEMORIES } from "./add-memories.ts";
import type { AgentDefinition } from "./agents.ts";
import { MAX_ID_BYTES, MAX_MEMORY_LENGTH, MAX_MESSAGE_BYTES } from "./input.ts";
import type {
  BreakerStatus,
  DatabaseProbe,
  JobStore,
  ModelProbe,
  ModelServerState,
  PieceProbe,
  StatusReader,
  StructuredOutput,
} from "./ports.ts";
import {
  databaseProblems,
  memoryModelProblems,
  modelProblems,
  pieceProblems,
  queueProblems,
  userProblems,
  worstFirst,
} from "./problems.ts";

export type ModelRole = "CHAT" | "MEMORY" | "SUMMARY" | "EMBEDDING";
export type Severity = "ERROR" | "WARNING";

export interface Problem {
  severity: Severity;
  /** What is wrong. */
  message: string;
  /** What to do. */
  fix: string;
}

export interface ModelStatus {
  role: ModelRole;
  /** Null while none is configured and none is listed. */
  model: string | null;
  /** Whether its server listed it last time, or it has answered. */
  available: boolean;
  structuredOutput: StructuredOutput | null;
  checkedAt: Date | null;
}

export interface ServerStatus {
  /** Worst first; empty when all is well. */
  problems: Problem[];
  version: string;
  authentication: boolean;
  models: ModelStatus[];
  modelBreaker: Omit<BreakerStatus, "failure">;
  database: { embedded: boolean; available: boolean; version: string | null; vectorSearch: boolean };
  queue: { waiting: number; running: number; failed: number; oldestWaitingSeconds: number | null };
  limits: { messageBytes: number; memoryLength: number; idBytes: number; batchSize: number };
}

/** The models by configuration; null: CHAT the first one listed, MEMORY and SUMMARY as CHAT, EMBEDDING none. */
export type ConfiguredModels = Record<ModelRole, string | null>;

export interface StatusDeps {
  version: string;
  /** Whether requests need a token. */
  authentication: boolean;
  models: ConfiguredModels;
  modelServer: ModelProbe;
  database: DatabaseProbe;
  /** Null: the database has the pieces of replies as well. */
  pieces: PieceProbe | null;
  jobs: Pick<JobStore, "counts">;
  /** Whether the memory model finds a fact in a plain sentence; asked once per model. Throws what `ChatModel.answer` throws. */
  tryMemoryModel: (signal: AbortSignal) => Promise<boolean>;
}

/** How long the answer waits for any of its parts (ms). */
const PATIENCE = 2_500;
/** How long the try of a memory model may take before it counts as failed (ms), the answer waiting for it or not. */
const TRY_DEADLINE = 60_000;
/** How long a request that named no user is worth telling (ms). */
const REFUSAL_MEMORY = 600_000;

export function createStatusReader(deps: StatusDeps): StatusReader {
  const memoryModel = new MemoryModelTrial(deps.tryMemoryModel);
  let refusal: { count: number; at: Date } | null = null;

  return {
    async read() {
      const [server, database, queue, piecesFailure] = await Promise.all([
        deps.modelServer.look(),
        lookAtDatabase(deps.database),
        lookAtQueue(deps.jobs),
        deps.pieces?.failure() ?? null,
      ]);
      const memory = modelStatuses(server, deps).find(({ role }) => role === "MEMORY")?.model ?? null;
      const rules = deps.modelServer.rules();
      const capable =
        rules === null && memory !== null && server.listed !== null ? await memoryModel.outcome(memory, server.checkedAt) : null;
      const breaker = deps.modelServer.breaker();
      // Read again: the try has shown how the model answers, listed or not.
      const models = modelStatuses(server, deps);
      const recent = refusal && Date.now() - refusal.at.getTime() < REFUSAL_MEMORY ? refusal : null;
      return {
        problems: worstFirst([
          ...databaseProblems(database.failure),
          ...pieceProblems(piecesFailure),
          ...modelProblems({ server, breaker, configured: deps.models, models, rules }),
          ...(capable === false && memory !== null ? memoryModelProblems(memory) : []),
          ...queueProblems(queue),
          ...userProblems(recent),
        ]),
        version: deps.version,
        authentication: deps.authentication,
        models,
        modelBreaker: { state: breaker.state, since: breaker.since, nextTryAt: breaker.nextTryAt },
        database: database.status,
        queue,
        limits: {
          messageBytes: MAX_MESSAGE_BYTES,
          memoryLength: MAX_MEMORY_LENGTH,
          idBytes: MAX_ID_BYTES,
          batchSize: MAX_MEMORIES,
        },
      };
    },

    modelOf(role, agent: AgentDefinition) {
      const reply = agent.model ?? deps.models.CHAT;
      return role === "CHAT" ? reply : (deps.models.MEMORY ?? deps.models.CHAT);
    },

    noteRefusal(error) {
      const fields = error instanceof AppError ? (error.details.fields ?? []) : [];
      if (fields.some(({ path, message }) => /^user_?id$/i.test(path) && /\bmissing\b/.test(message))) {
        refusal = { count: (refusal?.count ?? 0) + 1, at: new Date() };
      }
    },
  };
}

/** One try per model, begun when first asked for; who asks waits for it a moment only. */
class MemoryModelTrial {
  readonly #begin: StatusDeps["tryMemoryModel"];
  readonly #trials = new Map<string, Promise<boolean | null>>();
  /** When the model server had last been looked at before a try that found it away. */
  readonly #away = new Map<string, Date>();

  constructor(begin: StatusDeps["tryMemoryModel"]) {
    this.#begin = begin;
  }

  /** Null while nobody knows. One that was away is tried again once the server was looked at anew. */
  outcome(model: string, checkedAt: Date): Promise<boolean | null> {
    if (this.#away.get(model) === checkedAt) {
      return Promise.resolve(null);
    }
    const trial = this.#trials.get(model) ?? this.#try(model, checkedAt);
    this.#trials.set(model, trial);
    return within(trial, null);
  }

  async #try(model: string, checkedAt: Date): Promise<boolean | null> {
    try {
      return await this.#begin(AbortSignal.timeout(TRY_DEADLINE));
    } catch (error) {
      if (error instanceof AppError && error.code === "MODEL_BAD_RESPONSE") {
        return false;
      }
      this.#away.set(model, checkedAt);
      this.#trials.delete(model);
      return null;
    }
  }
}

async function lookAtDatabase(database: DatabaseProbe): Promise<{ status: ServerStatus["database"]; failure: AppError | null }> {
  const slow = new AppError(
    "SERVICE_UNAVAILABLE",
    `The database did not answer within ${PATIENCE / 1_000} s. Look at its load and its log.`,
  );
  const version = await within(database.version().catch(asAppError), slow);
  const failure = typeof version === "string" ? null : version;
  const status = { embedded: database.embedded, available: failure === null, vectorSearch: false };
  return { status: { ...status, version: typeof version === "string" ? version : null }, failure };
}

async function lookAtQueue(jobs: StatusDeps["jobs"]): Promise<ServerStatus["queue"]> {
  const unknown = { waiting: 0, running: 0, dead: 0, oldestWaitingSeconds: null };
  const { waiting, running, dead, oldestWaitingSeconds } = await within(
    jobs.counts().catch(() => unknown),
    unknown,
  );
  return { waiting, running, failed: dead, oldestWaitingSeconds };
}

function modelStatuses(server: ModelServerState, { models, modelServer }: StatusDeps): ModelStatus[] {
  const rules = modelServer.rules();
  if (rules !== null) {
    const named: ModelRole[] = ["CHAT", "MEMORY", "SUMMARY"];
    return named.map((role) => ({ role, model: rules, available: true, structuredOutput: null, checkedAt: server.checkedAt }));
  }
  const chat = models.CHAT ?? modelServer.chosen(server.listed ?? []);
  const named: [ModelRole, string | null][] = [
    ["CHAT", chat],
    ["MEMORY", models.MEMORY ?? chat],
    ["SUMMARY", models.SUMMARY ?? chat],
    ...(models.EMBEDDING === null ? [] : [["EMBEDDING", models.EMBEDDING] satisfies [ModelRole, string]]),
  ];
  return named.map(([role, model]) => {
    const structuredOutput = model === null || role === "EMBEDDING" ? null : modelServer.structuredOutput(model);
    const available = model !== null && server.listed !== null && (isListed(model, server.listed) || structuredOutput !== null);
    return { role, model, available, structuredOutput, checkedAt: server.checkedAt };
  });
}

/** Some servers list "qwen3:latest" and answer to "qwen3". */
function isListed(model: string, listed: readonly string[]): boolean {
  return listed.includes(model) || listed.includes(`${model}:latest`);
}

function asAppError(error: unknown): AppError {
  return error instanceof AppError
    ? error
    : new AppError("SERVICE_UNAVAILABLE", "The database answered with an error. Look at the log of this server.", { cause: error });
}

async function within<T>(work: Promise<T>, otherwise: T): Promise<T> {
  const late = Promise.withResolvers<T>();
  const timer = setTimeout(() => late.resolve(otherwise), PATIENCE);
  return Promise.race([work, late.promise]).finally(() => clearTimeout(timer));
}
