/** `npm run dev`: compiles at each change and starts the server again, once the old one has let go of its port and folder. */

import { spawn } from "node:child_process";
import { rmSync, unwatchFile, watchFile } from "node:fs";
import path from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const main = path.join(root, "dist", "main.js");
const tsc = path.join(root, "node_modules", "typescript", "bin", "tsc");

// From here on dist follows src by another way than scripts/run.mjs, whose record would no longer be true.
rmSync(path.join(root, "dist", ".sources"), { force: true });

const options = ["--project", "tsconfig.json", "--watch", "--preserveWatchOutput", "--noEmitOnError", "--locale", "en"];
const compiler = spawn(process.execPath, [tsc, ...options], { cwd: root, stdio: ["ignore", "pipe", "inherit"] });
let server = null;
let wanted = false;
let ending = false;

createInterface({ input: compiler.stdout }).on("line", (line) => {
  if (line !== "") {
    console.log(line);
  }
  if (line.includes("Found 0 errors")) {
    restart();
  }
});
compiler.once("exit", () => end("SIGTERM"));
watchFile(".env", { interval: 1_000 }, restart);

const terminal = process.stdin.isTTY || process.stdout.isTTY || process.stderr.isTTY;
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
  // A terminal sends Ctrl-C and hang-ups to the server too, and a second signal would cut its drain short.
  process.on(signal, () => end(signal === "SIGTERM" || !terminal ? "SIGTERM" : null));
}

/** Ends the running server, whose end starts the next one. */
function restart() {
  if (server === null) {
    start();
  } else if (!wanted) {
    wanted = true;
    server.kill("SIGTERM");
  }
}

function start() {
  if (ending) {
    return;
  }
  wanted = false;
  server = spawn(process.execPath, [main], { stdio: "inherit" });
  server.once("exit", (code, signal) => {
    server = null;
    if (wanted) {
      start();
    } else if (!ending) {
      console.log(`The server ended (${signal ?? code}). The next change starts it again.`);
    }
  });
}

/** Lets the server end; this process follows when nothing of it is left. */
function end(signal) {
  if (ending) {
    return;
  }
  ending = true;
  wanted = false;
  unwatchFile(".env");
  compiler.kill();
  if (signal !== null) {
    server?.kill(signal);
  }
}
