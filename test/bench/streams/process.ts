/** Servers as processes of their own, and what the system says of them (Linux only: elsewhere NaN). */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

const COLLECT = new URL("./collect.ts", import.meta.url).href;
/** Clock ticks a second in /proc/<pid>/stat. */
const TICKS = 100;

export interface Served {
  url: string;
  child: ChildProcess;
}

/** A program of this folder, or of dist; resolves with the address that it prints. */
export async function serve(program: string, words: string[] = [], env: NodeJS.ProcessEnv = {}): Promise<Served> {
  const file = fileURLToPath(new URL(program, import.meta.url));
  const options = { env: { PATH: process.env.PATH, ...env }, stdio: ["ignore", "pipe", "inherit"] as ["ignore", "pipe", "inherit"] };
  const child = spawn(process.execPath, ["--import", COLLECT, file, ...words], options);
  for await (const line of createInterface({ input: child.stdout })) {
    const url = /^(http:\/\/\S+)$|serves on (http:\/\/[^/\s"]+)/
      .exec(line)
      ?.slice(1)
      .find((found) => found !== undefined);
    if (url) {
      child.stdout.resume();
      return { url, child };
    }
  }
  throw new Error(`${program} ended before it was ready.`);
}

export async function stop({ child }: Served): Promise<void> {
  const exited = once(child, "exit");
  child.kill("SIGTERM");
  await exited;
}

/** Processor time so far, in milliseconds. */
export function cpuMs({ child }: Served): number {
  const fields = proc(child, "stat")?.split(") ")[1]?.split(" ") ?? [];
  return ((Number(fields[11]) + Number(fields[12])) * 1_000) / TICKS;
}

/** Resident memory, in KiB. */
export function residentKib({ child }: Served): number {
  return Number(/VmRSS:\s+(\d+)/.exec(proc(child, "status") ?? "")?.[1]);
}

/** Resident memory without garbage, in KiB. */
export async function heldKib(server: Served): Promise<number> {
  for (let round = 0; round < 3; round++) {
    server.child.kill("SIGUSR2");
    await sleep(700);
  }
  return residentKib(server);
}

function proc(child: ChildProcess, file: string): string | null {
  try {
    return readFileSync(`/proc/${child.pid}/${file}`, "utf8");
  } catch {
    return null;
  }
}
