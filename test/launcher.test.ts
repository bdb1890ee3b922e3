/** scripts/run.mjs, in a small project of its own: it compiles what changed, and the program it starts is as good as started directly. */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { cp, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, expect, test } from "vitest";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const TSCONFIG = {
  compilerOptions: { target: "es2023", module: "nodenext", rootDir: "src", outDir: "dist", sourceMap: true, types: [], strict: true },
  include: ["src"],
};

let project: string;

beforeEach(async () => {
  project = await mkdtemp(path.join(tmpdir(), "recollect-launcher-"));
  await cp(path.join(ROOT, "scripts", "run.mjs"), path.join(project, "scripts", "run.mjs"));
  await mkdir(path.join(project, "node_modules"));
  await symlink(path.join(ROOT, "node_modules", "typescript"), path.join(project, "node_modules", "typescript"), "junction");
  await write("package.json", '{ "type": "module" }');
  await write("tsconfig.json", JSON.stringify(TSCONFIG));
  await write("src/main.ts", 'console.log("first");\n');
});

afterEach(() => rm(project, { recursive: true }));

async function write(file: string, content: string): Promise<void> {
  await mkdir(path.dirname(path.join(project, file)), { recursive: true });
  await writeFile(path.join(project, file), content);
}

function start(...words: string[]) {
  // As if started by hand: under npm it would also look after npm's shell.
  const { npm_lifecycle_event: _, ...env } = process.env;
  return spawn(process.execPath, [path.join(project, "scripts", "run.mjs"), ...words], {
    cwd: project,
    env,
    stdio: ["ignore", "pipe", "pipe"],
  });
}

async function run(...words: string[]) {
  const child = start(...words);
  const [output, errors, [code, signal]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, "exit")]);
  return { output, errors, code, signal };
}

test("the program gets its arguments, this Node and the project's tools first in PATH, and its exit code is passed on", async () => {
  await write(
    "program.mjs",
    "console.log(JSON.stringify({ words: process.argv.slice(2), path: process.env.PATH, node: process.execPath })); process.exitCode = 7;",
  );
  const { output, code } = await run("program.mjs", "--one", "two words", "");
  const seen = JSON.parse(output);
  expect(seen).toMatchObject({ words: ["--one", "two words", ""], node: process.execPath });
  expect(seen.path.split(path.delimiter).slice(0, 2)).toEqual([path.dirname(process.execPath), path.join(project, "node_modules", ".bin")]);
  expect(code).toBe(7);
});

test("build compiles what changed, removes what has no source any more, and leaves the rest untouched", async () => {
  await write("src/deep/old.ts", "export const old = 1;\n");
  expect(await run("build", "dist/main.js")).toMatchObject({ output: "first\n", errors: "", code: 0 });
  const { mtimeMs } = await stat(path.join(project, "dist", "main.js"));

  await rm(path.join(project, "src", "deep"), { recursive: true });
  await write("src/other.ts", "export const other = 1;\n");
  expect(await run("build", "dist/main.js")).toMatchObject({ output: "first\n", code: 0 });
  const files = (await readdir(path.join(project, "dist"), { recursive: true })).filter((file) => file.endsWith(".js"));
  expect(files.sort()).toEqual(["main.js", "other.js"]);
  expect((await stat(path.join(project, "dist", "main.js"))).mtimeMs).toBe(mtimeMs);
  expect(JSON.parse(await readFile(path.join(project, "dist", "main.js.map"), "utf8")).sources).toEqual(["../src/main.ts"]);

  await write("src/main.ts", 'console.log("second");\n');
  expect(await run("build", "dist/main.js")).toMatchObject({ output: "second\n", code: 0 });
  expect((await readdir(project)).sort()).toEqual(["dist", "node_modules", "package.json", "scripts", "src", "tsconfig.json"]);
});

test("a type error stops the start and leaves the last build as it was", async () => {
  await run("build");
  await write("src/main.ts", 'const wrong: number = "text";\nconsole.log(wrong);\n');
  const { output, code } = await run("build", "dist/main.js");
  expect(output).toContain("error TS2322");
  expect(output).not.toContain("first");
  expect(code).not.toBe(0);
  expect(await readFile(path.join(project, "dist", "main.js"), "utf8")).toContain("first");
});

test("two builds at once both succeed", async () => {
  const results = await Promise.all([run("build", "dist/main.js"), run("build", "dist/main.js")]);
  for (const result of results) {
    expect(result).toMatchObject({ output: "first\n", errors: "", code: 0 });
  }
});

test("without TypeScript, as after an install without development tools, the existing build is started; without a build the remedy is named", async () => {
  await rm(path.join(project, "node_modules", "typescript"));
  const refused = await run("build", "dist/main.js");
  expect(refused).toMatchObject({ errors: "TypeScript is not installed, so src cannot be compiled. Run: npm ci --include=dev\n", code: 1 });
  await write("dist/main.js", 'console.log("built before");\n');
  expect(await run("build", "dist/main.js")).toMatchObject({ output: "built before\n", errors: "", code: 0 });
});

test("what is missing is named with its remedy", async () => {
  expect(await run("missing.mjs")).toMatchObject({ errors: "missing.mjs is missing. Run: npm ci\n", code: 1 });
  expect((await run()).errors).toMatch(/^Usage: /);
  await rm(path.join(project, "node_modules"), { recursive: true });
  expect(await run("program.mjs")).toMatchObject({ errors: "The dependencies are not installed. Run: npm ci\n", code: 1 });
});

test.runIf(process.platform !== "win32").each(["SIGTERM", "SIGINT", "SIGHUP"] as const)(
  "%s reaches the program once, which ends in its own way",
  async (signal) => {
    await write(
      "program.mjs",
      `process.on("${signal}", () => { console.log("told"); process.exitCode = 9; clearInterval(alive); });
    const alive = setInterval(() => {}, 1000); console.log("ready");`,
    );
    const child = start("program.mjs");
    const lines: string[] = [];
    const ended = once(child, "exit");
    for await (const line of createInterface({ input: child.stdout })) {
      lines.push(line);
      if (line === "ready") {
        child.kill(signal);
      }
    }
    expect(lines).toEqual(["ready", "told"]);
    expect(await ended).toEqual([9, null]);
  },
);

test.runIf(process.platform !== "win32")("a program that a signal ends, ends the launcher by the same signal", async () => {
  await write("program.mjs", 'process.kill(process.pid, "SIGKILL"); setInterval(() => {}, 1000);');
  expect(await run("program.mjs")).toMatchObject({ code: null, signal: "SIGKILL" });
});
