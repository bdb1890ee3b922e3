/** The server that a command talks to: one request, one subscription, one document at a time. */

import { createClient } from "graphql-ws";
import { WebSocket } from "ws";

/** How long one request may take (ms): a local model may have to be loaded first. */
const REQUEST_DEADLINE = 90_000;
/** How long a subscription may be silent (ms). */
const SILENCE_DEADLINE = 300_000;

/** Where the server is, who asks, and for whom. */
export interface Target {
  url: string;
  token: string | null;
  /** Null: whom the token names. */
  user: string | null;
}

/** A failure whose message is all there is to say. */
export class Problem extends Error {
  /** The server's code; null when no server said it. */
  readonly code: string | null;

  constructor(message: string, code: string | null = null) {
    super(message);
    this.code = code;
  }
}

/** A page of a list. */
export interface Listed<Item> {
  edges: { node: Item }[];
  pageInfo: { hasNextPage: boolean; endCursor: string | null };
}

interface Answer<Data> {
  data?: Data | null;
  errors?: readonly { message: string; extensions?: { code?: unknown } | undefined }[];
}

export class Connection {
  readonly target: Target;
  readonly address: string;

  constructor(target: Target) {
    this.target = target;
    this.address = target.url.replace(/\/+$/, "").replace(/\/graphql$/, "");
  }

  /** A query or a mutation; its data. Throws Problem with the server's first error. */
  async request<Data>(query: string, variables: object = {}): Promise<Data> {
    const response = await this.fetch("/graphql", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ query, variables }),
    });
    const answer = (await response.json().catch(() => ({}))) as Answer<Data>;
    return this.#dataOf(answer);
  }

  /** Every item of a list that comes in pages; the query takes `$after`, and `list` finds it in the data. */
  async all<Data, Item>(query: string, variables: object, list: (data: Data) => Listed<Item>): Promise<Item[]> {
    const items: Item[] = [];
    for (let after: string | null = null, more = true; more; ) {
      const page: Listed<Item> = list(await this.request<Data>(query, { ...variables, after }));
      items.push(...page.edges.map(({ node }) => node));
      after = page.pageInfo.endCursor;
      more = page.pageInfo.hasNextPage;
    }
    return items;
  }

  /** Events of a subscription, to its end. Stops when `signal` aborts. Throws Problem when it breaks. */
  async *subscribe<Data>(query: string, variables: Record<string, unknown>, signal?: AbortSignal): AsyncGenerator<Data, void> {
    const { token } = this.target;
    const client = createClient({
      url: `${this.address.replace(/^http/, "ws")}/graphql`,
      retryAttempts: 0,
      webSocketImpl: WebSocket,
      ...(token !== null && { connectionParams: { authorization: `Bearer ${token}` } }),
    });
    const silence = setTimeout(() => client.terminate(), SILENCE_DEADLINE);
    const stop = (): void => client.terminate();
    signal?.addEventListener("abort", stop, { once: true });
    try {
      for await (const answer of client.iterate<Data>({ query, variables })) {
        silence.refresh();
        yield this.#dataOf(answer as Answer<Data>);
      }
    } catch (error) {
      if (signal?.aborted) {
        return;
      }
      throw asProblem(error, this.address);
    } finally {
      clearTimeout(silence);
      signal?.removeEventListener("abort", stop);
      await client.dispose();
    }
  }

  /** A response of any kind. Throws Problem when no server answers. */
  async fetch(path: string, init: RequestInit = {}): Promise<Response> {
    const headers = new Headers(init.headers);
    if (this.target.token !== null) {
      headers.set("authorization", `Bearer ${this.target.token}`);
    }
    try {
      return await fetch(`${this.address}${path}`, { ...init, headers, signal: AbortSignal.timeout(REQUEST_DEADLINE) });
    } catch (error) {
      const late = error instanceof Error && error.name === "TimeoutError";
      throw late
        ? new Problem(`${this.address} did not answer within ${REQUEST_DEADLINE / 1_000} s. Look at the server's log.`)
        : new Problem(
            `No Recollect server answers at ${this.address}. Start one with: npm start (one at another address is named by RECOLLECT_URL or --url)`,
          );
    }
  }

  #dataOf<Data>({ data, errors }: Answer<Data>): Data {
    const [error] = errors ?? [];
    if (error) {
      const code = error.extensions?.code;
      throw new Problem(error.message, typeof code === "string" ? code : null);
    }
    if (!data) {
      throw new Problem(`${this.address} is no Recollect server. Set RECOLLECT_URL to the address that npm start prints.`);
    }
    return data;
  }
}

function asProblem(error: unknown, address: string): unknown {
  if (error instanceof Error) {
    return error;
  }
  // An error the server gave for the operation, or how the socket was closed.
  const [first] = Array.isArray(error) ? (error as { message: string; extensions?: { code?: string } }[]) : [];
  const { code, reason } = (error ?? {}) as { code?: number; reason?: string };
  return first
    ? new Problem(first.message, first.extensions?.code ?? null)
    : new Problem(
        code !== undefined && code >= 4_000
          ? `The server closed the connection: ${reason || code}.`
          : `The connection to ${address} broke before all was said. Look at the server's log; what was accepted goes on there.`,
      );
}
