/** `npm run check`: types, lint and format; `npm run check -- --fix` mends what Biome can. */

import { spawnSync } from "node:child_process";
import path from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const fix = process.argv.includes("--fix");
const steps = [
  ["types of src", "node_modules/typescript/bin/tsc", ["--project", "tsconfig.json", "--noEmit"]],
  ["types of test", "node_modules/typescript/bin/tsc", ["--project", "tsconfig.test.json"]],
  ["typed documents", "node_modules/@graphql-codegen/cli/esm/bin.js", ["--config", "codegen.yml", "--silent"]],
  ["types of web", "node_modules/typescript/bin/tsc", ["--project", "web/tsconfig.json"]],
  ["lint and format", "node_modules/@biomejs/biome/bin/biome", ["check", "--error-on-warnings", ...(fix ? ["--write"] : [])]],
];

for (const [name, program, options] of steps) {
  const { status } = spawnSync(process.execPath, [path.join(root, program), ...options], { cwd: root, stdio: "inherit" });
  process.stdout.write(`${status === 0 ? "ok    " : "FAILED"} ${name}\n`);
  if (status !== 0) {
    process.exitCode = 1;
  }
}
