/** The embedded database's folder: a disk that is full, and a second process. */

import { execFile } from "node:child_process";
import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { Arena, createStore, type Outcome, sqlOfFolder, type World } from "./arena.ts";
import { post } from "./client.ts";
import { startServer } from "./server.ts";

const run = promisify(execFile);
/** Room beside what the folder holds at first, before and after it grows (MB). */
const ROOM = 6;
const MORE_ROOM = 400;
const FULL_DEADLINE = 60_000;

/** Null when this user may not mount a small disk. */
export async function fillDisk(world: World): Promise<Outcome[] | null> {
  const disk = await mkdtemp(path.join(tmpdir(), "recollect-chaos-disk-"));
  const size = async (megabytes: number, ...words: string[]): Promise<unknown> =>
    run("mount", ["-t", "tmpfs", "-o", `${words.join("")}size=${megabytes}m`, "tmpfs", disk]);
  const used = Number((await run("du", ["-sm", world.folderTemplate])).stdout.split("\t")[0]);
  if (!(await size(used + ROOM).catch(() => null))) {
    await rm(disk, { recursive: true });
    return null;
  }
  try {
    const dataDir = path.join(disk, "data");
    await cp(world.folderTemplate, dataDir, { recursive: true });
    const arena = new Arena(world, { dataDir, sql: sqlOfFolder(dataDir), remove: async () => undefined });
    const server = await arena.start();
    arena.load(6);
    const full = await Promise.race([server.exited, refusesWrites(arena)]);
    world.say(
      full === null
        ? "the disk did not fill up"
        : full === "STORAGE_FULL"
          ? "writes are refused: STORAGE_FULL"
          : "the server ended on a full disk",
    );
    await sleep(1_000);
    // What a full disk does to the process may be anything; what it had acknowledged may not.
    await arena.kill(server);
    await size(used + ROOM + MORE_ROOM, "remount,");
    arena.problems.length = 0;
    if (full === null) {
      arena.problems.push("the disk did not fill up");
    }
    await arena.start();
    await sleep(2_000);
    return [await arena.finish()];
  } finally {
    await run("umount", [disk]).catch(() => run("umount", ["-l", disk]));
    await rm(disk, { recursive: true, force: true });
  }
}

/** The code of the first write that is refused; null when all are taken. */
async function refusesWrites(arena: Arena): Promise<string | null> {
  const query = "mutation ($input: AddMemoriesInput!) { addMemories(input: $input) { changes { id } } }";
  for (const end = Date.now() + FULL_DEADLINE; Date.now() < end; ) {
    const memories = Array.from({ length: 100 }, (_, index) => ({ memory: `User wrote ${Date.now()} ${index} ${"word ".repeat(60)}` }));
    const input = { userId: "filler", memories };
    const answer = await post(arena.url ?? "", query, { input }, 10_000).catch(() => null);
    if (answer?.errors?.[0]) {
      return answer.errors[0].extensions.code;
    }
  }
  return null;
}

/** A second server on the folder refuses and names the first; the first is not disturbed. */
export async function shareFolder(world: World): Promise<Outcome[]> {
  const arena = new Arena(world, await createStore(world, "embedded"));
  const server = await arena.start();
  arena.load(2);
  const second = startServer({ dataDir: arena.store.dataDir ?? "", modelUrl: world.model.server.url });
  const exit = await Promise.race([second.exited, second.url.then(() => null)]);
  if (!exit) {
    second.signal("SIGKILL");
    arena.problems.push("two servers opened one folder");
  } else if (exit.code !== 1 || !exit.errors.includes(`process ${server.pid}`)) {
    arena.problems.push(`the second server did not name the first (${server.pid}): ${exit.errors}`);
  }
  await sleep(1_000);
  return [await arena.finish()];
}
