/** A Redis server of a test's own, in a temporary folder, which may be stopped and started. */

import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

export interface RedisServer {
  url: string;
  /** What `redis-cli` answers to these words. */
  ask(...words: string[]): Promise<string>;
  /** Ends it, in the middle of whatever it does; what it held is gone. Returns when it is down. */
  kill(): Promise<void>;
  /** It takes connections and answers nothing, until it is told to go on. */
  freeze(): void;
  thaw(): void;
  start(): Promise<void>;
  remove(): Promise<void>;
}

/** Whether this machine has Redis. Under CI it must: `apt-get install redis-server`. */
export const HAS_REDIS: boolean = await run("redis-server", ["--version"]).then(
  () => true,
  () => {
    if (process.env.CI) {
      throw new Error("There is no redis-server on this machine: apt-get install redis-server.");
    }
    process.emitWarning("There is no redis-server on this machine: the tests of Redis are skipped.");
    return false;
  },
);

/** Starts one; whoever starts it removes it. `options`: words of redis-server's command line, such as "--requirepass". */
export async function startRedis(options: string[] = []): Promise<RedisServer> {
  const folder = await mkdtemp(path.join(tmpdir(), "recollect-redis-"));
  const port = await freePort();
  let child: ChildProcess | null = null;
  const start = async (): Promise<void> => {
    const words = ["--port", String(port), "--bind", "127.0.0.1", "--dir", folder, "--save", "", "--appendonly", "no", ...options];
    child = spawn("redis-server", words, { stdio: "ignore" });
    await untilOpen(port);
  };
  const kill = async (): Promise<void> => {
    if (child && child.exitCode === null && child.signalCode === null) {
      child.kill("SIGKILL");
      await once(child, "exit");
    }
  };
  await start();
  return {
    url: `redis://127.0.0.1:${port}`,
    ask: async (...words) => (await run("redis-cli", ["-p", String(port), ...words])).stdout.trim(),
    kill,
    freeze: () => child?.kill("SIGSTOP"),
    thaw: () => child?.kill("SIGCONT"),
    start,
    async remove() {
      await kill();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  return typeof address === "object" && address ? address.port : 0;
}

/** Waits until it takes connections. */
async function untilOpen(port: number): Promise<void> {
  for (let tries = 0; tries < 200; tries++) {
    const socket = connect(port, "127.0.0.1");
    const open = await Promise.race([once(socket, "connect").then(() => true), once(socket, "error").then(() => false)]).catch(() => false);
    socket.destroy();
    if (open) {
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error("The Redis server did not start.");
}
