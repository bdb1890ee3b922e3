import type { IncomingMessage, ServerResponse } from "node:http";
import { ApolloServer, type ApolloServerPlugin, HeaderMap } from "@apollo/server";
import {
  ApolloServerPluginLandingPageDisabled,
  ApolloServerPluginSchemaReportingDisabled,
  ApolloServerPluginUsageReportingDisabled,
} from "@apollo/server/plugin/disabled";
import { type DocumentNode, GraphQLError, Kind } from "graphql";
import { AppError } from "../errors.ts";
import { allowMethods, readJson } from "../http.ts";
import type { Logger } from "../logger.ts";
import { countOperation, type RequestContext } from "./acting-user.ts";
import { type Masking, maskError } from "./errors.ts";
import type { KnownDocuments } from "./known-documents.ts";

/** GraphQL over HTTP. The caller stops it. */
export async function startApollo(documents: KnownDocuments, masking: Masking & { log: Logger }): Promise<ApolloServer<RequestContext>> {
  const apollo = new ApolloServer<RequestContext>({
    schema: documents.schema,
    formatError: (_formatted, error) => maskError(error, masking),
    // Documents are read and kept by `readOnce`, which knows whether introspection is allowed.
    documentStore: null,
    introspection: true,
    includeStacktraceInErrorResponses: false,
    csrfPrevention: true,
    persistedQueries: false,
    stopOnTerminationSignals: false,
    logger: masking.log,
    plugins: [
      readOnce(documents, masking),
      ApolloServerPluginLandingPageDisabled(),
      // Both would send operations to a third party if the environment held the vendor's key.
      ApolloServerPluginUsageReportingDisabled(),
      ApolloServerPluginSchemaReportingDisabled(),
      refuseSubscriptions,
      answerJsonWithOk,
      sayWhenToComeBack,
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
  countOperation(context);
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

/**
 * Has a document read as it is over WebSocket: one that is given before Apollo looks for it, Apollo neither parses nor validates. In place
 * of a document that is refused it gets an empty one, and the answer is made here.
 */
function readOnce(documents: KnownDocuments, masking: Masking): ApolloServerPlugin<RequestContext> {
  return {
    async requestDidStart() {
      let refused: readonly GraphQLError[] = [];
      return {
        async didResolveSource(given) {
          const { operationName, variables } = given.request;
          const document = documents.read({ query: given.source, operationName, variables });
          refused = "kind" in document ? [] : document;
          Object.assign(given, { document: "kind" in document ? document : NO_DOCUMENT });
        },
        async responseForOperation() {
          if (refused.length === 0) {
            return null;
          }
          const http = { status: 400, headers: new HeaderMap() };
          return { http, body: { kind: "single", singleResult: { errors: refused.map((error) => maskError(error, masking)) } } };
        },
      };
    },
  };
}

const NO_DOCUMENT: DocumentNode = { kind: Kind.DOCUMENT, definitions: [] };

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

/** Tells clients that look at headers alone, too. */
const sayWhenToComeBack: ApolloServerPlugin<RequestContext> = {
  async requestDidStart() {
    return {
      async willSendResponse({ response: { http, body } }) {
        const errors = body.kind === "single" ? (body.singleResult.errors ?? []) : [];
        const waits = errors.map(({ extensions }) => extensions?.retryAfterSeconds).filter((wait) => typeof wait === "number");
        if (waits.length > 0) {
          http.headers.set("retry-after", String(Math.max(...waits)));
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
