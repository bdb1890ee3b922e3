/** The built server as a process of its own. */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { Step } from "../../src/step.ts";

const MAIN = fileURLToPath(new URL("../../dist/main.js", import.meta.url));
const FAILPOINT = new URL("./failpoint.ts", import.meta.url).href;
/** How long a start may take (ms): that of a new embedded folder on a busy machine. */
const START_DEADLINE = 120_000;

/** The signal a process sends itself when it passes a step for the `pass`-th time. */
export interface Failpoint {
  step: Step;
  pass: number;
  signal?: NodeJS.Signals;
}

export interface ServerOptions {
  /** Exactly one of the two. */
  databaseUrl?: string;
  dataDir?: string;
  redisUrl?: string;
  modelUrl: string;
  failpoint?: Failpoint;
}

export interface ServerProcess {
  pid: number;
  /** How it ended, once it has. */
  exited: Promise<Exit>;
  /** Its address; rejects when it ends before it serves. */
  url: Promise<string>;
  signal(name: NodeJS.Signals): void;
}

export interface Exit {
  code: number | null;
  signal: NodeJS.Signals | null;
  /** The end of what it wrote to standard error. */
  errors: string;
}

/** Processes that have not ended. */
const running = new Set<ChildProcess>();

export function startServer({ databaseUrl = "", dataDir = "", redisUrl, modelUrl, failpoint }: ServerOptions): ServerProcess {
  const env: NodeJS.ProcessEnv = {
    PATH: process.env.PATH,
    PORT: "0",
    DATABASE_URL: databaseUrl,
    DATA_DIR: dataDir,
    OPENAI_BASE_URL: modelUrl,
    CHAT_MODEL: "scripted-model",
    LOG_LEVEL: "info",
    ...(redisUrl !== undefined && { REDIS_URL: redisUrl }),
    ...(failpoint && { CHAOS_STEP: failpoint.step, CHAOS_PASS: String(failpoint.pass), CHAOS_SIGNAL: failpoint.signal ?? "SIGKILL" }),
  };
  const options = failpoint ? ["--import", FAILPOINT] : [];
  const child = spawn(process.execPath, [...options, MAIN], { env, stdio: ["ignore", "pipe", "pipe"] });
  running.add(child);
  let errors = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    errors = (errors + text).slice(-2_000);
  });
  const exited = once(child, "exit").then(([code, signal]): Exit => {
    running.delete(child);
    return { code: code as number | null, signal: signal as NodeJS.Signals | null, errors };
  });
  const url = addressOf(child, exited);
  // Who starts one to see it fail does not ask for its address.
  url.catch(() => undefined);
  return { pid: child.pid ?? 0, exited, url, signal: (name) => child.kill(name) };
}

/** Ends a server; a graceful end that does not come is an error. */
export async function stopServer(server: ServerProcess): Promise<void> {
  server.signal("SIGTERM");
  // One that stands still learns of it only when it goes on.
  server.signal("SIGCONT");
  const timer = setTimeout(() => server.signal("SIGKILL"), 30_000);
  const exit = await server.exited;
  clearTimeout(timer);
  if (exit.code !== 0) {
    throw new Error(`SIGTERM ended the server with ${exit.signal ?? exit.code}: ${exit.errors}`);
  }
}

/** For the end of the harness, however that comes. */
export function killServers(): void {
  for (const child of running) {
    child.kill("SIGKILL");
  }
}

async function addressOf(child: ChildProcess, exited: Promise<Exit>): Promise<string> {
  const found = Promise.withResolvers<string>();
  const timer = setTimeout(() => found.reject(new Error("The server did not serve within its time.")), START_DEADLINE);
  exited.then(({ code, signal, errors }) => found.reject(new Error(`The server ended (${signal ?? code}) before it served: ${errors}`)));
  if (child.stdout) {
    // Read to its end: a full pipe would hold the server up.
    createInterface({ input: child.stdout }).on("line", (line) => {
      const url = /serves on (http:\/\/\S+)\/graphql/.exec(line)?.[1];
      if (url) {
        found.resolve(url);
      }
    });
  }
  return found.promise.finally(() => clearTimeout(timer));
}
