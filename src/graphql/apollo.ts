import type { IncomingMessage, ServerResponse } from "node:http";
import { ApolloServer, type ApolloServerPlugin, HeaderMap } from "@apollo/server";
import {
  ApolloServerPluginLandingPageDisabled,
  ApolloServerPluginSchemaReportingDisabled,
  ApolloServerPluginUsageReportingDisabled,
} from "@apollo/server/plugin/disabled";
import { GraphQLError, type GraphQLSchema } from "graphql";
import { AppError } from "../errors.ts";
import { allowMethods, MAX_OPERATION_TOKENS, readJson } from "../http.ts";
import type { Logger } from "../logger.ts";
import type { RequestContext } from "./acting-user.ts";
import { maskError } from "./errors.ts";

/** GraphQL over HTTP. The caller stops it. */
export async function startApollo(schema: GraphQLSchema, log: Logger): Promise<ApolloServer<RequestContext>> {
  const apollo = new ApolloServer<RequestContext>({
    schema,
    formatError: (_formatted, error) => maskError(error, log),
    parseOptions: { maxTokens: MAX_OPERATION_TOKENS },
    introspection: true,
    includeStacktraceInErrorResponses: false,
    csrfPrevention: true,
    persistedQueries: false,
    stopOnTerminationSignals: false,
    logger: log,
    plugins: [
      ApolloServerPluginLandingPageDisabled(),
      // Both would send operations to a third party if the environment held the vendor's key.
      ApolloServerPluginUsageReportingDisabled(),
      ApolloServerPluginSchemaReportingDisabled(),
      refuseSubscriptions,
      answerJsonWithOk,
    ],
  });
  await apollo.start();
  return apollo;
}

/** Answers one HTTP request. Throws AppError for a body that cannot be read. */
export async function handleGraphQL(
  apollo: ApolloServer<RequestContext>,
  request: IncomingMessage,
  response: ServerResponse,
  url: URL,
  context: RequestContext,
): Promise<void> {
  allowMethods(request, "GET", "POST");
  const method = request.method ?? "";
  const body = method === "POST" ? await readJson(request) : undefined;
  const httpGraphQLRequest = { method, headers: headerMap(request), search: url.search, body };
  const answer = await apollo.executeHTTPGraphQLRequest({ httpGraphQLRequest, context: async () => context });
  for (const [name, value] of answer.headers) {
    response.setHeader(name, value);
  }
  response.setHeader("x-content-type-options", "nosniff");
  response.statusCode = answer.status ?? 200;
  if (answer.body.kind === "complete") {
    response.end(answer.body.string);
    return;
  }
  for await (const chunk of answer.body.asyncIterator) {
    response.write(chunk);
  }
  response.end();
}

function headerMap(request: IncomingMessage): HeaderMap {
  const headers = new HeaderMap();
  for (const [name, value] of Object.entries(request.headers)) {
    if (value !== undefined) {
      headers.set(name, Array.isArray(value) ? value.join(", ") : value);
    }
  }
  return headers;
}

/** Executed as a query, a subscription would be a field without a value: an error that explains nothing. */
const refuseSubscriptions: ApolloServerPlugin<RequestContext> = {
  async requestDidStart() {
    return {
      async didResolveOperation({ operation }) {
        if (operation?.operation === "subscription") {
          const message = "Subscriptions are served over WebSocket, at the same address, with the protocol graphql-transport-ws.";
          const originalError = new AppError("BAD_USER_INPUT", message);
          throw new GraphQLError(message, { originalError, extensions: { http: { status: 400 } } });
        }
      },
    };
  },
};

/**
 * A client that takes only application/json gets 200 with the errors for a document or variables that are wrong, as the
 * GraphQL over HTTP specification wants it for such clients; others get 400.
 */
const answerJsonWithOk: ApolloServerPlugin<RequestContext> = {
  async requestDidStart() {
    return {
      async willSendResponse({ request, response: { http, body } }) {
        const accept = request.http?.headers.get("accept") ?? "";
        const refused = http.status === 400 && body.kind === "single" && body.singleResult.data === undefined;
        if (refused && !accept.includes("application/graphql-response+json")) {
          http.status = 200;
        }
      },
    };
  },
};
