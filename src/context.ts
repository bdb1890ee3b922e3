/** The composition root: the only place that names concrete adapters. Tests build it too, with parts of their own. */

import { readFileSync } from "node:fs";
import { hostname } from "node:os";
import { AGENTS, AgentRegistry } from "./agent/agents.ts";
import { createSessionKeeper } from "./agent/keep-sessions.ts";
import { learnFromMessage } from "./agent/learn.ts";
import type { ChatModel, KnowledgeStore, Services } from "./agent/ports.ts";
import { ProcessRunner } from "./agent/runner.ts";
import { createStatusReader } from "./agent/status.ts";
import { sumUpSession } from "./agent/sum-up.ts";
import { memoryModelFindsFacts } from "./agent/try-memory-model.ts";
import type { Config } from "./config.ts";
import { createEventLog } from "./events/log.ts";
import { createMemoryFeed } from "./events/memory-feed.ts";
import { createSessionFeed } from "./events/session-feed.ts";
import { JobWorker } from "./jobs/worker.ts";
import type { Logger } from "./logger.ts";
import { RULES_NAME } from "./models/offline.ts";
import { createOpenAiModel } from "./models/openai.ts";
import { createModelProbe } from "./models/probe.ts";
import { ServedModel } from "./models/served-model.ts";
import type { Database } from "./stores/database.ts";
import { createJobStore } from "./stores/jobs.ts";
import { createMemoryStore } from "./stores/memories.ts";
import { openDatabase } from "./stores/open-database.ts";
import { createDatabaseProbe } from "./stores/probe.ts";
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
  /** Where a model server is looked for when none is configured. */
  defaultModelUrl?: string;
  /** Time between two looks at it while rules serve, in milliseconds. */
  probeEvery?: number;
  /** How long the leases of runs and jobs last without a heartbeat, in seconds. */
  leaseSeconds?: number;
  /** How long the status of the model server is good for, in milliseconds. */
  statusFreshness?: number;
}

/** The version of this server, from package.json. */
const VERSION = String(JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")).version);
const LEASE_SECONDS = 15;
/** Jobs at a time: on a local model server each one slows the replies down. */
const JOB_CONCURRENCY = 2;

/** Documents come later; a reply is given no passages. */
const NO_KNOWLEDGE: KnowledgeStore = { search: async () => [] };

/** Opens everything and starts the background work. Throws AppError when the database cannot be had. */
export async function createContext(config: Config, log: Logger, overrides: Overrides = {}): Promise<Context> {
  const { modelsConfigured, openaiApiKey: apiKey, chatModel } = config;
  const baseUrl = modelsConfigured ? config.openaiBaseUrl : (overrides.defaultModelUrl ?? config.openaiBaseUrl);
  const server = createOpenAiModel({ baseUrl, apiKey, model: chatModel, log: (event) => log.debug(event, "model server") });
  const served = new ServedModel({
    server,
    configured: modelsConfigured || overrides.model !== undefined,
    log,
    probeEvery: overrides.probeEvery,
  });
  const [database] = await Promise.all([openDatabase({ databaseUrl: config.databaseUrl, dataDir: config.dataDir }), served.choose()]);
  const lease = {
    owner: `${hostname()}:${process.pid}:${Math.random().toString(36).slice(2)}`,
    leaseSeconds: overrides.leaseSeconds ?? LEASE_SECONDS,
  };
  const agents = new AgentRegistry(AGENTS);
  const runs = createRunStore(database, lease);
  const sessions = createSessionStore(database);
  const memories = createMemoryStore(database, (user) => memoryFeed.wake(user));
  const memoryFeed = createMemoryFeed(memories.changesAfter);
  const jobs = createJobStore(database, lease);
  const events = createEventLog(createEventStore(database));
  const sessionFeed = createSessionFeed(sessions.get);
  const model = overrides.model ?? served;

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
      "extract-memories": (job, signal) => learnFromMessage(job, { memories, jobs, events, model, log, ...learning }, signal),
      "summarize-session": (job, signal) =>
        sumUpSession(job, { sessions, jobs, feed: sessionFeed, model, log, summaryModel, summaryInstructions }, signal),
    },
    log,
    concurrency: JOB_CONCURRENCY,
    alone: database.embedded,
    inBackground: (work) => database.inBackground(work),
  });
  const runner = new ProcessRunner(
    { agents, runs, sessions, memories, knowledge: NO_KNOWLEDGE, events, model, log },
    {
      alone: database.embedded,
      onEnded: (answered) => {
        worker.poke();
        if (answered) {
          void worker.modelAnswered();
        }
      },
    },
  );
  const keeper = createSessionKeeper({ sessions, runs, runner, jobs, feed: sessionFeed, onJob: () => worker.poke() });
  const closing = new AbortController();
  const status = createStatusReader({
    version: VERSION,
    models: { CHAT: chatModel, MEMORY: memoryModel, SUMMARY: summaryModel, EMBEDDING: config.embeddingModel },
    modelServer: createModelProbe({ server, rules: () => (served.missing ? RULES_NAME : null), freshness: overrides.statusFreshness }),
    database: createDatabaseProbe(database),
    jobs,
    tryMemoryModel: (signal) => memoryModelFindsFacts(model, learning, AbortSignal.any([signal, closing.signal])),
  });
  try {
    await runner.start();
    await worker.start();
    served.start();
  } catch (error) {
    await runner.close(0);
    await worker.close();
    await served.close();
    await database.close();
    throw error;
  }
  return {
    services: { agents, runner, runs, sessions, memories, events, memoryFeed, keeper, sessionFeed, status },
    database,
    jobs: worker,
    ready: () => database.answers(),
    async close(patience) {
      closing.abort();
      await runner.close(patience);
      await worker.close();
      await served.close();
      await database.close();
    },
  };
}
