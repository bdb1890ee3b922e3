/** What may be wrong with a server, each with what to do about it. */

import type { AppError } from "../errors.ts";
import type { BreakerStatus, ModelServerState } from "./ports.ts";
import type { ConfiguredModels, ModelRole, ModelStatus, Problem, ServerStatus } from "./status.ts";

/** Work that has waited longer (s) is worth a word. */
const LONG_WAIT = 120;

export function worstFirst(problems: Problem[]): Problem[] {
  return [...problems.filter(({ severity }) => severity === "ERROR"), ...problems.filter(({ severity }) => severity === "WARNING")];
}

export function databaseProblems(failure: AppError | null): Problem[] {
  return failure ? [errorProblem(failure)] : [];
}

/** Replies do without Redis. */
export function pieceProblems(failure: AppError | null): Problem[] {
  if (!failure) {
    return [];
  }
  const { message, fix } = errorProblem(failure);
  return [
    {
      severity: "WARNING",
      message: `${message} The pieces of replies go to Postgres meanwhile.`,
      fix: `${fix} It is then used again by itself.`,
    },
  ];
}

/** What `modelProblems` looks at; `rules` is their name while they answer in place of a model. */
export interface ModelSituation {
  server: ModelServerState;
  breaker: BreakerStatus;
  configured: ConfiguredModels;
  models: readonly ModelStatus[];
  rules: string | null;
}

/** What is wrong with the model server, with the models it has, and with their choice. */
export function modelProblems({ server, breaker, configured, models, rules }: ModelSituation): Problem[] {
  if (rules !== null) {
    return [rulesProblem(server)];
  }
  if (breaker.failure) {
    return [breakerProblem(breaker.failure, breaker), ...embeddingProblems(configured)];
  }
  if (server.failure) {
    return [errorProblem(server.failure), ...embeddingProblems(configured)];
  }
  const listed = server.listed ?? [];
  if (listed.length === 0 || models.some(({ model }) => model === null)) {
    return [
      {
        severity: "ERROR",
        message: `No model is loaded at ${server.address}.`,
        fix: "Load a chat model in LM Studio (or in the server OPENAI_BASE_URL names), such as qwen3-1.7b.",
      },
      ...embeddingProblems(configured),
    ];
  }
  const missing = new Map<string, ModelRole>();
  for (const { role, model, available } of models) {
    if (model !== null && !available && !missing.has(model)) {
      missing.set(model, role);
    }
  }
  return [...[...missing].map(([model, role]) => missingProblem(model, role, server.address, listed)), ...embeddingProblems(configured)];
}

/** A memory model that found nothing in a plain sentence. */
export function memoryModelProblems(model: string): Problem[] {
  return [
    {
      severity: "WARNING",
      message: `The memory model ${model} found no fact in a plain sentence that states three: it is too small to extract memories.`,
      fix: "Load a model of 1.7 billion parameters or more and name it with MEMORY_MODEL; LOG_LEVEL=debug shows what was dropped, and why.",
    },
  ];
}

export function queueProblems({ failed, oldestWaitingSeconds }: ServerStatus["queue"]): Problem[] {
  const problems: Problem[] = [];
  if (failed > 0) {
    problems.push({
      severity: "ERROR",
      message: `${failed} ${failed === 1 ? "piece" : "pieces"} of background work given up after several tries: memories or summaries are missing.`,
      fix:
        "The log names the reason (job given up), and so do the runs (memoryUpdate.error). Mend it. Then try again: failedMemoryUpdates lists a user's runs, " +
        "retryMemoryUpdate learns from one again; summarizeSession writes a summary anew. Whose they are: " +
        "SELECT user_id, kind, run_id, lane FROM recollect_jobs WHERE state = 'DEAD' (with npm run sql, or psql on Postgres).",
    });
  }
  if (oldestWaitingSeconds !== null && oldestWaitingSeconds > LONG_WAIT) {
    problems.push({
      severity: "WARNING",
      message: `Memory work has waited for ${Math.round(oldestWaitingSeconds / 60)} minutes.`,
      fix: "It catches up by itself once the model server answers; when it always lags, name a faster model with MEMORY_MODEL.",
    });
  }
  return problems;
}

/** Requests that named no user; `refused` null: none of late. */
export function userProblems(refused: { count: number; at: Date } | null): Problem[] {
  return refused
    ? [
        {
          severity: "WARNING",
          message: `Requests named no user and were refused: ${refused.count} since the start, the last at ${refused.at.toISOString()}.`,
          fix: "Send a userId of its own for each person with every request (user_id over REST), such as alice@example.com: memories belong to exactly that text.",
        },
      ]
    : [];
}

function rulesProblem({ failure, address }: ModelServerState): Problem {
  const message = "Rules, not a language model, answer and remember: no model server was there at the start.";
  return {
    severity: "WARNING",
    message,
    fix: failure
      ? `${errorProblem(failure).fix} It is then used by itself.`
      : `A model server answers at ${address} now: it is used within half a minute, by itself.`,
  };
}

/** Says the same as the failure, and that nobody is kept waiting for it. */
function breakerProblem(failure: AppError, { since, nextTryAt }: BreakerStatus): Problem {
  const { message, fix } = errorProblem(failure);
  return {
    severity: "ERROR",
    message: `${message} It has failed again and again since ${since.toISOString()}: requests are refused at once, and background work waits.`,
    fix: `${fix} It is asked again by itself at ${(nextTryAt ?? since).toISOString()}, and every few seconds until it answers.`,
  };
}

function embeddingProblems({ EMBEDDING }: ConfiguredModels): Problem[] {
  return EMBEDDING === null
    ? [
        {
          severity: "WARNING",
          message: "No embedding model is set: recall goes by words, not by meaning.",
          fix: "Nothing has to be done: memories are found by the words they share with the message. This version searches by words also when EMBEDDING_MODEL is set.",
        },
      ]
    : [];
}

function missingProblem(model: string, role: ModelRole, address: string, listed: readonly string[]): Problem {
  const some = listed.slice(0, 5).join(", ");
  return {
    severity: role === "EMBEDDING" ? "WARNING" : "ERROR",
    message: `The model server at ${address} does not list ${model}, which is set for ${USES[role]}.`,
    fix: `Load it there, or set ${role}_MODEL to one it lists: ${some}${listed.length > 5 ? ", …" : ""}.`,
  };
}

const USES: Record<ModelRole, string> = { CHAT: "replies", MEMORY: "memory work", SUMMARY: "summaries", EMBEDDING: "embeddings" };

/** Messages of failures say what happened and end with a sentence that says what to do. */
function errorProblem({ message }: AppError): Problem {
  const cut = message.lastIndexOf(". ", message.length - 2);
  return cut < 0
    ? { severity: "ERROR", message, fix: "Look at the log of this server." }
    : { severity: "ERROR", message: message.slice(0, cut + 1), fix: message.slice(cut + 2) };
}
