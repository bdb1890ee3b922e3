/** Programs of the built server, run to their end. */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";

export interface Outcome {
  code: number | null;
  output: string;
  /** The lines of standard error. */
  errors: string[];
}

/** Runs `dist/<name>.js` with nothing of this machine's environment but what is given. */
export async function runProgram(name: "cli" | "keys" | "main" | "sql", words: string[], env: NodeJS.ProcessEnv): Promise<Outcome> {
  const file = fileURLToPath(new URL(`../../dist/${name}.js`, import.meta.url));
  const child = spawn(process.execPath, [file, ...words], { env: { PATH: process.env.PATH, ...env }, stdio: ["ignore", "pipe", "pipe"] });
  const [output, errors, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, "exit")]);
  return { code: code as number | null, output, errors: errors.split("\n").filter((line) => line !== "") };
}

export interface ServerProcess {
  url: string;
  /** Sends the signal, again or not, and waits for the end; gives the exit code, null when it was killed. */
  kill(signal: NodeJS.Signals): Promise<number | null>;
}

/** Starts the built server as a process of its own, and waits until it serves; whoever starts it kills it. `env` lets it log at info. */
export async function startServerProcess(env: NodeJS.ProcessEnv): Promise<ServerProcess> {
  const file = fileURLToPath(new URL("../../dist/main.js", import.meta.url));
  const child = spawn(process.execPath, [file], { env: { PATH: process.env.PATH, ...env }, stdio: ["ignore", "pipe", "inherit"] });
  const exited = once(child, "exit");
  for await (const line of createInterface({ input: child.stdout })) {
    const url = /serves on (http:\/\/\S+)\/graphql/.exec(line)?.[1];
    if (url) {
      child.stdout.resume();
      return {
        url,
        async kill(signal) {
          child.kill(signal);
          const [code] = await exited;
          return code as number | null;
        },
      };
    }
  }
  throw new Error("The server ended before it served.");
}
