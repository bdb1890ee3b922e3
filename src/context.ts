/** The composition root: the only place that names concrete adapters. Tests build it too, with parts of their own. */

import { readFileSync } from "node:fs";
import { hostname } from "node:os";
import { AGENTS, AgentRegistry } from "./agent/agents.ts";
import { createRunKeeper } from "./agent/keep-runs.ts";
import { createSessionKeeper } from "./agent/keep-sessions.ts";
import { createUserDataKeeper } from "./agent/keep-user-data.ts";
import { learnFromMessage } from "./agent/learn.ts";
import { type ChatModel, type KnowledgeStore, PEER_WORDS, type Services } from "./agent/ports.ts";
import { ProcessRunner } from "./agent/runner.ts";
import { createStatusReader } from "./agent/status.ts";
import { sumUpSession } from "./agent/sum-up.ts";
import { memoryModelFindsFacts } from "./agent/try-memory-model.ts";
import type { Config } from "./config.ts";
import { urgentWhileAwaited } from "./events/awaited.ts";
import { NO_PEERS } from "./events/channels.ts";
import { createEventLog } from "./events/log.ts";
import { createMemoryFeed } from "./events/memory-feed.ts";
import { createSessionFeed } from "./events/session-feed.ts";
import { createAuthenticator } from "./identity/authenticator.ts";
import type { Authenticator } from "./identity/identity.ts";
import { Retention } from "./jobs/retention.ts";
import { JobWorker } from "./jobs/worker.ts";
import { RequestRate } from "./limits/rates.ts";
import type { Logger } from "./logger.ts";
import { RULES_NAME } from "./models/offline.ts";
import { createOpenAiModel } from "./models/openai.ts";
import { createModelProbe } from "./models/probe.ts";
import { CallSchedule, isLocal } from "./models/schedule.ts";
import { ServedModel } from "./models/served-model.ts";
import { createApiKeyStore } from "./stores/api-keys.ts";
import type { Database } from "./stores/database.ts";
import { createRequestStore } from "./stores/idempotency.ts";
import { createJobStore } from "./stores/jobs.ts";
import { createMemoryStore } from "./stores/memories.ts";
import { PeerNotifications } from "./stores/notifications.ts";
import { openDatabase } from "./stores/open-database.ts";
import { Pieces } from "./stores/pieces.ts";
import { createDatabaseProbe, databaseIdentity } from "./stores/probe.ts";
import { openRedisStreams } from "./stores/redis-streams.ts";
import { createRetentionStore } from "./stores/retention.ts";
import { createEventStore } from "./stores/run-events.ts";
import { createRunStore } from "./stores/runs.ts";
import { createSessionStore } from "./stores/sessions.ts";
import { createUserDataStore } from "./stores/user-data.ts";

export interface Context {
  services: Services;
  authenticator: Authenticator;
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
  /** How long a model server that fails again and again is left alone, and from what age on background work is overdue, in milliseconds. */
  modelRest?: number;
  overdueAfter?: number;
  /** Time between two looks at what is past its time, in milliseconds. */
  pruneEvery?: number;
}

/** The version of this server, from package.json. */
const VERSION = String(JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")).version);
const LEASE_SECONDS = 15;
/** Jobs at a time on the embedded database: its one connection serves replies as well. */
const EMBEDDED_JOBS = 2;
const PRUNE_EVERY_MS = 10 * 60_000;

/** Documents come later; a reply is given no passages. */
const NO_KNOWLEDGE: KnowledgeStore = { search: async () => [] };

/** Opens everything and starts the background work. Throws AppError when the database cannot be had. */
export async function createContext(config: Config, log: Logger, overrides: Overrides = {}): Promise<Context> {
  const { modelsConfigured, openaiApiKey: apiKey, chatModel } = config;
  const baseUrl = modelsConfigured ? config.openaiBaseUrl : (overrides.defaultModelUrl ?? config.openaiBaseUrl);
  const server = createOpenAiModel({
    baseUrl,
    apiKey,
    model: chatModel,
    rest: overrides.modelRest,
    log: (event) => log.debug(event, "model server"),
  });
  const schedule = new CallSchedule({
    concurrency: config.modelConcurrency,
    local: isLocal(baseUrl),
    resting: () => server.breaker.resting,
    overdueAfter: overrides.overdueAfter,
  });
  const served = new ServedModel({
    server: { ...server, ...schedule.around(server) },
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
  const notifications = config.databaseUrl === null ? null : new PeerNotifications(config.databaseUrl, log);
  const peers = notifications ?? NO_PEERS;
  const redis = config.redisUrl === null ? null : await openRedis(config.redisUrl, database, log);
  const stored = createEventStore(database);
  const pieces = redis && new Pieces(stored, redis);
  const runs = createRunStore(database, lease, pieces, config.limits);
  const sessions = createSessionStore(database, pieces);
  const memories = createMemoryStore(database, (user) => memoryFeed.wake(user), config.limits.memories);
  const memoryFeed = createMemoryFeed(memories.changesAfter, memories.sequence, peers);
  const jobs = createJobStore(database, lease);
  const events = urgentWhileAwaited(createEventLog(pieces ?? stored, peers), schedule);
  const sessionFeed = createSessionFeed(sessions.get, peers);
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
    concurrency: database.embedded ? Math.min(EMBEDDED_JOBS, schedule.concurrency) : schedule.concurrency,
    awaited: () => schedule.awaited,
    room: () => server.breaker.room,
    alone: database.embedded,
    inBackground: (work) => database.inBackground(work),
  });
  const runner = new ProcessRunner(
    { agents, runs, knowledge: NO_KNOWLEDGE, events, model, log, allowedLinkHosts: config.allowedLinkHosts },
    {
      alone: database.embedded,
      peers,
      onEnded: (answered) => {
        worker.poke();
        // This process may be busy, or about to stop.
        peers.tell(PEER_WORDS.jobs);
        if (answered) {
          void worker.modelAnswered();
        }
      },
    },
  );
  const requests = createRequestStore(database);
  const onJob = (): void => worker.poke();
  const runKeeper = createRunKeeper({ runs, runner, jobs, requests, log, onJob });
  const keeper = createSessionKeeper({ sessions, runs, runner, jobs, requests, events, feed: sessionFeed, onJob });
  const userData = createUserDataKeeper({
    userData: createUserDataStore(database, pieces, config.limits.memories),
    runner,
    events,
    memoryFeed,
    log,
  });
  peers.hear((word) => word === PEER_WORDS.jobs && worker.poke());
  const retention = new Retention({
    store: createRetentionStore(database),
    log,
    eventHours: config.eventRetentionHours,
    every: overrides.pruneEvery ?? PRUNE_EVERY_MS,
    inBackground: (work) => database.inBackground(work),
  });
  const closing = new AbortController();
  const authenticator = createAuthenticator(config.authentication, createApiKeyStore(database), log);
  const status = createStatusReader({
    version: VERSION,
    authentication: authenticator.required,
    models: { CHAT: chatModel, MEMORY: memoryModel, SUMMARY: summaryModel, EMBEDDING: config.embeddingModel },
    modelServer: createModelProbe({ server, rules: () => (served.missing ? RULES_NAME : null), freshness: overrides.statusFreshness }),
    database: createDatabaseProbe(database),
    pieces: redis,
    jobs,
    tryMemoryModel: (signal) => memoryModelFindsFacts(model, learning, AbortSignal.any([signal, closing.signal])),
  });
  try {
    notifications?.start();
    await runner.start();
    await worker.start();
    served.start();
    retention.start();
  } catch (error) {
    await closeAll(0);
    throw error;
  }
  return {
    services: {
      agents,
      runner,
      runs,
      sessions,
      memories,
      events,
      memoryFeed,
      runKeeper,
      keeper,
      sessionFeed,
      status,
      userData,
      rates: new RequestRate(config.limits.requestsPerMinute, { processes: () => 1 + peers.others }),
    },
    authenticator,
    database,
    jobs: worker,
    ready: () => database.answers(),
    close: closeAll,
  };

  async function closeAll(patience: number): Promise<void> {
    closing.abort();
    await retention.close();
    await runner.close(patience);
    await worker.close();
    // The jobs given back are for the others now.
    peers.tell(PEER_WORDS.jobs);
    await notifications?.close();
    await served.close();
    redis?.close();
    authenticator.close();
    await database.close();
  }
}

/** Closes the database when Redis cannot be had. */
async function openRedis(url: string, database: Database, log: Logger): Promise<Awaited<ReturnType<typeof openRedisStreams>>> {
  try {
    return await openRedisStreams({ url, database: await databaseIdentity(database) }, log);
  } catch (error) {
    await database.close();
    throw error;
  }
}
