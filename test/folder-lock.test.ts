/** One process at a time has the embedded folder. */

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { askHolder, type FolderLock, lockFolder } from "../src/stores/folder-lock.ts";

let folder: string;
const locks: FolderLock[] = [];

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "recollect-lock-"));
});

afterEach(async () => {
  for (const lock of locks.splice(0)) {
    await lock.release();
  }
  await rm(folder, { recursive: true, force: true });
});

async function lock(): Promise<FolderLock> {
  const taken = await lockFolder(folder);
  locks.push(taken);
  return taken;
}

test("a second one is refused with the holder's pid", async () => {
  await lock();
  await expect(lock()).rejects.toMatchObject({ code: "CONFLICT", message: expect.stringContaining(`process ${process.pid}`) });
});

test("a released lock can be taken again", async () => {
  const first = await lock();
  await first.release();
  locks.pop();
  await lock();
});

test("a socket left behind by a process that died is taken over, by one of many that try", async () => {
  // A socket file nobody listens on: what kill -9 leaves.
  const dead = createServer();
  await new Promise<void>((resolve) => dead.listen(path.join(folder, "other.sock"), resolve));
  const { rename } = await import("node:fs/promises");
  await rename(path.join(folder, "other.sock"), path.join(folder, "lock.sock"));
  await new Promise<void>((resolve) => dead.close(() => resolve()));
  const attempts = await Promise.allSettled(Array.from({ length: 8 }, lock));
  expect(attempts.filter((attempt) => attempt.status === "fulfilled")).toHaveLength(1);
});

test("a reclaim that was interrupted does not lock the folder for ever", async () => {
  await writeFile(path.join(folder, "lock.sock.reclaim"), "");
  await lock();
});

test("a folder too deep for a socket path is locked all the same", async () => {
  const parent = folder;
  folder = path.join(folder, "x".repeat(100));
  const { mkdir } = await import("node:fs/promises");
  await mkdir(folder);
  const taken = await lock();
  await expect(lock()).rejects.toMatchObject({ code: "CONFLICT" });
  await taken.release();
  locks.pop();
  await lock();
  folder = parent;
});

test("a symbolic link, and any other way to the folder, leads to the same lock", async () => {
  const { symlink, mkdir } = await import("node:fs/promises");
  const parent = folder;
  const deep = path.join(parent, "y".repeat(120));
  await mkdir(deep);
  const link = path.join(parent, "link");
  await symlink(deep, link);
  folder = deep;
  await lock();
  folder = link;
  await expect(lock()).rejects.toMatchObject({ code: "CONFLICT" });
  folder = parent;
});

test("whatever is written to the lock, the holder goes on", async () => {
  const taken = await lock();
  taken.onQuestion(async () => {
    throw new Error("cannot answer");
  });
  const { connect } = await import("node:net");
  for (const line of ["no JSON\n", '"a question nobody can answer"\n', "\0\xff\n"]) {
    await new Promise<void>((resolve) => {
      const socket = connect(path.join(folder, "lock.sock"), () => socket.write(line));
      socket.resume();
      socket.once("close", () => resolve());
    });
  }
  taken.onQuestion(async () => "still here");
  expect(await askHolder(folder, "there?")).toBe("still here");
});

test("the holder answers questions, and nobody answers for a free folder", async () => {
  expect(await askHolder(folder, "anyone?")).toBeNull();
  const taken = await lock();
  taken.onQuestion(async (question) => `you asked: ${question}\nin two lines`);
  expect(await askHolder(folder, "how are you?")).toBe("you asked: how are you?\nin two lines");
});
