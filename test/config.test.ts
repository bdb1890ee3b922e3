/** The environment becomes settings, or a list of everything that is wrong with it. */

import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ConfigError, describeConfig, loadConfig } from "../src/config.ts";

const SECRET = "hunter2";
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "recollect-config-"));
});

afterAll(() => rm(folder, { recursive: true }));

/** Settings from these variables alone. */
function load(environment: NodeJS.ProcessEnv) {
  return loadConfig(environment, null);
}

function faultsOf(environment: NodeJS.ProcessEnv, from: string | null = null): readonly string[] {
  try {
    loadConfig(environment, from);
  } catch (error) {
    if (error instanceof ConfigError) {
      return error.faults;
    }
    throw error;
  }
  return [];
}

test("an empty environment gives a server on this machine, with the embedded database and a local model server", () => {
  expect(load({})).toEqual({
    port: 7777,
    host: "127.0.0.1",
    databaseUrl: null,
    dataDir: "./data",
    openaiBaseUrl: "http://localhost:1234/v1",
    modelsConfigured: false,
    openaiApiKey: null,
    chatModel: null,
    memoryModel: null,
    summaryModel: null,
    embeddingModel: null,
    memoryCaptureInstructions: null,
    memoryAdditionalInstructions: null,
    summaryInstructions: null,
    logLevel: "info",
    warnings: [],
  });
});

test("every variable has its place, and white space around it does not count", () => {
  const config = load({
    PORT: "0",
    HOST: " ::1 ",
    DATABASE_URL: "postgresql://u@db/recollect",
    DATA_DIR: "/srv/recollect\n",
    OPENAI_BASE_URL: "https://models.example/v1//",
    OPENAI_API_KEY: `${SECRET}\r\n`,
    CHAT_MODEL: "chat",
    MEMORY_MODEL: "memory",
    SUMMARY_MODEL: "summary",
    EMBEDDING_MODEL: "embedding",
    MEMORY_CAPTURE_INSTRUCTIONS: "capture",
    MEMORY_ADDITIONAL_INSTRUCTIONS: "a".repeat(8_000),
    SUMMARY_INSTRUCTIONS: "sum up",
    LOG_LEVEL: "silent",
  });
  expect(config).toEqual({
    port: 0,
    host: "::1",
    databaseUrl: "postgresql://u@db/recollect",
    dataDir: "/srv/recollect",
    openaiBaseUrl: "https://models.example/v1",
    modelsConfigured: true,
    openaiApiKey: SECRET,
    chatModel: "chat",
    memoryModel: "memory",
    summaryModel: "summary",
    embeddingModel: "embedding",
    memoryCaptureInstructions: "capture",
    memoryAdditionalInstructions: "a".repeat(8_000),
    summaryInstructions: "sum up",
    logLevel: "silent",
    warnings: [],
  });
  expect(Object.isFrozen(config)).toBe(true);
});

test("an empty variable counts as unset", () => {
  expect(load({ PORT: "", DATABASE_URL: "  ", CHAT_MODEL: "", LOG_LEVEL: "" })).toEqual(load({}));
});

const PORT_FAULT = "PORT must be a port number from 0 to 65535, such as 7777.";
const HOST_FAULT = "HOST must be localhost, 127.0.0.1 or ::1: this server has no authentication, so it serves this machine only.";
const DATABASE_FAULT =
  "DATABASE_URL must look like postgres://user:password@host:5432/database, special characters written as %40 and so on. Leave it out for the embedded database.";
const BASE_URL_FAULT = "OPENAI_BASE_URL must be an http or https address, such as http://localhost:1234/v1.";
const CUT_FAULT = "OPENAI_BASE_URL goes on after the base address. Cut it there: http://localhost:1234/v1, for example.";

test.each([
  ["PORT", "70000", PORT_FAULT],
  ["PORT", "-1", PORT_FAULT],
  ["PORT", "80.5", PORT_FAULT],
  ["PORT", "0x50", PORT_FAULT],
  ["PORT", "http", PORT_FAULT],
  ["HOST", "0.0.0.0", HOST_FAULT],
  ["HOST", "::", HOST_FAULT],
  ["HOST", "192.168.0.7", HOST_FAULT],
  ["HOST", "localhost.evil.example", HOST_FAULT],
  ["DATABASE_URL", `mysql://u:${SECRET}@db/recollect`, DATABASE_FAULT],
  ["DATABASE_URL", `postgres://u:${SECRET}@db`, DATABASE_FAULT],
  ["DATABASE_URL", `postgres://u:${SECRET}/@db/recollect`, DATABASE_FAULT],
  ["DATABASE_URL", `postgres://u:1#${SECRET}@db/recollect`, DATABASE_FAULT],
  ["DATABASE_URL", SECRET, DATABASE_FAULT],
  ["DATA_DIR", "~/recollect", 'DATA_DIR starts with "~", which only a shell replaces. Write the folder out in full.'],
  ["OPENAI_BASE_URL", "localhost:1234/v1", BASE_URL_FAULT],
  ["OPENAI_BASE_URL", "ftp://models.example/v1", BASE_URL_FAULT],
  [
    "OPENAI_BASE_URL",
    `https://u:${SECRET}@models.example/v1`,
    "OPENAI_BASE_URL holds a user name or password. Leave them out, and set OPENAI_API_KEY.",
  ],
  ["OPENAI_BASE_URL", `https://models.example/v1?key=${SECRET}`, CUT_FAULT],
  ["OPENAI_BASE_URL", "https://models.example/v1/chat/completions", CUT_FAULT],
  ["OPENAI_API_KEY", `${SECRET} ${SECRET}`, "OPENAI_API_KEY holds a space or a character that no key has. Copy the key again."],
  ["OPENAI_API_KEY", `“${SECRET}”`, "OPENAI_API_KEY holds a space or a character that no key has. Copy the key again."],
  ["MEMORY_CAPTURE_INSTRUCTIONS", "a".repeat(8_001), "MEMORY_CAPTURE_INSTRUCTIONS is longer than 8000 characters. Shorten it."],
  ["MEMORY_ADDITIONAL_INSTRUCTIONS", "a".repeat(8_001), "MEMORY_ADDITIONAL_INSTRUCTIONS is longer than 8000 characters. Shorten it."],
  ["SUMMARY_INSTRUCTIONS", "a".repeat(8_001), "SUMMARY_INSTRUCTIONS is longer than 8000 characters. Shorten it."],
  ["LOG_LEVEL", "loud", "LOG_LEVEL must be one of trace, debug, info, warn, error, fatal, silent."],
])("%s=%s is refused with its remedy, and no secret is repeated", (name, value, fault) => {
  const faults = faultsOf({ [name]: value });
  expect(faults).toEqual([fault]);
  expect(faults.join()).not.toContain(SECRET);
});

test("all faults are told at once, a line each", () => {
  const faults = faultsOf({ PORT: "x", HOST: "0.0.0.0", DATABASE_URL: SECRET, OPENAI_BASE_URL: "x", LOG_LEVEL: "x" });
  expect(faults.map((fault) => fault.split(" ")[0])).toEqual(["PORT", "HOST", "DATABASE_URL", "OPENAI_BASE_URL", "LOG_LEVEL"]);
  expect(new ConfigError(faults).message).toBe(faults.join("\n"));
});

test.each([
  ["OPENAI_BASEURL", "OPENAI_BASE_URL"],
  ["CHATMODEL", "CHAT_MODEL"],
  ["DATABSE_URL", "DATABASE_URL"],
  ["DATABASE_ULR", "DATABASE_URL"],
  ["DATABASE_URI", "DATABASE_URL"],
  ["OPENAI_API_KEYS", "OPENAI_API_KEY"],
  ["log_level", "LOG_LEVEL"],
])("%s draws a warning that names %s, and is not used", (slip, meant) => {
  const { warnings, ...settings } = load({ [slip]: SECRET });
  expect(warnings).toEqual([`${slip} is no setting of this server. Did you mean ${meant}?`]);
  expect(settings).toEqual({ ...load({}), warnings: undefined });
});

test("variables of the rest of the world draw no warning", () => {
  const others = [
    "HOME",
    "HOSTNAME",
    "LOGNAME",
    "PGHOST",
    "POST",
    "XDG_DATA_DIRS",
    "DATABASE",
    "OPENAI_ORG_ID",
    "NODE_ENV",
    "npm_config_loglevel",
  ];
  expect(load(Object.fromEntries(others.map((name) => [name, "x"]))).warnings).toEqual([]);
});

test("a .env file gives what the environment does not name, and an empty variable there switches it off", async () => {
  await writeFile(path.join(folder, ".env"), `# ours\nCHAT_MODEL="from file"\nPORT=1\nOPENAI_API_KEY=${SECRET}\n`);
  const config = loadConfig({ PORT: "2", OPENAI_API_KEY: "" }, folder);
  expect(config).toMatchObject({ chatModel: "from file", port: 2, openaiApiKey: null });
  expect(faultsOf({ LOG_LEVEL: "x" }, folder)).toHaveLength(1);
  await rm(path.join(folder, ".env"));
});

test("without a .env file, or with a folder of that name, the environment is all there is", async () => {
  expect(loadConfig({}, folder)).toEqual(load({}));
  await mkdir(path.join(folder, ".env"));
  expect(loadConfig({}, folder)).toEqual(load({}));
});

test("what is shown at the start holds no password and no key", () => {
  const shown = describeConfig(
    load({
      DATABASE_URL: `postgres://u:${SECRET}@db:5432/recollect?sslmode=require&password=${SECRET}`,
      OPENAI_API_KEY: SECRET,
      CHAT_MODEL: "small",
    }),
  );
  expect(shown).toMatchObject({
    database: "postgres://u:***@db:5432/recollect?sslmode=require&password=***",
    models: "http://localhost:1234/v1",
    chatModel: "small",
  });
  expect(JSON.stringify(shown)).not.toContain(SECRET);
});
