/** The playground at /graphql: served whole, and used in a real browser that can reach nothing else. */

import { type OperationDefinitionNode, parse } from "graphql";
import { getVariableValues } from "graphql/execution/values.js";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readExampleVariables, readOperations } from "../src/graphql/operations.ts";
import { buildGraphQLSchema } from "../src/graphql/schema.ts";
import { launchBrowser, watchPage } from "./support/browser.ts";
import { makeKey } from "./support/keys.ts";
import { startTestServer, type TestServer } from "./support/server.ts";

const BROWSER_ACCEPT = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
const PATIENCE = 20_000;

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer();
});

afterAll(() => server.close());

describe("the page", () => {
  const open = (headers: Record<string, string>) => fetch(`${server.url}/graphql`, { headers: { accept: BROWSER_ACCEPT, ...headers } });

  test("is the same compressed and plain, and may load nothing from elsewhere", async () => {
    const texts = new Set<string>();
    for (const encoding of ["br", "gzip", "identity", "gzip;q=0, br;q=0"]) {
      const response = await open({ "accept-encoding": encoding });
      expect(response.status).toBe(200);
      expect(response.headers.get("content-encoding")).toBe(encoding === "br" || encoding === "gzip" ? encoding : null);
      expect(response.headers.get("content-security-policy")).toMatch(/default-src 'none'; script-src 'sha256-.*frame-ancestors 'none'/);
      expect(response.headers.get("content-security-policy")).not.toMatch(/script-src[^;]*unsafe/);
      expect(response.headers.get("x-frame-options")).toBe("DENY");
      expect(response.headers.get("x-content-type-options")).toBe("nosniff");
      expect(response.headers.get("referrer-policy")).toBe("no-referrer");
      texts.add(await response.text());
    }
    expect(texts.size).toBe(1);
    expect([...texts][0]).toMatch(/<title>Recollect<\/title>/);
  });

  test("is for browsers: programs get GraphQL", async () => {
    for (const accept of ["*/*", "application/json", "application/graphql-response+json, text/html"]) {
      const response = await open({ accept, "apollo-require-preflight": "true" });
      expect(response.headers.get("content-type")).toMatch(/json/);
    }
    const response = await fetch(`${server.url}/graphql`, {
      method: "POST",
      headers: { accept: BROWSER_ACCEPT, "content-type": "application/json" },
      body: JSON.stringify({ query: "{ __typename }" }),
    });
    expect(await response.json()).toEqual({ data: { __typename: "Query" } });
  });
});

test("every example operation has example variables that fit it", () => {
  const schema = buildGraphQLSchema();
  const examples = readExampleVariables();
  const operations = readOperations();
  expect(Object.keys(examples).toSorted()).toEqual([...operations.keys()].toSorted());
  for (const [name, text] of operations) {
    const [operation] = parse(text).definitions as OperationDefinitionNode[];
    const { errors } = getVariableValues(schema, operation?.variableDefinitions ?? [], { ...examples[name] });
    expect(errors, name).toBeUndefined();
  }
});

test("the examples work one after the other on a fresh server, but for ids only it can know", async () => {
  for (const [name, variables] of Object.entries(readExampleVariables())) {
    const text = JSON.stringify(variables);
    if (name === "SendMessage") {
      for await (const _ of server.subscribe(name, variables)) {
        // Until it ends.
      }
    } else if (!/^subscription\b/m.test(readOperations().get(name) ?? "") && !/Id from/.test(text)) {
      expect((await server.graphql(name, variables)).errors, name).toBeUndefined();
    }
  }
});

describe("in a browser", () => {
  let browser: Browser | undefined;
  afterAll(() => browser?.close());

  async function openTab(page: Page, name: string): Promise<void> {
    const tab = page.getByRole("button", { name, exact: true });
    await tab.press("Enter");
    // GraphiQL takes a moment to see which operation it has; the address follows when it has seen it.
    await page.waitForURL((url) => new RegExp(`^(query|mutation|subscription) ${name}\\b`, "m").test(url.searchParams.get("query") ?? ""));
  }

  test("operations run from their tabs, a reply streams in, and nothing leaves this machine", { timeout: 120_000 }, async (context) => {
    browser = await launchBrowser(context);
    const page = await browser.newPage({ viewport: { width: 1_400, height: 1_000 } });
    page.setDefaultTimeout(PATIENCE);
    const seen = watchPage(page);
    const result = page.locator(".result-window");
    const run = page.getByRole("button", { name: /^Execute query/ });
    await page.goto(`${server.url}/graphql`);
    await run.waitFor();
    expect(await page.title()).toBe("Recollect");
    const tabs = await page.locator(".graphiql-tab").allInnerTexts();
    expect(tabs).toEqual(Object.keys(readExampleVariables()));

    await run.click();
    await result.getByText('"DONE"').waitFor();

    await openTab(page, "MemoriesByTopic");
    await page.locator(".graphiql-query-editor .monaco-editor").first().click();
    await page.keyboard.press("Control+Enter");
    await result.getByText('"User loves hiking"').first().waitFor();

    const gate = server.model.hold(3);
    await openTab(page, "SendMessage");
    await run.click();
    await result.getByText('"TextMessageContent"').waitFor();
    gate.release();
    await result.getByText('"RunFinished"').waitFor();

    // The page keeps its tabs a moment after they change.
    const active = tabs.indexOf("SendMessage");
    await page.waitForFunction(`JSON.parse(localStorage.getItem("graphiql:tabState") ?? "{}").activeTabIndex === ${active}`);
    await page.reload();
    await run.waitFor();
    expect(await page.locator(".graphiql-tab").allInnerTexts()).toEqual(tabs);
    expect(await page.locator(".graphiql-tab-active").innerText()).toBe("SendMessage");

    const own = new URL(server.url).host;
    const foreign = seen.addresses.filter((address) => !/^(blob|data):/.test(address) && new URL(address).host !== own);
    expect(foreign).toEqual([]);
    expect(seen.addresses).toContain(`ws://${own}/graphql`);
    expect(seen.faults).toEqual([]);
  });

  test("where tokens are asked for, one typed into the page is sent over HTTP and WebSocket, and kept in its tab", {
    timeout: 120_000,
  }, async (context) => {
    const locked = await startTestServer({ env: { AUTH: "keys", INTROSPECTION: "on" }, model: server.model });
    const { token } = await makeKey(locked.context.database, { user: "alice@example.com" });
    browser ??= await launchBrowser(context);
    const page = await browser.newPage({ viewport: { width: 1_400, height: 1_000 } });
    page.setDefaultTimeout(PATIENCE);
    const result = page.locator(".result-window");
    const run = page.getByRole("button", { name: /^Execute query/ });
    await page.goto(`${locked.url}/graphql`);
    await run.waitFor();
    await run.click();
    await result.getByText('"UNAUTHENTICATED"').waitFor();

    await page.getByLabel("Token").fill(`Bearer ${token}`);
    await page.getByRole("button", { name: "Use", exact: true }).click();
    await page.getByText("A token is in use in this tab.").waitFor();
    await run.click();
    await result.getByText('"DONE"').waitFor();
    await openTab(page, "SendMessage");
    await run.click();
    await result.getByText('"RunFinished"').waitFor();
    expect(await page.evaluate("JSON.stringify(localStorage)")).not.toContain(token);
    expect(page.url()).not.toContain(token);
    await page.close();
    await locked.close();
  });
});
