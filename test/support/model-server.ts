import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { type Answer, fails, Gate } from "./model-answers.ts";
import { behave } from "./model-behaviour.ts";
import { embed } from "./model-embeddings.ts";
import { answering, type Quirks, quirkyAnswer } from "./model-quirks.ts";
import type { Purpose, RecordedRequest } from "./model-request.ts";
import { receive, send } from "./model-transport.ts";

/** How long `waitFor` waits, in milliseconds. */
const PATIENCE = 10_000;

/** Decides an answer; undefined: the default behaviour. */
export type Responder = (request: RecordedRequest) => Answer | undefined;

/** A model server over real HTTP that does as it is told. Default behaviour: see `model-behaviour.ts`. */
export interface ModelServer {
  /** Base address; ends in /v1. */
  readonly url: string;
  /** Every request, oldest first, recorded when its body is complete. */
  readonly requests: RecordedRequest[];
  /** The requests of one purpose. */
  asked(purpose: Purpose): RecordedRequest[];
  /** The next requests of `purpose` get these answers, one each, before any responder is asked. */
  script(purpose: Purpose, ...answers: Answer[]): void;
  /** Decides the answers of requests for which nothing is scripted. */
  respond(responder: Responder): void;
  /** Holds the next request of `purpose` (default reply), after so many pieces of text (default 0: before the first byte). */
  hold(after?: number, purpose?: Purpose): Gate;
  /** The first request, recorded already or to come, that is of this purpose or fits. Rejects after 10 s. */
  waitFor(wanted: Purpose | ((request: RecordedRequest) => boolean)): Promise<RecordedRequest>;
  /** Ends everything that is still open. */
  close(): Promise<void>;
}

/** Starts a scripted model server on this machine, at a port of its own unless one is given. Whoever starts it closes it. */
export async function startModelServer(quirks: Quirks = {}, wantedPort = 0): Promise<ModelServer> {
  const state = new State(quirks);
  const http = createServer((request, response) => void state.serve(request, response));
  await new Promise<void>((resolve) => http.listen(wantedPort, "127.0.0.1", resolve));
  const { port } = http.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/v1`,
    requests: state.requests,
    asked: (purpose) => state.requests.filter((request) => request.purpose === purpose),
    script: (purpose, ...answers) => state.scripted.push(...answers.map((answer) => ({ purpose, answer }))),
    respond: (responder) => {
      state.responder = responder;
    },
    hold: (after = 0, purpose = "reply") => {
      const gate = new Gate(after);
      state.gates.push({ purpose, gate });
      return gate;
    },
    waitFor: (wanted) => state.waitFor(typeof wanted === "string" ? (request) => request.purpose === wanted : wanted),
    close: async () => {
      for (const { gate } of state.gates) {
        gate.release();
      }
      const closed = new Promise<void>((resolve) => http.close(() => resolve()));
      http.closeAllConnections();
      await closed;
    },
  };
}

class State {
  readonly requests: RecordedRequest[] = [];
  readonly scripted: { purpose: Purpose; answer: Answer }[] = [];
  readonly gates: { purpose: Purpose; gate: Gate }[] = [];
  readonly #quirks: Quirks;
  readonly #watchers = new Set<() => void>();
  responder: Responder = () => undefined;

  constructor(quirks: Quirks) {
    this.#quirks = quirks;
  }

  async serve(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const request = await receive(incoming, response);
    if (!request) {
      return;
    }
    this.requests.push(request);
    for (const watcher of [...this.#watchers]) {
      watcher();
    }
    const answer = takeFirst(this.scripted, request.purpose)?.answer ?? quirkyAnswer(this.#quirks, request) ?? this.#own(request);
    const gate = takeFirst(this.gates, request.purpose)?.gate ?? null;
    await send(answer, { gate, request, response, model: answering(this.#quirks, request), timings: this.#quirks.timings === true });
  }

  waitFor(fits: (request: RecordedRequest) => boolean): Promise<RecordedRequest> {
    return new Promise((resolve, reject) => {
      const settle = () => {
        const found = this.requests.find(fits);
        if (found) {
          clearTimeout(timer);
          this.#watchers.delete(settle);
          resolve(found);
        }
      };
      const timer = setTimeout(() => {
        this.#watchers.delete(settle);
        const seen = this.requests.map((request) => `${request.purpose} ${request.path}`).join(", ") || "none";
        reject(new Error(`No such request within ${PATIENCE} ms. There were: ${seen}.`));
      }, PATIENCE);
      this.#watchers.add(settle);
      settle();
    });
  }

  #models(): string[] {
    return this.#quirks.models ?? ["scripted-model"];
  }

  #own(request: RecordedRequest): Answer {
    const answer = this.responder(request);
    if (answer) {
      return answer;
    }
    switch (request.purpose) {
      case "models":
        return fails(200, {
          object: "list",
          data: this.#models().map((id) => ({ id, object: "model", owned_by: "test", ...this.#quirks.listing })),
        });
      case "embeddings":
        return fails(200, embed(request.body));
      case "other":
        return fails(404, { error: `Unexpected endpoint or method. (${request.method} ${request.path})` });
      default:
        return behave(request);
    }
  }
}

/** Removes and returns the first entry for a purpose. */
function takeFirst<T extends { purpose: Purpose }>(queue: T[], purpose: Purpose): T | undefined {
  const index = queue.findIndex((entry) => entry.purpose === purpose);
  return index < 0 ? undefined : queue.splice(index, 1)[0];
}
