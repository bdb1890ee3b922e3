/** kill -9: at every named step, and at any moment. */

import { setTimeout as sleep } from "node:timers/promises";
import { STEPS, type Step } from "../../src/step.ts";
import { Arena, createStore, type Kind, type Outcome, type World } from "./arena.ts";

interface Target {
  /** The most passes before the kill; which one it is, chance decides. */
  passes: number;
  /** The step belongs to the first start, on a store that holds nothing. */
  first?: true;
  only?: Kind;
}

/** Every step has to be here. */
const TARGETS: Record<Step, Target> = {
  "folder-locked": { passes: 1, first: true, only: "embedded" },
  "folder-opened": { passes: 1, first: true, only: "embedded" },
  migrating: { passes: 1, first: true },
  migrated: { passes: 1, first: true },
  "run-accepted": { passes: 4 },
  "run-claimed": { passes: 2 },
  "events-stored": { passes: 8 },
  "reply-complete": { passes: 4 },
  "run-ended": { passes: 4 },
  "jobs-claimed": { passes: 3 },
  "facts-found": { passes: 3 },
  "facts-stored": { passes: 3 },
  "batch-written": { passes: 2 },
  "batch-stored": { passes: 2 },
  "summary-written": { passes: 1 },
  "summary-stored": { passes: 1 },
};

/** What CI tries on the embedded database; on Postgres it tries all. */
const EMBEDDED_IN_CI: ReadonlySet<Step> = new Set<Step>(["folder-opened", "events-stored", "batch-written", "facts-stored"]);
const USERS = 3;
const REACH_DEADLINE = 90_000;
/** How many of these scenarios run at a time: most of their time is waiting for leases. */
const PARALLEL = { postgres: 7, embedded: 2 };

export async function killAtEveryStep(world: World, kind: Kind): Promise<Outcome[]> {
  const steps = STEPS.filter(
    (step) => (TARGETS[step].only ?? kind) === kind && (kind === "postgres" || !world.ci || EMBEDDED_IN_CI.has(step)),
  );
  const waiting = steps.map((step) => ({ step, pass: 1 + world.random.below(TARGETS[step].passes) }));
  const outcomes: Outcome[] = [];
  await Promise.all(
    Array.from({ length: PARALLEL[kind] }, async () => {
      for (let next = waiting.shift(); next; next = waiting.shift()) {
        outcomes.push(await killAt(world, kind, next));
      }
    }),
  );
  return outcomes;
}

async function killAt(world: World, kind: Kind, failpoint: { step: Step; pass: number }): Promise<Outcome> {
  const first = TARGETS[failpoint.step].first === true;
  const arena = new Arena(world, await createStore(world, kind, first));
  const server = arena.launch(failpoint);
  if (!first) {
    arena.turnTo(await server.url);
    arena.load(USERS);
  }
  const reached = await Promise.race([server.exited, sleep(REACH_DEADLINE, null, { ref: false })]);
  if (!reached) {
    arena.problems.push(`the step ${failpoint.step} was not passed ${failpoint.pass} times`);
    await arena.kill(server);
  }
  arena.turnTo(null);
  await arena.start();
  if (first) {
    arena.load(1);
  }
  await sleep(1_000);
  const outcome = await arena.finish();
  world.say(`${kind}: killed at ${failpoint.step}, pass ${failpoint.pass}`);
  return { ...outcome, ...named(outcome, `${kind}, ${failpoint.step} pass ${failpoint.pass}`) };
}

/** Kills under load: each as soon as its server has served for a moment. */
export async function killAtRandom(world: World, kind: Kind, kills: number, longest = 2_500): Promise<Outcome[]> {
  const arena = new Arena(world, await createStore(world, kind));
  let server = await arena.start();
  arena.load(6);
  for (let done = 0; done < kills; done++) {
    const moment = Math.round(world.random.between(200, longest));
    await sleep(moment);
    await arena.kill(server);
    world.say(`${kind}: kill ${done + 1} of ${kills}, after ${moment} ms`);
    server = await arena.start();
  }
  await sleep(2_000);
  return [await arena.finish()];
}

/** Kills during the first start, on stores that hold nothing; what is left must start. */
export async function killFirstStarts(world: World, kind: Kind, kills: number): Promise<Outcome[]> {
  const arena = new Arena(world, await createStore(world, kind, true));
  for (let done = 0; done < kills; done++) {
    const moment = Math.round(world.random.between(200, kind === "postgres" ? 2_500 : 7_000));
    const server = arena.launch();
    await Promise.race([sleep(moment), server.url.then(() => sleep(100)), server.exited]);
    await arena.kill(server);
    world.say(`${kind}: first start killed after ${moment} ms`);
  }
  await arena.start();
  arena.load(2);
  await sleep(2_000);
  return [await arena.finish()];
}

function named(outcome: Outcome, where: string): Pick<Outcome, "details" | "problems"> {
  const name = (text: string): string => `${where}: ${text}`;
  return { details: outcome.details.map(name), problems: outcome.problems.map(name) };
}
