/** The server as one user sees it. Another user gets another one, so that no cache is shared. */

import { type AnyVariables, Client, cacheExchange, fetchExchange, type TypedDocumentNode } from "urql";
import { type Connection, createConnection } from "./connection.ts";
import { credentialOf, type Identity } from "./identity.ts";
import { type Problem, problemOf } from "./problem.ts";

export interface Api {
  identity: Identity;
  client: Client;
  connection: Connection;
  /** Carries out a mutation, or reads past the cache. What cannot be done is a problem, not an exception. */
  ask<Data, Variables extends AnyVariables>(document: TypedDocumentNode<Data, Variables>, variables: Variables): Promise<Answer<Data>>;
  /** Tells whoever shows the page that the token is not good, or not any more. */
  refuse(problem: Problem): void;
  dispose(): void;
}

export type Answer<Data> = { data: Data; problem: null } | { data: null; problem: Problem };

export function createApi(identity: Identity, onRefused: (problem: Problem) => void = () => undefined): Api {
  const authorization = credentialOf(identity);
  const client = new Client({
    url: "/graphql",
    preferGetMethod: false,
    requestPolicy: "cache-and-network",
    fetchOptions: authorization === null ? {} : { headers: { authorization } },
    exchanges: [cacheExchange, fetchExchange],
  });
  const connection = createConnection(identity);
  const refuse = (problem: Problem): void => {
    if (problem.code === "UNAUTHENTICATED") {
      onRefused(problem);
    }
  };
  return {
    identity,
    client,
    connection,
    refuse,
    async ask(document, variables) {
      const isMutation = document.definitions.some((part) => "operation" in part && part.operation === "mutation");
      const source = isMutation
        ? client.mutation(document, variables)
        : client.query(document, variables, { requestPolicy: "network-only" });
      const { data, error } = await source.toPromise();
      if (data && !error) {
        return { data, problem: null };
      }
      const problem = error ? problemOf(error) : problemOf({ graphQLErrors: [] } as never);
      refuse(problem);
      return { data: null, problem };
    },
    dispose: connection.dispose,
  };
}
