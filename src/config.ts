/** The environment as typed settings, checked once at the start. Nothing else in `src` reads the environment. */

import { readFileSync } from "node:fs";
import path from "node:path";
import { parseEnv } from "node:util";
import { z } from "zod";
import type { AuthenticationSettings } from "./identity/authenticator.ts";
import { authenticationFaults, authenticationOf, IDENTITY_SETTINGS } from "./identity/settings.ts";
import { LIMIT_SETTINGS, type Limits, limitsOf } from "./limits/settings.ts";

export interface Config {
  /** TCP port; 0: any free one. */
  port: number;
  /** The address to listen at: without authentication, one of this machine's own. */
  host: string;
  /** Which tokens are taken; neither sort: none are asked for. */
  authentication: AuthenticationSettings;
  /** Origins of web pages that may use this server beside its own. */
  corsOrigins: readonly string[];
  /** How much users, addresses and connections may ask for. */
  limits: Limits;
  /** Whether clients may ask for the schema. */
  introspection: boolean;
  /** A Postgres server; null: the embedded database in `dataDir`. */
  databaseUrl: string | null;
  /** A Redis server for the pieces of replies while they are written; null: Postgres takes them. */
  redisUrl: string | null;
  /** Folder of the embedded database. */
  dataDir: string;
  /** Base address of an OpenAI-compatible server, without a slash at the end. */
  openaiBaseUrl: string;
  /** Whether anything says which models to use: an address, a key or a model's name. */
  modelsConfigured: boolean;
  /** Sent to that server; null: it asks for none. */
  openaiApiKey: string | null;
  /** Model of replies; null: the first one the server lists that is not for embeddings. */
  chatModel: string | null;
  /** Models of memory work and of summaries; null: as `chatModel`. */
  memoryModel: string | null;
  summaryModel: string | null;
  /** Model of embeddings; null: none are made. */
  embeddingModel: string | null;
  /** Requests to the model server at a time; null: few to one on this machine, more to any other. */
  modelConcurrency: number | null;
  /** Takes the place of the rules of what to remember; null: our own. */
  memoryCaptureInstructions: string | null;
  /** Added to those rules. */
  memoryAdditionalInstructions: string | null;
  /** Takes the place of the rules of what a summary is; null: our own. */
  summaryInstructions: string | null;
  /** How long the events of an ended run are kept one by one, in hours. */
  eventRetentionHours: number;
  /** Hosts that links and images of replies may lead to: a name, `*.` and a domain, or `*` for any. */
  allowedLinkHosts: readonly string[];
  logLevel: LogLevel;
  /** Sentences about settings that look like slips of the pen. */
  warnings: string[];
}

const LOG_LEVELS = ["trace", "debug", "info", "warn", "error", "fatal", "silent"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

const LONGEST_INSTRUCTIONS = 8_000;
const LOOPBACK = new Set(["localhost", "127.0.0.1", "::1"]);
const DATABASE_URL_FORM =
  "must look like postgres://user:password@host:5432/database, special characters written as %40 and so on. Leave it out for the embedded database.";
const REDIS_URL_FORM =
  "must look like redis://user:password@host:6379/0, or rediss:// for TLS, special characters written as %40 and so on. Leave it out to do without Redis.";
const OPEN_WITHOUT_TOKENS =
  "must be localhost, 127.0.0.1 or ::1 while AUTH is none: without tokens this server serves this machine only. To open it to others set AUTH=keys, and make keys with: npm run keys -- create --user <name>";
const LINK_HOST = /^(?:\*|(?:\*\.)?[a-z\d-]+(?:\.[a-z\d-]+)*)$/;
const LINK_HOST_FORM =
  "must be names of hosts separated by commas, such as docs.example.com, *.example.org for all below it, or * for any; no https:// and no path.";
const BASE_URL_FORM = "must be an http or https address, such as http://localhost:1234/v1.";

/** What is wrong with the environment: a line for each fault, naming the variable and the remedy. Values of secrets never appear. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  readonly faults: readonly string[];

  constructor(faults: readonly string[]) {
    super(faults.join("\n"));
    this.faults = faults;
  }
}

const instructions = z.string().max(LONGEST_INSTRUCTIONS, `is longer than ${LONGEST_INSTRUCTIONS} characters. Shorten it.`).optional();

/** Each setting; empty counts as unset. */
const SETTINGS = {
  PORT: z
    .string()
    .regex(/^\d{1,5}$/, "must be a port number from 0 to 65535, such as 7777.")
    .transform(Number)
    .refine((port) => port <= 65_535, "must be a port number from 0 to 65535, such as 7777.")
    .default(7_777),
  HOST: z
    .string()
    .regex(/^[\w.:-]+$/, "must be an address or a name of this machine, such as 127.0.0.1, ::1 or 0.0.0.0.")
    .default("127.0.0.1"),
  ...IDENTITY_SETTINGS,
  ...LIMIT_SETTINGS,
  DATABASE_URL: z.string().refine(isDatabaseUrl, DATABASE_URL_FORM).optional(),
  REDIS_URL: z.string().refine(isRedisUrl, REDIS_URL_FORM).optional(),
  DATA_DIR: z
    .string()
    .refine((folder) => !folder.startsWith("~"), 'starts with "~", which only a shell replaces. Write the folder out in full.')
    .default("./data"),
  OPENAI_BASE_URL: z
    .string()
    .transform((text) => text.replace(/\/+$/, ""))
    .superRefine((text, context) => {
      const fault = baseUrlFault(text);
      if (fault) {
        context.addIssue(fault);
      }
    })
    .default("http://localhost:1234/v1"),
  OPENAI_API_KEY: z
    .string()
    .regex(/^[\x21-\x7e]+$/, "holds a space or a character that no key has. Copy the key again.")
    .optional(),
  CHAT_MODEL: z.string().optional(),
  MEMORY_MODEL: z.string().optional(),
  SUMMARY_MODEL: z.string().optional(),
  EMBEDDING_MODEL: z.string().optional(),
  MODEL_CONCURRENCY: z
    .string()
    .regex(/^0*[1-9]\d{0,2}$/, "must be a whole number from 1 to 999: how many requests the model server answers well at a time.")
    .transform(Number)
    .optional(),
  MEMORY_CAPTURE_INSTRUCTIONS: instructions,
  MEMORY_ADDITIONAL_INSTRUCTIONS: instructions,
  SUMMARY_INSTRUCTIONS: instructions,
  EVENT_RETENTION_HOURS: z
    .string()
    .regex(/^0*[1-9]\d{0,5}$/, "must be a whole number of hours, at least 1, such as 168 for a week.")
    .transform(Number)
    .default(168),
  ALLOWED_LINK_HOSTS: z
    .string()
    .toLowerCase()
    .transform((text) => text.split(",").map((host) => host.trim()))
    .refine((hosts) => hosts.every((host) => LINK_HOST.test(host)), LINK_HOST_FORM)
    .default([]),
  LOG_LEVEL: z.enum(LOG_LEVELS, { error: `must be one of ${LOG_LEVELS.join(", ")}.` }).default("info"),
};

type Name = keyof typeof SETTINGS;

const MODEL_SETTINGS: readonly Name[] = ["OPENAI_BASE_URL", "OPENAI_API_KEY", "CHAT_MODEL", "MEMORY_MODEL", "SUMMARY_MODEL"];

/**
 * Reads the settings from the environment, and those it does not name from the file .env in `folder` (null: from none). Throws
 * ConfigError.
 */
export function loadConfig(environment: NodeJS.ProcessEnv, folder: string | null = "."): Config {
  const given = { ...(folder !== null && readEnvFile(path.join(folder, ".env"))), ...environment };
  const settings = Object.fromEntries(Object.keys(SETTINGS).map((name) => [name, given[name]?.trim() || undefined]));
  const parsed = z.object(SETTINGS).safeParse(settings);
  const faults = (parsed.error?.issues ?? []).map((issue) => `${issue.path.join(".")} ${issue.message}`);
  if (LOOPBACK.has(settings.HOST ?? "localhost") || (settings.AUTH ?? "none") !== "none") {
    faults.push(...(parsed.data ? authenticationFaults(parsed.data) : []));
  } else {
    faults.push(`HOST ${OPEN_WITHOUT_TOKENS}`);
  }
  if (!parsed.success || faults.length > 0) {
    const place = (fault: string): number => Object.keys(SETTINGS).indexOf(fault.split(" ", 1)[0] ?? "");
    throw new ConfigError(faults.sort((a, b) => place(a) - place(b)));
  }
  const { data } = parsed;
  return Object.freeze({
    port: data.PORT,
    host: data.HOST,
    authentication: authenticationOf(data),
    corsOrigins: data.CORS_ORIGINS,
    ...limitsOf(data, data.AUTH.includes("none")),
    databaseUrl: data.DATABASE_URL ?? null,
    // A process that has its database to itself gains nothing.
    redisUrl: data.DATABASE_URL === undefined ? null : (data.REDIS_URL ?? null),
    dataDir: data.DATA_DIR,
    openaiBaseUrl: data.OPENAI_BASE_URL,
    modelsConfigured: MODEL_SETTINGS.some((name) => settings[name] !== undefined),
    openaiApiKey: data.OPENAI_API_KEY ?? null,
    chatModel: data.CHAT_MODEL ?? null,
    memoryModel: data.MEMORY_MODEL ?? null,
    summaryModel: data.SUMMARY_MODEL ?? null,
    embeddingModel: data.EMBEDDING_MODEL ?? null,
    modelConcurrency: data.MODEL_CONCURRENCY ?? null,
    memoryCaptureInstructions: data.MEMORY_CAPTURE_INSTRUCTIONS ?? null,
    memoryAdditionalInstructions: data.MEMORY_ADDITIONAL_INSTRUCTIONS ?? null,
    summaryInstructions: data.SUMMARY_INSTRUCTIONS ?? null,
    eventRetentionHours: data.EVENT_RETENTION_HOURS,
    allowedLinkHosts: data.ALLOWED_LINK_HOSTS,
    logLevel: data.LOG_LEVEL,
    warnings: [
      ...nearMisses(Object.keys(given)),
      ...(data.REDIS_URL !== undefined && data.DATABASE_URL === undefined
        ? ["REDIS_URL is set and not used: it serves processes that share a Postgres, which DATABASE_URL names."]
        : []),
    ],
  });
}

/** The settings as a start-up line shows them, without secrets. */
export function describeConfig(config: Config): Record<string, string> {
  const { keys, webTokens } = config.authentication;
  return {
    authentication: [...(keys ? ["keys"] : []), ...(webTokens ? ["jwt"] : [])].join(", ") || "none: this machine only",
    database: config.databaseUrl === null ? `embedded, in ${config.dataDir}` : withoutPassword(config.databaseUrl),
    ...(config.redisUrl !== null && { redis: withoutPassword(config.redisUrl) }),
    models: config.openaiBaseUrl,
    chatModel: config.chatModel ?? "the first one the server lists",
    memoryModel: config.memoryModel ?? "as chatModel",
    summaryModel: config.summaryModel ?? "as chatModel",
    embeddingModel: config.embeddingModel ?? "none",
  };
}

function readEnvFile(file: string): NodeJS.ProcessEnv {
  try {
    return parseEnv(readFileSync(file, "utf8"));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    // A folder of that name is somebody else's, such as a Python environment.
    if (code === "ENOENT" || code === "EISDIR") {
      return {};
    }
    throw new ConfigError([`The file .env cannot be read (${code}). Allow it, or remove the file.`]);
  }
}

/** Needs a name of a database, and refuses a password that broke the address apart. */
function isDatabaseUrl(text: string): boolean {
  const url = URL.parse(text);
  return url !== null && ["postgres:", "postgresql:"].includes(url.protocol) && url.pathname.length > 1 && url.hash === "";
}

function isRedisUrl(text: string): boolean {
  const url = URL.parse(text);
  return (
    url !== null &&
    ["redis:", "rediss:"].includes(url.protocol) &&
    url.hostname !== "" &&
    url.hash === "" &&
    /^(\/\d*)?$/.test(url.pathname)
  );
}

/** What keeps an address from being the start of a model server's addresses; null when nothing does. */
function baseUrlFault(text: string): string | null {
  const url = URL.parse(text);
  if (url === null || !["http:", "https:"].includes(url.protocol)) {
    return BASE_URL_FORM;
  }
  if (url.username !== "" || url.password !== "") {
    return "holds a user name or password. Leave them out, and set OPENAI_API_KEY.";
  }
  if (/[?#]/.test(text) || /\/(chat\/completions|completions|embeddings|models|responses)$/.test(text)) {
    return "goes on after the base address. Cut it there: http://localhost:1234/v1, for example.";
  }
  return null;
}

function withoutPassword(address: string): string {
  const url = new URL(address);
  if (url.password !== "") {
    url.password = "***";
  }
  for (const name of ["password", "sslpassword"]) {
    if (url.searchParams.has(name)) {
      url.searchParams.set(name, "***");
    }
  }
  return url.href;
}

/** Variables that are ours but for a letter or two. */
function nearMisses(names: string[]): string[] {
  const known = Object.keys(SETTINGS) as Name[];
  return names
    .filter((name) => !(name in SETTINGS))
    .flatMap((name) => {
      const meant = known.find((setting) => setting.length > 6 && differBySlip(name, setting));
      return meant ? [`${name} is no setting of this server. Did you mean ${meant}?`] : [];
    });
}

/** True when the names are the same but for separators and case, or one letter more, less, other, or two swapped. */
function differBySlip(name: string, setting: string): boolean {
  const [a, b] = [name, setting].map((text) => text.toUpperCase().replaceAll(/[^A-Z]/g, "")) as [string, string];
  if (a === b) {
    return true;
  }
  let start = 0;
  while (start < Math.min(a.length, b.length) && a[start] === b[start]) {
    start++;
  }
  const [restA, restB] = [a.slice(start), b.slice(start)];
  return (
    restA.slice(1) === restB.slice(1) ||
    restA.slice(1) === restB ||
    restA === restB.slice(1) ||
    (restA[0] === restB[1] && restA[1] === restB[0] && restA.slice(2) === restB.slice(2))
  );
}
