/**
 * `npm run test:soak`: what takes too long for every day. 30 kills at random moments; 200 streams for 10 minutes, without a gap
 * and with flat memory; 10,000 idle subscriptions. Options: --seed N, --minutes N, --kills N.
 */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { killAtRandom } from "./kills.ts";
import { inWorld, print, summarize } from "./world.ts";

const STREAMS = fileURLToPath(new URL("../bench/streams.ts", import.meta.url));
/** The last third of the streams' time against the middle third. */
const MOST_GROWTH = 1.1;

type Row = Record<string, string | number>;

const { values } = parseArgs({
  options: { seed: { type: "string" }, minutes: { type: "string", default: "10" }, kills: { type: "string", default: "30" } },
});

process.exitCode = (await inWorld({ seed: values.seed, seconds: 60, ci: false }, async (world) => {
  const kills = await summarize("kills-postgres", () => killAtRandom(world, "postgres", Number(values.kills)));
  const name = await world.cluster.create();
  const streams = await measureStreams(world.cluster.url(name), ["--minutes", values.minutes, "--alone", "paced"]);
  const idle = await measureStreams(world.cluster.url(name), ["idle"]);
  return kills && streams && idle;
}))
  ? 0
  : 1;

/** Runs the streams' own program and judges what it measured of this server; figures of idle sockets are only shown. */
async function measureStreams(databaseUrl: string, words: string[]): Promise<boolean> {
  print(`\nstreams ${words.join(" ")}`);
  const env = { ...process.env, DATABASE_URL: databaseUrl };
  const child = spawn(process.execPath, [STREAMS, ...words], { env, stdio: ["ignore", "pipe", "inherit"] });
  const [output, [code]] = await Promise.all([text(child.stdout), once(child, "exit")]);
  const lines = output.trimEnd().split("\n");
  print(lines.slice(0, -1).join("\n"));
  if (code !== 0) {
    print(`FAILED: it ended with ${code}`);
    return false;
  }
  const measured = JSON.parse(lines.at(-1) ?? "{}") as Record<string, Row[]>;
  const paced = measured.paced?.find((row) => Object.values(row).includes("recollect"));
  const good = !paced || (paced.lost === 0 && paced.gaps === 0 && Number(paced["last third / middle"]) <= MOST_GROWTH);
  print(
    good
      ? "ok"
      : `FAILED: lost ${paced?.lost}, gaps ${paced?.gaps}, memory of the last third ${paced?.["last third / middle"]} of the middle`,
  );
  return good;
}
