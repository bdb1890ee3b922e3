/** One suite for the event log, wherever it is kept. */

import { randomUUID } from "node:crypto";
import type { RunLease } from "../src/agent/types.ts";
import { createLogger } from "../src/logger.ts";
import { openDatabase } from "../src/stores/open-database.ts";
import { Pieces } from "../src/stores/pieces.ts";
import { openRedisStreams } from "../src/stores/redis-streams.ts";
import { createRetentionStore } from "../src/stores/retention.ts";
import { createEventStore } from "../src/stores/run-events.ts";
import { createRunStore } from "../src/stores/runs.ts";
import { eventLogSuite, type LogSubject } from "./conformance/event-log.ts";
import { createMemoryLog } from "./conformance/memory-log.ts";
import { createTestDatabase } from "./support/database.ts";
import { HAS_REDIS, type RedisServer, startRedis } from "./support/redis.ts";

eventLogSuite("memory", createMemoryLog);
eventLogSuite("the database", () => createDatabaseLog(null));
eventLogSuite("the database and Redis", async () => createDatabaseLog(await startRedis()), !HAS_REDIS);

async function createDatabaseLog(redis: RedisServer | null): Promise<LogSubject> {
  const folder = await createTestDatabase();
  const database = await openDatabase(folder.options);
  const name = randomUUID();
  return {
    async start() {
      const owner = randomUUID();
      const streams = redis && (await openRedisStreams({ url: redis.url, database: name }, createLogger("silent")));
      const stored = createEventStore(database);
      const pieces = streams && new Pieces(stored, streams);
      const runs = createRunStore(database, { owner, leaseSeconds: 60 }, pieces);
      return {
        events: pieces ?? stored,
        runs,
        async begin(user) {
          const request = {
            userId: user,
            agentId: "rag-agent",
            sessionId: null,
            message: "Hello.",
            idempotencyKey: null,
            memory: "OFF" as const,
            onBusy: "REJECT" as const,
          };
          const [sessionId, runId, messageId] = [randomUUID(), randomUUID(), randomUUID()];
          const { lease } = await runs.accept(user, { request, sessionId, runId, messageId, fingerprint: "f", extract: false });
          return lease as RunLease;
        },
        async takeOver() {
          await runs.reap(true);
          const taken: RunLease[] = [];
          for (let lease = await runs.claim(); lease; lease = await runs.claim()) {
            taken.push(lease);
          }
          return taken;
        },
        die: async () => streams?.close(),
      };
    },
    async expire() {
      await database.asOperator((transaction) =>
        transaction.query("update recollect_runs set finished_at = finished_at - interval '3 hours' where finished_at is not null"),
      );
      await createRetentionStore(database).pruneEvents(1);
      await redis?.ask("flushall");
    },
    async remove() {
      await database.close();
      await folder.remove();
      await redis?.remove();
    },
  };
}
