/** Follows a subscription through lost connections and restarts of the server. */

import { stringifyDocument } from "@urql/core";
import type { TypedDocumentNode } from "urql";
import type { Api } from "./api.ts";
import { patience } from "./patience.ts";
import { type Problem, problemOfEnd } from "./problem.ts";

export interface Following<Data, Variables> {
  document: TypedDocumentNode<Data, Variables>;
  /** Asked at each connection: from where to go on. */
  variables: () => Variables;
  onEvent: (data: Data) => void;
  /** It ended in good order. */
  onEnd?: () => void;
  /** It ended with an answer that trying again would not change. */
  onProblem?: (problem: Problem) => void;
}

/** Goes on until it ends or `signal` aborts. */
export function follow<Data, Variables extends Record<string, unknown>>(
  { connection, refuse }: Pick<Api, "connection" | "refuse">,
  { document, variables, onEvent, onEnd, onProblem }: Following<Data, Variables>,
  signal: AbortSignal,
): void {
  const wait = patience();
  const query = stringifyDocument(document);
  const end = (reason: unknown): void => {
    if (signal.aborted) {
      return;
    }
    const problem = problemOfEnd(reason);
    if (problem.retryable) {
      void wait.next(signal).then(connect);
    } else {
      refuse(problem);
      onProblem?.(problem);
    }
  };
  const connect = (): void => {
    if (signal.aborted) {
      return;
    }
    const leave = connection.socket.subscribe<Data>(
      { query, variables: variables() },
      {
        next({ data, errors }) {
          if (signal.aborted) {
            return;
          }
          if (errors || !data) {
            leave();
            end(errors);
          } else {
            wait.reset();
            onEvent(data);
          }
        },
        error: end,
        complete: () => signal.aborted || onEnd?.(),
      },
    );
    signal.addEventListener("abort", leave, { once: true });
  };
  connect();
}
