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
    authentication: { keys: false, webTokens: null },
    corsOrigins: [],
    databaseUrl: null,
    redisUrl: null,
    dataDir: "./data",
    openaiBaseUrl: "http://localhost:1234/v1",
    modelsConfigured: false,
    openaiApiKey: null,
    chatModel: null,
    memoryModel: null,
    summaryModel: null,
    embeddingModel: null,
    modelConcurrency: null,
    memoryCaptureInstructions: null,
    memoryAdditionalInstructions: null,
    summaryInstructions: null,
    eventRetentionHours: 168,
    allowedLinkHosts: [],
    limits: {
      requestsPerMinute: null,
      addressRequestsPerMinute: 6_000,
      openRuns: 100,
      tokensPerDay: 20_000_000,
      memories: 10_000,
      userSockets: 100,
      addressSockets: 1_000,
      socketOperations: 1_000,
    },
    introspection: true,
    logLevel: "info",
    warnings: [],
  });
});

test("every variable has its place, and white space around it does not count", () => {
  const config = load({
    PORT: "0",
    HOST: " ::1 ",
    AUTH: "keys, jwt",
    JWT_SECRET: SECRET.repeat(8),
    JWT_ISSUER: "https://login.example",
    JWT_AUDIENCE: "recollect",
    JWT_ALGORITHMS: "HS512",
    JWT_SUBJECT_CLAIM: "email",
    JWT_SCOPE_CLAIM: "roles",
    JWT_CLOCK_TOLERANCE: "30",
    CORS_ORIGINS: "https://chat.example, http://localhost:5173",
    DATABASE_URL: "postgresql://u@db/recollect",
    REDIS_URL: "rediss://u@redis:6380/2",
    DATA_DIR: "/srv/recollect\n",
    OPENAI_BASE_URL: "https://models.example/v1//",
    OPENAI_API_KEY: `${SECRET}\r\n`,
    CHAT_MODEL: "chat",
    MEMORY_MODEL: "memory",
    SUMMARY_MODEL: "summary",
    EMBEDDING_MODEL: "embedding",
    MODEL_CONCURRENCY: "08",
    MEMORY_CAPTURE_INSTRUCTIONS: "capture",
    MEMORY_ADDITIONAL_INSTRUCTIONS: "a".repeat(8_000),
    SUMMARY_INSTRUCTIONS: "sum up",
    EVENT_RETENTION_HOURS: "24",
    ALLOWED_LINK_HOSTS: " Docs.example.com, *.example.org ,*",
    LIMIT_REQUESTS_PER_MINUTE: "none",
    LIMIT_ADDRESS_REQUESTS_PER_MINUTE: "2",
    LIMIT_OPEN_RUNS: " 3 ",
    LIMIT_TOKENS_PER_DAY: "4",
    LIMIT_MEMORIES: "5",
    LIMIT_USER_SOCKETS: "6",
    LIMIT_ADDRESS_SOCKETS: "7",
    LIMIT_SOCKET_OPERATIONS: "08",
    INTROSPECTION: "on",
    LOG_LEVEL: "silent",
  });
  expect(config).toEqual({
    port: 0,
    host: "::1",
    authentication: {
      keys: true,
      webTokens: {
        key: { secret: SECRET.repeat(8) },
        issuer: "https://login.example",
        audience: "recollect",
        algorithms: ["HS512"],
        subjectClaim: "email",
        scopeClaim: "roles",
        clockTolerance: 30,
      },
    },
    corsOrigins: ["https://chat.example", "http://localhost:5173"],
    databaseUrl: "postgresql://u@db/recollect",
    redisUrl: "rediss://u@redis:6380/2",
    dataDir: "/srv/recollect",
    openaiBaseUrl: "https://models.example/v1",
    modelsConfigured: true,
    openaiApiKey: SECRET,
    chatModel: "chat",
    memoryModel: "memory",
    summaryModel: "summary",
    embeddingModel: "embedding",
    modelConcurrency: 8,
    memoryCaptureInstructions: "capture",
    memoryAdditionalInstructions: "a".repeat(8_000),
    summaryInstructions: "sum up",
    eventRetentionHours: 24,
    allowedLinkHosts: ["docs.example.com", "*.example.org", "*"],
    limits: {
      requestsPerMinute: null,
      addressRequestsPerMinute: 2,
      openRuns: 3,
      tokensPerDay: 4,
      memories: 5,
      userSockets: 6,
      addressSockets: 7,
      socketOperations: 8,
    },
    introspection: true,
    logLevel: "silent",
    warnings: [],
  });
  expect(Object.isFrozen(config)).toBe(true);
});

test("a server that asks for tokens counts requests and does not describe its schema", () => {
  expect(load({ AUTH: "keys" })).toMatchObject({ limits: { requestsPerMinute: 3_000 }, introspection: false });
  expect(load({ AUTH: "keys", INTROSPECTION: "on", LIMIT_REQUESTS_PER_MINUTE: "7" })).toMatchObject({
    limits: { requestsPerMinute: 7 },
    introspection: true,
  });
});

test.each(["0", "-1", "1.5", "many", "1000000000"])("LIMIT_OPEN_RUNS=%s is refused with its remedy", (text) => {
  expect(faultsOf({ LIMIT_OPEN_RUNS: text })).toEqual([
    "LIMIT_OPEN_RUNS must be a whole number from 1 to 999999999, or none for no limit.",
  ]);
});

test("an empty variable counts as unset", () => {
  expect(load({ PORT: "", DATABASE_URL: "  ", CHAT_MODEL: "", LOG_LEVEL: "" })).toEqual(load({}));
});

const CONCURRENCY_FAULT =
  "MODEL_CONCURRENCY must be a whole number from 1 to 999: how many requests the model server answers well at a time.";
const PORT_FAULT = "PORT must be a port number from 0 to 65535, such as 7777.";
const HOST_FAULT =
  "HOST must be localhost, 127.0.0.1 or ::1 while AUTH is none: without tokens this server serves this machine only. To open it to others set AUTH=keys, and make keys with: npm run keys -- create --user <name>";
const KEY_FAULT = "JWT_JWKS_URL, JWT_PUBLIC_KEY or JWT_SECRET must say how to check tokens. Set one of the three.";
const DATABASE_FAULT =
  "DATABASE_URL must look like postgres://user:password@host:5432/database, special characters written as %40 and so on. Leave it out for the embedded database.";
const REDIS_FAULT =
  "REDIS_URL must look like redis://user:password@host:6379/0, or rediss:// for TLS, special characters written as %40 and so on. Leave it out to do without Redis.";
const BASE_URL_FAULT = "OPENAI_BASE_URL must be an http or https address, such as http://localhost:1234/v1.";
const CUT_FAULT = "OPENAI_BASE_URL goes on after the base address. Cut it there: http://localhost:1234/v1, for example.";

test.each([
  ["PORT", "70000", PORT_FAULT],
  ["PORT", "-1", PORT_FAULT],
  ["PORT", "80.5", PORT_FAULT],
  ["PORT", "0x50", PORT_FAULT],
  [
    "ALLOWED_LINK_HOSTS",
    "https://docs.example.com/",
    "ALLOWED_LINK_HOSTS must be names of hosts separated by commas, such as docs.example.com, *.example.org for all below it, or * for any; no https:// and no path.",
  ],
  ["EVENT_RETENTION_HOURS", "0", "EVENT_RETENTION_HOURS must be a whole number of hours, at least 1, such as 168 for a week."],
  ["MODEL_CONCURRENCY", "0", CONCURRENCY_FAULT],
  ["MODEL_CONCURRENCY", "many", CONCURRENCY_FAULT],
  ["PORT", "http", PORT_FAULT],
  ["HOST", "0.0.0.0", HOST_FAULT],
  ["HOST", "::", HOST_FAULT],
  ["HOST", "192.168.0.7", HOST_FAULT],
  ["HOST", "localhost.evil.example", HOST_FAULT],
  ["AUTH", "yes", "AUTH must be none, keys, jwt, or keys,jwt."],
  ["AUTH", "none,keys", "AUTH must be none, keys, jwt, or keys,jwt."],
  ["JWT_SECRET", SECRET, "JWT_SECRET must have at least 32 bytes: shorter ones can be guessed."],
  ["JWT_PUBLIC_KEY", `-----BEGIN ${SECRET}`, "JWT_PUBLIC_KEY must be a public key in PEM: -----BEGIN PUBLIC KEY----- and so on."],
  ["JWT_CLOCK_TOLERANCE", "301", "JWT_CLOCK_TOLERANCE must be a whole number of seconds, at most 300."],
  ["CORS_ORIGINS", "*", "CORS_ORIGINS must be origins of web pages, such as https://chat.example.com, separated by commas."],
  [
    "CORS_ORIGINS",
    "https://chat.example/",
    "CORS_ORIGINS must be origins of web pages, such as https://chat.example.com, separated by commas.",
  ],
  ["DATABASE_URL", `mysql://u:${SECRET}@db/recollect`, DATABASE_FAULT],
  ["DATABASE_URL", `postgres://u:${SECRET}@db`, DATABASE_FAULT],
  ["DATABASE_URL", `postgres://u:${SECRET}/@db/recollect`, DATABASE_FAULT],
  ["DATABASE_URL", `postgres://u:1#${SECRET}@db/recollect`, DATABASE_FAULT],
  ["DATABASE_URL", SECRET, DATABASE_FAULT],
  ["REDIS_URL", `http://u:${SECRET}@redis:6379`, REDIS_FAULT],
  ["REDIS_URL", `redis://:${SECRET}#1@redis:6379`, REDIS_FAULT],
  ["REDIS_URL", `redis://redis:6379/${SECRET}`, REDIS_FAULT],
  ["REDIS_URL", "redis:6379", REDIS_FAULT],
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

test.each([
  ["nothing to check tokens with", {}, [KEY_FAULT]],
  ["two ways to check tokens", { JWT_SECRET: SECRET.repeat(8), JWT_JWKS_URL: "https://login.example/keys" }, [KEY_FAULT]],
  [
    "keys from the network in the clear",
    { JWT_JWKS_URL: "http://login.example/keys" },
    [expect.stringMatching(/^JWT_JWKS_URL must be an https/)],
  ],
  [
    "a signature that anybody can make",
    { JWT_SECRET: SECRET.repeat(8), JWT_ALGORITHMS: "none" },
    [expect.stringMatching(/^JWT_ALGORITHMS must be/)],
  ],
  [
    "a secret with the algorithm of a key",
    { JWT_SECRET: SECRET.repeat(8), JWT_ALGORITHMS: "RS256" },
    [expect.stringMatching(/^JWT_ALGORITHMS names RS256/)],
  ],
  [
    "a key with the algorithm of a secret",
    { JWT_JWKS_URL: "https://login.example/keys", JWT_ALGORITHMS: "RS256 HS256" },
    [expect.stringMatching(/^JWT_ALGORITHMS names HS256/)],
  ],
  ["an issuer that is empty", { JWT_SECRET: SECRET.repeat(8), JWT_ISSUER: "" }, [expect.stringMatching(/^JWT_ISSUER is missing/)]],
  ["an audience that is empty", { JWT_SECRET: SECRET.repeat(8), JWT_AUDIENCE: "" }, [expect.stringMatching(/^JWT_AUDIENCE is missing/)]],
])("AUTH=jwt with %s is refused", (_, environment, faults) => {
  expect(faultsOf({ AUTH: "jwt", JWT_ISSUER: "i", JWT_AUDIENCE: "a", ...environment })).toEqual(faults);
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

test("a Redis without a Postgres beside it is told to be of no use; with one its password is not shown", () => {
  const alone = load({ REDIS_URL: `redis://:${SECRET}@redis` });
  expect(alone.redisUrl).toBeNull();
  expect(alone.warnings).toEqual(["REDIS_URL is set and not used: it serves processes that share a Postgres, which DATABASE_URL names."]);
  const both = load({ REDIS_URL: `redis://u:${SECRET}@redis/1`, DATABASE_URL: "postgres://db/recollect" });
  expect(both.warnings).toEqual([]);
  expect(describeConfig(both).redis).toBe("redis://u:***@redis/1");
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
