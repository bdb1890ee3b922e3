/** Shows that the harness can fail: one fault of each kind is planted in a healthy database, and has to be found. */

import { setTimeout as sleep } from "node:timers/promises";
import { Client } from "pg";
import { Arena, createStore, type World } from "./arena.ts";
import { newFact, newUser, userName } from "./facts.ts";
import { examine, type Findings } from "./invariants.ts";
import type { SentRun } from "./ledger.ts";

interface Plant {
  kind: "lost" | "duplicated" | "stuck" | "leaked";
  what: string;
  plant(): unknown;
}

/** True when every planted fault was found under its name. */
export async function findPlantedFaults(world: World): Promise<boolean> {
  const arena = new Arena(world, await createStore(world, "postgres"));
  await arena.start();
  arena.load(3);
  await sleep(6_000);
  await arena.stopLoad();
  const { ledger, store } = arena;
  const look = (patience: number): Promise<Findings> =>
    examine({ ledger, model: world.model, sql: store.sql, url: arena.url ?? "", patience, piecesElsewhere: false });
  const client = new Client({ connectionString: store.databaseUrl, user: "postgres" });
  await client.connect();
  let good = true;
  try {
    const healthy = await look(30_000);
    let before = healthy.tally;
    world.say(`healthy: ${JSON.stringify(before)}`);
    for (const detail of healthy.details) {
      world.say(detail);
    }
    good = before.lost + before.duplicated + before.stuck + before.leaked === 0 && ledger.runs.length >= 12 && ledger.batches.length > 0;
    for (const { kind, what, plant } of plants(arena, world, async (sql) => {
      const { rowCount } = await client.query(sql);
      if (rowCount === 0) {
        throw new Error(`Nothing was planted: ${sql}`);
      }
    })) {
      await plant();
      const after = (await look(0)).tally;
      const found = after[kind] > before[kind];
      world.say(`${found ? "found   " : "NOT SEEN"} ${kind}: ${what}`);
      good &&= found;
      before = after;
    }
  } finally {
    await client.end();
  }
  await arena.finish(0);
  return good;
}

/** Each takes runs of its own, so that none hides another; prompts come last, because they are counted once. */
function plants(arena: Arena, world: World, sql: (statement: string) => Promise<unknown>): Plant[] {
  const { ledger } = arena;
  const read = ledger.runs.filter((run) => run.seen.size > 4);
  const rest = ledger.runs.filter((run) => run.seen.size === 0);
  const take = (runs: SentRun[]): SentRun => {
    const run = runs.shift();
    if (!run) {
      throw new Error("There are not enough runs to plant faults in.");
    }
    return run;
  };
  const where = (run: SentRun): string => `user_id = '${userName(run.user)}' and run_id = '${[...run.runIds][0]}'`;
  const memory = (fact: string): string => `memory like '%${fact}'`;
  const stranger = newFact(newUser());
  const copyOf = (
    fact: string,
  ): string => `insert into agno_memories (memory_id, user_id, memory, kind, status, origin, fingerprint, sequence, confirmed_sequence)
    select 'copy', user_id, memory, kind, status, origin, 'copy', sequence, confirmed_sequence from agno_memories where ${memory(fact)}`;
  return [
    { kind: "lost", what: "a message", plant: () => sql(`delete from recollect_messages where role = 'USER' and ${where(take(rest))}`) },
    { kind: "lost", what: "an accepted run", plant: () => sql(`delete from recollect_runs where ${where(take(rest))}`) },
    {
      kind: "lost",
      what: "a fact",
      plant: () => sql(`update agno_memories set status = 'RETIRED' where ${memory(take(rest).fact)}`),
    },
    {
      kind: "lost",
      what: "the end of a reply that a reader saw",
      plant: () => sql(`update recollect_messages set content = left(content, 10) where role = 'ASSISTANT' and ${where(take(read))}`),
    },
    {
      kind: "lost",
      what: "an event that a reader saw",
      plant: () => sql(`delete from recollect_run_events where sequence = 3 and ${where(take(read))}`),
    },
    {
      kind: "lost",
      what: "one memory of a batch",
      plant: () => sql(`update agno_memories set status = 'RETIRED' where ${memory(ledger.batches[0]?.facts[7] ?? "")}`),
    },
    {
      kind: "duplicated",
      what: "a run of one idempotency key",
      plant: () => take(rest).runIds.add("another"),
    },
    { kind: "duplicated", what: "a fact", plant: () => sql(copyOf(take(rest).fact)) },
    {
      kind: "duplicated",
      what: "a fact learned twice from one message",
      plant: () => sql(`update agno_memories set evidence_count = 2 where ${memory(take(rest).fact)}`),
    },
    {
      kind: "duplicated",
      what: "a sequence number with other content",
      plant: () => sql(`update recollect_run_events set data = '{"delta":"other"}' where sequence = 4 and ${where(take(read))}`),
    },
    {
      kind: "duplicated",
      what: "the model asked again after the first word",
      plant: () => world.model.repliesAsked.get(take(rest).fact)?.push(Date.now()),
    },
    {
      kind: "stuck",
      what: "a run",
      plant: () => sql(`update recollect_runs set status = 'PAUSED' where ${where(take(rest))}`),
    },
    {
      kind: "stuck",
      what: "a job",
      plant: () =>
        sql(`insert into recollect_jobs (user_id, lane, kind, payload, state)
        values ('${userName(take(rest).user)}', 'memory', 'extract-memories', '{}', 'BLOCKED')`),
    },
    {
      kind: "leaked",
      what: "words in another user's reply",
      plant: () => sql(`update recollect_messages set content = '${stranger}' where role = 'ASSISTANT' and ${where(take(rest))}`),
    },
    {
      kind: "leaked",
      what: "words in another user's memories",
      plant: () => sql(`update agno_memories set memory = memory || ' ${stranger}' where ${memory(take(rest).fact)}`),
    },
    {
      kind: "leaked",
      what: "words in another user's events",
      plant: () => sql(`update recollect_run_events set data = '{"delta":"${stranger}"}' where sequence = 4 and ${where(take(rest))}`),
    },
    {
      kind: "leaked",
      what: "words in another user's prompt",
      plant: () =>
        fetch(`${world.model.server.url}/chat/completions`, {
          method: "POST",
          body: JSON.stringify({ stream: true, messages: [{ role: "user", content: `${stranger} ${take(rest).fact}` }] }),
        }).then((response) => response.text()),
    },
  ];
}
