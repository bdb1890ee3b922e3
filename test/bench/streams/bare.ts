/**
 * The least that streams: graphql-ws over a small schema, events made in memory, nothing stored. `raw` as the first word: only
 * `ws`, a socket that is accepted and kept.
 */

import { createServer } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { buildSchema } from "graphql";
import { useServer } from "graphql-ws/use/ws";
import { WebSocketServer } from "ws";

const schema = buildSchema(`
  interface RunEvent { runId: ID!, sequence: Int!, at: String! }
  type TextMessageContent implements RunEvent { runId: ID!, sequence: Int!, at: String!, messageId: ID!, delta: String! }
  type Query { none: Int }
  type Subscription { events(tokens: Int!, rate: Int!): RunEvent!, silence: RunEvent! }
`);

async function* events({ tokens, rate }: { tokens: number; rate: number }) {
  const begun = performance.now();
  for (let token = 0; token < tokens; token++) {
    const early = rate === 0 ? 0 : begun + (token * 1_000) / rate - performance.now();
    if (early > 0) {
      await sleep(early);
    }
    const event = { runId: "run", sequence: token + 1, at: new Date().toISOString(), messageId: "message", delta: `${Date.now()} ` };
    yield { events: { __typename: "TextMessageContent", ...event } };
  }
}

async function* silence() {
  await new Promise(() => undefined);
  yield { silence: null };
}

const http = createServer();
const sockets = new WebSocketServer({ server: http, path: "/graphql" });
if (process.argv[2] !== "raw") {
  useServer({ schema, roots: { subscription: { events, silence } } }, sockets);
}
http.listen(0, "127.0.0.1", () => {
  const address = http.address();
  process.stdout.write(`http://127.0.0.1:${typeof address === "object" ? address?.port : ""}\n`);
});
