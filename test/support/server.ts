/** The real server on a real database, with the scripted model server behind it, and clients as users have them. */

import { createClient, type Client as SocketClient } from "graphql-ws";
import { WebSocket } from "ws";
import { loadConfig } from "../../src/config.ts";
import { type Context, createContext, type Overrides } from "../../src/context.ts";
import { readOperations } from "../../src/graphql/operations.ts";
import { createLogger } from "../../src/logger.ts";
import { type RunningServer, startServer } from "../../src/server.ts";
import { createTestDatabase, type TestDatabase } from "./database.ts";
import { type ModelServer, startModelServer } from "./model-server.ts";

/** What a GraphQL request came to. */
export interface GraphQLAnswer {
  // biome-ignore lint/suspicious/noExplicitAny: tests read answers of every shape.
  data: any;
  errors?: { message: string; extensions: { code: string; [detail: string]: unknown } }[];
}

export interface TestServer {
  url: string;
  model: ModelServer;
  database: TestDatabase;
  context: Context;
  /** Sends an operation of schema/operations by its name, or a document of one's own; over HTTP. */
  graphql(operation: string, variables?: object): Promise<GraphQLAnswer>;
  /** As `graphql`; throws when there are errors. */
  data(operation: string, variables?: object): Promise<GraphQLAnswer["data"]>;
  /** Follows a subscription over WebSocket; the events' data, until it ends. Throws what the server answers with errors. */
  // biome-ignore lint/suspicious/noExplicitAny: tests read events of every shape.
  subscribe(operation: string, variables?: object): AsyncGenerator<any, void>;
  /** Runs every job there is, also those whose time has not come. */
  drain(): Promise<void>;
  close(): Promise<void>;
}

export interface TestServerOptions {
  env?: NodeJS.ProcessEnv;
  overrides?: Overrides;
  /** A database that outlives this server; by default it gets one of its own. */
  database?: TestDatabase;
  /** A model server that outlives this server. */
  model?: ModelServer;
  /** Where its log goes. */
  logTo?: { write(line: string): void };
}

export async function startTestServer(options: TestServerOptions = {}): Promise<TestServer> {
  const model = options.model ?? (await startModelServer());
  const database = options.database ?? (await createTestDatabase());
  const config = loadConfig(serverEnvironment(database, model, options.env), null);
  const log = createLogger(config.logLevel, options.logTo);
  const context = await createContext(config, log, options.overrides);
  const { host, port, corsOrigins, limits, introspection } = config;
  const server: RunningServer = await startServer({
    services: context.services,
    authenticator: context.authenticator,
    corsOrigins,
    host,
    port,
    log,
    ready: context.ready,
    limits,
    introspection,
  });
  const sockets = new Set<SocketClient>();

  const graphql = (operation: string, variables: object = {}): Promise<GraphQLAnswer> => postGraphQL(server.url, operation, variables);
  return {
    url: server.url,
    model,
    database,
    context,
    graphql,
    async data(operation, variables) {
      const answer = await graphql(operation, variables);
      if (answer.errors) {
        throw new Error(`The server answered ${JSON.stringify(answer.errors)}`);
      }
      return answer.data;
    },
    async *subscribe(operation, variables = {}) {
      const client = createSocketClient(server.url);
      sockets.add(client);
      try {
        for await (const { data, errors } of client.iterate({ query: documentOf(operation), variables: { ...variables } })) {
          if (errors) {
            throw Object.assign(new Error(errors[0]?.message), { errors });
          }
          yield Object.values(data ?? {})[0];
        }
      } finally {
        sockets.delete(client);
        await client.dispose();
      }
    },
    drain: () => context.jobs.drain(),
    async close() {
      for (const client of sockets) {
        await client.dispose();
      }
      await server.close();
      await context.close(0);
      if (!options.model) {
        await model.close();
      }
      if (!options.database) {
        await database.remove();
      }
    },
  };
}

/** The environment of a server under test: nothing of this machine's own. */
export function serverEnvironment(database: TestDatabase, model: ModelServer, env: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
  const { databaseUrl, dataDir } = database.options;
  return {
    PORT: "0",
    DATA_DIR: dataDir,
    DATABASE_URL: databaseUrl ?? "",
    OPENAI_BASE_URL: model.url,
    CHAT_MODEL: "scripted-model",
    LOG_LEVEL: "silent",
    ...env,
  };
}

export async function postGraphQL(url: string, operation: string, variables: object = {}, headers: object = {}): Promise<GraphQLAnswer> {
  const response = await fetch(`${url}/graphql`, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify({ query: documentOf(operation), variables }),
  });
  return (await response.json()) as GraphQLAnswer;
}

export function createSocketClient(
  url: string,
  options: { retryAttempts?: number; socket?: typeof WebSocket; token?: string } = {},
): SocketClient {
  return createClient({
    url: `${url.replace(/^http/, "ws")}/graphql`,
    webSocketImpl: options.socket ?? WebSocket,
    ...(options.token !== undefined && { connectionParams: { authorization: `Bearer ${options.token}` } }),
    retryAttempts: options.retryAttempts ?? 0,
    retryWait: async () => undefined,
    shouldRetry: () => true,
  });
}

const operations = readOperations();

/** The text of an operation of schema/operations with the fragments it needs; anything else as it is. */
export function documentOf(operation: string): string {
  return operations.get(operation) ?? operation;
}
