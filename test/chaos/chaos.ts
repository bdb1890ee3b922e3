/**
 * `npm run test:chaos`: breaks everything there is to break under load, and counts from outside what became of it. Exits with 1
 * unless nothing was lost, duplicated, stuck or leaked.
 *
 *   -- --seed N         the same random moments again     --seconds N     how long outages go on
 *   -- --only NAME      one scenario                      --ci            the short form
 *   -- --self-test      plants one fault of each kind and shows that it is found
 */

import { parseArgs } from "node:util";
import type { Outcome, World } from "./arena.ts";
import { fillDisk, shareFolder } from "./folders.ts";
import { killAtEveryStep, killAtRandom, killFirstStarts } from "./kills.ts";
import { blackHoleDatabase, blackHoleModel, restartDatabase, resumeStaleWorker, stopInTransaction, stopRedis } from "./outages.ts";
import { findPlantedFaults } from "./self-test.ts";
import { inWorld, printTotal, summarize } from "./world.ts";

/** `long`: not in CI. Null: this machine cannot do it. */
interface Scenario {
  name: string;
  long?: true;
  run(world: World): Promise<Outcome[] | null>;
}

const SCENARIOS: Scenario[] = [
  { name: "steps-postgres", run: (world) => killAtEveryStep(world, "postgres") },
  { name: "steps-embedded", run: (world) => killAtEveryStep(world, "embedded") },
  { name: "kills-postgres", run: (world) => killAtRandom(world, "postgres", world.ci ? 3 : 10) },
  { name: "kills-embedded", long: true, run: (world) => killAtRandom(world, "embedded", 8) },
  { name: "first-start-postgres", run: (world) => killFirstStarts(world, "postgres", world.ci ? 2 : 5) },
  { name: "first-start-embedded", long: true, run: (world) => killFirstStarts(world, "embedded", 5) },
  { name: "restarts", run: restartDatabase },
  { name: "black-hole-database", run: blackHoleDatabase },
  { name: "black-hole-model", run: blackHoleModel },
  { name: "redis", run: stopRedis },
  { name: "stale-worker", run: resumeStaleWorker },
  { name: "stopped-in-transaction", long: true, run: stopInTransaction },
  { name: "full-disk", long: true, run: fillDisk },
  { name: "two-processes", run: shareFolder },
];

const { values } = parseArgs({
  options: {
    seed: { type: "string" },
    seconds: { type: "string" },
    only: { type: "string" },
    ci: { type: "boolean", default: false },
    "self-test": { type: "boolean", default: false },
  },
});
const chosen = SCENARIOS.filter(({ name, long }) => (values.only === undefined ? !(values.ci && long) : name === values.only));
if (chosen.length === 0) {
  throw new Error(`There is no scenario of that name. There are: ${SCENARIOS.map(({ name }) => name).join(", ")}.`);
}
const options = { seed: values.seed, seconds: Number(values.seconds ?? (values.ci ? 20 : 60)), ci: values.ci };
process.exitCode = (await inWorld(options, values["self-test"] ? findPlantedFaults : runScenarios)) ? 0 : 1;

async function runScenarios(world: World): Promise<boolean> {
  let good = true;
  for (const { name, run } of chosen) {
    good = (await summarize(name, () => run(world))) && good;
  }
  printTotal();
  return good;
}
