/** GraphiQL in the browser, with everything it needs in one page: it works without a network. */

import type { IncomingMessage, ServerResponse } from "node:http";
import { type Compressible, compressible, inlineScriptHashes, preferredEncoding } from "../page.ts";
import { readExampleVariables, readOperations } from "./operations.ts";
import { SEND_TOKEN, TOKEN_FORM } from "./playground-token.ts";

const TITLE = "Recollect";
/** Of 9 MB it makes 1.9 in a fifth of a second; higher levels take seconds for little. */
const BROTLI_QUALITY = 5;

export interface Playground {
  /** Answers with the page. */
  serve(request: IncomingMessage, response: ServerResponse): Promise<void>;
}

/** `asksForToken`: the page asks its visitor for one. Nothing is loaded before the first visitor, and nothing is made twice. */
export function createPlayground({ asksForToken }: { asksForToken: boolean }): Playground {
  let page: Promise<Page> | undefined;
  return {
    async serve(request, response) {
      page ??= renderPage(asksForToken).catch((error: unknown) => {
        page = undefined;
        throw error;
      });
      const { body: compressed, scriptHashes } = await page;
      const encoding = preferredEncoding(request);
      const body = await compressed[encoding]();
      response.writeHead(200, {
        "content-type": "text/html; charset=utf-8",
        "content-length": body.length,
        ...(encoding !== "identity" && { "content-encoding": encoding }),
        vary: "accept, accept-encoding",
        "cache-control": "no-store",
        "content-security-policy": contentPolicy(scriptHashes, request.headers.host ?? ""),
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
      });
      response.end(body);
    },
  };
}

interface Page {
  body: Compressible;
  /** Of its inline scripts, as a content security policy names them. */
  scriptHashes: string[];
}

async function renderPage(asksForToken: boolean): Promise<Page> {
  const { renderGraphiQL } = await import("@graphql-yoga/render-graphiql");
  const tabs = exampleTabs();
  const rendered = renderGraphiQL({
    title: TITLE,
    endpoint: "/graphql",
    subscriptionsProtocol: "WS",
    defaultTabs: tabs,
    // What is typed into the headers may be a secret; the browser would keep it.
    shouldPersistHeaders: false,
  });
  const head = `<script>${openLastTab(tabs)}</script>${asksForToken ? `<script>${SEND_TOKEN}</script>` : ""}</head>`;
  const html = rendered
    .replace("</head>", () => head)
    .replace('<div id="root">', (root) => `${asksForToken ? TOKEN_FORM : ""}${root}`)
    .trim();
  return { body: compressible(Buffer.from(html), BROTLI_QUALITY), scriptHashes: inlineScriptHashes(html) };
}

/** A tab for each operation, those with example variables first. */
function exampleTabs(): { query: string; variables: string }[] {
  const variables = new Map(Object.entries(readExampleVariables()));
  const operations = readOperations();
  const names = [...new Set([...variables.keys(), ...operations.keys()])];
  return names.flatMap((name) => {
    const query = operations.get(name);
    return query === undefined ? [] : [{ query: `${query}\n`, variables: JSON.stringify(variables.get(name) ?? {}, null, 2) }];
  });
}

/**
 * GraphiQL opens the tab that fits the query and the variables it stored last: a first visitor would see no variables, and
 * a reload before the first edit would add an empty tab. So these are set to the tab that was open, or the first one.
 */
function openLastTab([first]: { query: string; variables: string }[]): string {
  const text = JSON.stringify(first ?? {}).replaceAll("<", "\\u003c");
  return `{
    const stored = JSON.parse(localStorage.getItem("graphiql:tabState"));
    const tab = stored?.tabs?.[stored.activeTabIndex] ?? ${text};
    for (const part of ["query", "variables"]) {
      if (tab[part]) localStorage.setItem("graphiql:" + part, tab[part]);
      else localStorage.removeItem("graphiql:" + part);
    }
  }`;
}

/**
 * Only what is in the page itself may run, and it may speak to this server alone. The editor makes its styles as it goes,
 * and its workers from texts in the page. Not every browser takes 'self' to mean the WebSocket as well.
 */
function contentPolicy(scriptHashes: string[], host: string): string {
  return [
    "default-src 'none'",
    `script-src ${scriptHashes.join(" ")}`,
    "style-src 'unsafe-inline'",
    "font-src data:",
    "img-src data:",
    "worker-src blob:",
    `connect-src 'self' ws://${host} wss://${host}`,
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join("; ");
}
