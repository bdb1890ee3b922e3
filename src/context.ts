/** The composition root: the only place that names concrete adapters. Tests build it too, with parts of their own. */

import { hostname } from "node:os";
import { AGENTS, AgentRegistry } from "./agent/agents.ts";
import { learnFromMessage } from "./agent/learn.ts";
import type { ChatModel, KnowledgeStore, Services } from "./agent/ports.ts";
import { ProcessRunner } from "./agent/runner.ts";
import { sumUpSession } from "./agent/sum-up.ts";
import type { Config } from "./config.ts";
import { createEventLog } from "./events/log.ts";
import { JobWorker } from "./jobs/worker.ts";
import type { Logger } from "./logger.ts";
import { createOpenAiModel } from "./models/openai.ts";
import type { Database } from "./stores/database.ts";
import { createJobStore } from "./stores/jobs.ts";
import { createMemoryStore } from "./stores/memories.ts";
import { openDatabase } from "./stores/open-database.ts";
import { createEventStore } from "./stores/run-events.ts";
import { createRunStore } from "./stores/runs.ts";
import { createSessionStore } from "./stores/sessions.ts";

export interface Context {
  services: Services;
  database: Database;
  jobs: JobWorker;
  ready(): Promise<boolean>;
  /** Lets runs under way end for `patience` ms, stops the background work, closes the database. */
  close(patience: number): Promise<void>;
}

export interface Overrides {
  model?: ChatModel;
  /** How long the leases of runs and jobs last without a heartbeat, in seconds. */
  leaseSeconds?: number;
}

const LEASE_SECONDS = 15;
/** Jobs at a time: on a local model server each one slows the replies down. */
const JOB_CONCURRENCY = 2;

/** Documents come later; a reply is given no passages. */
const NO_KNOWLEDGE: KnowledgeStore = { search: async () => [] };

/** Opens everything and starts the background work. Throws AppError when the database cannot be had. */
export async function createContext(config: Config, log: Logger, overrides: Overrides = {}): Promise<Context> {
  const database = await openDatabase({ databaseUrl: config.databaseUrl, dataDir: config.dataDir });
  const lease = {
    owner: `${hostname()}:${process.pid}:${Math.random().toString(36).slice(2)}`,
    leaseSeconds: overrides.leaseSeconds ?? LEASE_SECONDS,
  };
  const agents = new AgentRegistry(AGENTS);
  const runs = createRunStore(database, lease);
  const sessions = createSessionStore(database);
  const memories = createMemoryStore(database);
  const jobs = createJobStore(database, lease);
  const events = createEventLog(createEventStore(database));
  const model =
    overrides.model ?? createOpenAiModel({ baseUrl: config.openaiBaseUrl, apiKey: config.openaiApiKey, model: config.chatModel });

  const { memoryModel, summaryModel, summaryInstructions } = config;
  const learning = {
    memoryModel,
    captureInstructions: config.memoryCaptureInstructions,
    additionalInstructions: config.memoryAdditionalInstructions,
  };
  const worker = new JobWorker({
    jobs,
    events,
    tasks: {
      "extract-memories": (job, signal) => learnFromMessage(job, { agents, memories, jobs, events, model, log, ...learning }, signal),
      "summarize-session": (job, signal) => sumUpSession(job, { sessions, jobs, model, log, summaryModel, summaryInstructions }, signal),
    },
    log,
    concurrency: JOB_CONCURRENCY,
    alone: database.embedded,
    inBackground: (work) => database.inBackground(work),
  });
  const runner = new ProcessRunner(
    { agents, runs, sessions, memories, knowledge: NO_KNOWLEDGE, events, model, log },
    { alone: database.embedded, onEnded: () => worker.poke() },
  );
  try {
    await runner.start();
    await worker.start();
  } catch (error) {
    await database.close();
    throw error;
  }
  return {
    services: { agents, runner, runs, sessions, memories, events },
    database,
    jobs: worker,
    ready: () => database.answers(),
    async close(patience) {
      await runner.close(patience);
      await worker.close();
      await database.close();
    },
  };
}
