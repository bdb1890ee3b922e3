/**
 * Makes sure one process at a time has the folder of the embedded database: two would silently lose each other's rows.
 *
 * The lock is a local socket that its holder listens on. The kernel closes it with the process, however that ends, so a
 * lock left behind is told from a held one by nobody answering. Through the same socket the holder says its pid and lets
 * `npm run sql` ask questions while the server runs; the socket file is open to its owner only.
 */

import { createHash } from "node:crypto";
import { chmod, open, realpath, rm, stat } from "node:fs/promises";
import { connect, createServer, type Server, type Socket } from "node:net";
import path from "node:path";
import { AppError } from "../errors.ts";

export interface FolderLock {
  /** Sets who answers questions; before that they are refused. */
  onQuestion(answer: (question: string) => Promise<string>): void;
  release(): Promise<void>;
}

const LOCK_NAME = "lock.sock";
/** Systems cut socket paths at 104 to 108 bytes. */
const LONGEST_SOCKET_PATH = 100;
/** How long the holder of a lock may take to answer a connection, and to answer a question, in ms. */
const GREETING_DEADLINE = 2_000;
const ANSWER_DEADLINE = 30_000;
/** A reclaim that has not finished after this long (ms) was interrupted. */
const RECLAIM_STALE = 10_000;

/** Throws CONFLICT, with the holder's pid, when another process has the folder. */
export async function lockFolder(folder: string): Promise<FolderLock> {
  const address = await socketAddress(folder);
  const holder = createHolder(address.close);
  try {
    for (let attempt = 0; attempt < 20; attempt++) {
      if (await listen(holder.server, address.path)) {
        await chmod(address.path, 0o600).catch(() => undefined);
        return holder;
      }
      const pid = await greet(address.path);
      if (pid !== null) {
        throw new AppError(
          "CONFLICT",
          `The folder ${folder} is in use by process ${pid}. Stop that server, or give this one a folder of its own with DATA_DIR.`,
        );
      }
      await reclaim(address.path);
    }
    throw new AppError("CONFLICT", `The folder ${folder} cannot be locked. Remove lock.sock in it if no server uses the folder.`);
  } catch (error) {
    await address.close();
    throw error;
  }
}

/** Asks the process that has the folder. Null when nobody has it. */
export async function askHolder(folder: string, question: string): Promise<string | null> {
  const address = await socketAddress(folder);
  const socket = await dial(address.path).finally(address.close);
  if (!socket) {
    return null;
  }
  socket.write(`${JSON.stringify(question)}\n`);
  const lines = await readLines(socket, 2, ANSWER_DEADLINE);
  const answer = lines[1];
  if (answer === undefined) {
    throw new AppError(
      "SERVICE_UNAVAILABLE",
      "The server that has the folder did not answer. Try again, or stop it and ask the folder itself.",
    );
  }
  return JSON.parse(answer) as string;
}

/** The address of a folder's lock, always inside the folder, so that every way to the folder leads to the same lock. */
async function socketAddress(folder: string): Promise<{ path: string; close: () => Promise<void> }> {
  const real = await realpath(folder);
  const nothing = async (): Promise<void> => undefined;
  if (process.platform === "win32") {
    return { path: `\\\\.\\pipe\\recollect-${createHash("sha256").update(real).digest("hex").slice(0, 24)}`, close: nothing };
  }
  const inside = path.join(real, LOCK_NAME);
  const relative = path.relative(process.cwd(), inside);
  const short = relative.length < inside.length ? relative : inside;
  if (Buffer.byteLength(short) <= LONGEST_SOCKET_PATH) {
    return { path: short, close: nothing };
  }
  if (process.platform === "linux") {
    const handle = await open(real, "r");
    return { path: `/proc/self/fd/${handle.fd}/${LOCK_NAME}`, close: () => handle.close() };
  }
  throw new AppError("BAD_USER_INPUT", `The path of the folder ${real} is too long to be locked. Name a shorter one with DATA_DIR.`);
}

function createHolder(onRelease: () => Promise<void>): FolderLock & { server: Server } {
  const sockets = new Set<Socket>();
  let answer: ((question: string) => Promise<string>) | null = null;
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => socket.destroy());
    socket.setTimeout(ANSWER_DEADLINE, () => socket.destroy());
    socket.write(`${process.pid}\n`);
    void readLines(socket, 1, ANSWER_DEADLINE)
      .then(async ([question]) => {
        if (question !== undefined && answer) {
          socket.end(`${JSON.stringify(await answer(JSON.parse(question) as string))}\n`);
        } else {
          socket.end();
        }
      })
      // Whatever somebody writes to this socket ends that connection alone.
      .catch(() => socket.destroy());
  });
  server.unref();
  return {
    server,
    onQuestion: (next) => {
      answer = next;
    },
    async release() {
      for (const socket of sockets) {
        socket.destroy();
      }
      await new Promise<void>((resolve) => {
        server.close(() => resolve());
      });
      await onRelease();
    },
  };
}

/** False when the address is taken, by a live process or by a file left behind. */
function listen(server: Server, address: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const onError = (error: NodeJS.ErrnoException): void => {
      server.off("listening", onListening);
      if (error.code === "EADDRINUSE") {
        resolve(false);
      } else {
        reject(
          new AppError(
            "SERVICE_UNAVAILABLE",
            `The lock ${address} cannot be made (${error.code}). Set DATA_DIR to a folder this user may write to.`,
            { cause: error },
          ),
        );
      }
    };
    const onListening = (): void => {
      server.off("error", onError);
      // A connection that cannot be taken is the other side's loss.
      server.on("error", () => undefined);
      resolve(true);
    };
    server.once("error", onError);
    server.once("listening", onListening);
    server.listen(address);
  });
}

/** The holder's pid; null when nobody listens. */
async function greet(address: string): Promise<string | null> {
  const socket = await dial(address);
  if (!socket) {
    return null;
  }
  const [pid] = await readLines(socket, 1, GREETING_DEADLINE).finally(() => socket.destroy());
  // Somebody listens, though too busy to say who.
  return pid ?? "unknown";
}

function dial(address: string): Promise<Socket | null> {
  return new Promise((resolve) => {
    const socket = connect(address);
    socket.once("connect", () => resolve(socket));
    socket.once("error", () => resolve(null));
  });
}

/** Reads until so many lines have come, the other side ends, or the deadline passes. */
function readLines(socket: Socket, count: number, deadline: number): Promise<string[]> {
  return new Promise((resolve) => {
    let text = "";
    const finish = (): void => {
      clearTimeout(timer);
      resolve(text.split("\n").slice(0, -1));
    };
    const timer = setTimeout(finish, deadline);
    socket.setEncoding("utf8");
    socket.on("data", (chunk: string) => {
      text += chunk;
      if (text.split("\n").length > count) {
        finish();
      }
    });
    socket.once("close", finish);
    socket.once("error", finish);
  });
}

/** Removes a socket left behind. One process at a time: a second one could remove the first one's new socket. */
async function reclaim(address: string): Promise<void> {
  const marker = `${address}.reclaim`;
  try {
    const handle = await open(marker, "wx");
    try {
      // Whoever had the marker before may have taken the lock by now.
      if ((await greet(address)) === null) {
        await rm(address, { force: true });
      }
    } finally {
      await handle.close();
      await rm(marker, { force: true });
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") {
      throw error;
    }
    const age = await stat(marker).then(
      (stats) => Date.now() - stats.mtimeMs,
      () => 0,
    );
    if (age > RECLAIM_STALE) {
      await rm(marker, { force: true });
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
