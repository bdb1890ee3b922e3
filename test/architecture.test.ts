/** Imports only point inward, and every statement of SQL goes through a unit of work. */

import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const SOURCE = fileURLToPath(new URL("../src/", import.meta.url));

/** What each part may import beside itself: other parts, and for the domain the packages as well. */
const ALLOWED: Record<string, { parts: string[]; packages?: string[] }> = {
  agent: { parts: ["errors", "step"], packages: ["node:crypto", "uuid", "zod"] },
  models: { parts: ["agent", "errors"] },
  stores: { parts: ["agent", "errors", "events/event-store", "identity/api-keys", "identity/identity", "step"] },
  events: { parts: ["agent", "errors", "step"] },
  jobs: { parts: ["agent", "errors", "step"] },
  graphql: { parts: ["agent", "errors", "limits", "logger", "http", "identity", "page", "report-failure"] },
  rest: { parts: ["agent", "errors", "graphql", "http", "identity", "limits", "logger", "report-failure"] },
  server: { parts: ["agent", "errors", "graphql", "http", "identity", "limits", "logger", "page", "report-failure", "rest", "web-chat"] },
  http: { parts: ["errors", "report-failure"] },
  // What pages for browsers have in common, and the web chat's files.
  page: { parts: [] },
  "web-chat": { parts: ["http", "page"] },
  // Who is asking. Transports let callers in by it; the domain is only ever told for whom to act.
  identity: { parts: ["agent", "errors"] },
  "report-failure": { parts: ["errors", "logger"] },
  limits: { parts: ["errors"], packages: ["zod"] },
  config: { parts: ["errors", "identity/authenticator", "identity/settings", "limits"] },
  logger: { parts: ["config"] },
  errors: { parts: [] },
  // Says where the process is, for whoever kills it there.
  step: { parts: [], packages: ["node:diagnostics_channel"] },
  context: { parts: ["agent", "config", "errors", "events", "identity", "jobs", "limits", "logger", "models", "stores"] },
  main: { parts: ["config", "context", "errors", "logger", "server"] },
  sql: { parts: ["config", "errors", "stores"] },
  // A client of the server like any other; only the doctor reads the settings, and keys and serve are the programs themselves.
  cli: { parts: ["agent/export-format", "agent/ground", "agent/input", "config", "errors", "keys", "main"] },
  keys: { parts: ["agent/input", "config", "errors", "identity", "stores"] },
};

interface SourceFile {
  name: string;
  text: string;
}

function sourceFiles(): SourceFile[] {
  return readdirSync(SOURCE, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts") && !name.startsWith("generated"))
    .map((name) => ({ name: name.split(path.sep).join("/"), text: readFileSync(path.join(SOURCE, name), "utf8") }));
}

/** Every import that the table does not allow. */
function forbiddenImports(files: SourceFile[]): string[] {
  return files.flatMap(({ name, text }) => {
    const part = partOf(name);
    const allowed = ALLOWED[part];
    if (!allowed) {
      return [`${name} belongs to no known part`];
    }
    return importsOf(text).flatMap((specifier) => {
      if (!specifier.startsWith(".")) {
        return allowed.packages && !allowed.packages.includes(specifier) ? [`${name} imports ${specifier}`] : [];
      }
      const target = path.posix.join(path.posix.dirname(name), specifier).replace(/\.ts$/, "");
      const fits = partOf(target) === part || allowed.parts.some((other) => target === other || target.startsWith(`${other}/`));
      return fits ? [] : [`${name} imports ${target}`];
    });
  });
}

function partOf(name: string): string {
  return (name.split("/")[0] ?? "").replace(/\.ts$/, "");
}

function importsOf(text: string): string[] {
  return [...text.matchAll(/^(?:import|export)\b[^"';]*?from\s+"([^"]+)"|^import\s+"([^"]+)"|\bimport\("([^"]+)"\)/gm)].map(
    (match) => match[1] ?? match[2] ?? match[3] ?? "",
  );
}

test("every file imports only what its part may know", () => {
  expect(forbiddenImports(sourceFiles())).toEqual([]);
});

test("a forbidden import is found", () => {
  const planted = [
    { name: "agent/recall.ts", text: 'import { createMemoryStore } from "../stores/memories.ts";' },
    { name: "agent/run.ts", text: 'import { GraphQLError } from "graphql";' },
    { name: "graphql/run.resolver.ts", text: 'import {\n  Database,\n} from "../stores/database.ts";' },
    { name: "rest.ts", text: 'const models = await import("./models/openai.ts");' },
  ];
  expect(forbiddenImports(planted)).toHaveLength(4);
});

test("only the configuration reads the environment", () => {
  const readers = sourceFiles().filter(({ text }) => text.includes("process.env"));
  expect(readers.map(({ name }) => name).sort()).toEqual(["cli.ts", "keys.ts", "main.ts", "sql.ts"]);
});

test("no statement leaves its unit of work through the ORM's own connection", () => {
  const bare = sourceFiles().filter(({ text }) => /\.getConnection\(|\bem\.execute\(|connection\.execute\(|getKysely\(/.test(text));
  expect(bare.map(({ name }) => name)).toEqual([]);
});
