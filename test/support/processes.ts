/** Programs of the built server, run to their end. */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";

export interface Outcome {
  code: number | null;
  output: string;
  /** The lines of standard error. */
  errors: string[];
}

/** Runs `dist/<name>.js` with nothing of this machine's environment but what is given. */
export async function runProgram(name: "main" | "sql", words: string[], env: NodeJS.ProcessEnv): Promise<Outcome> {
  const file = fileURLToPath(new URL(`../../dist/${name}.js`, import.meta.url));
  const child = spawn(process.execPath, [file, ...words], { env: { PATH: process.env.PATH, ...env }, stdio: ["ignore", "pipe", "pipe"] });
  const [output, errors, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, "exit")]);
  return { code: code as number | null, output, errors: errors.split("\n").filter((line) => line !== "") };
}
