/** The web chat at /, used as people use it: in a real browser that can reach nothing else. */

import { createRequire } from "node:module";
import { gzipSync } from "node:zlib";
import type { Browser, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, type TestContext, test } from "vitest";
import { launchBrowser, watchPage } from "./support/browser.ts";
import { createTestDatabase } from "./support/database.ts";
import { makeKey } from "./support/keys.ts";
import { fails, says } from "./support/model-answers.ts";
import { startTestServer, type TestServer } from "./support/server.ts";

const BROWSER_ACCEPT = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
const AXE = createRequire(import.meta.url).resolve("axe-core/axe.min.js");
const TIMEOUT = { timeout: 60_000 };
const INTRODUCTION = "Hi! My name is Alice. I love hiking and photography. I work as a data scientist.";

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer();
});

afterAll(() => server.close());

describe("the files", () => {
  const open = (path: string, headers: Record<string, string> = {}) => fetch(`${server.url}${path}`, { headers });

  test("are small, kept for good but for the page, and may load nothing from elsewhere", async () => {
    const page = await open("/", { accept: BROWSER_ACCEPT });
    expect(page.headers.get("cache-control")).toBe("no-cache");
    expect(page.headers.get("content-security-policy")).toMatch(/default-src 'none'; script-src 'self' 'sha256-[^;]*; style-src 'self'/);
    expect(page.headers.get("content-security-policy")).not.toContain("unsafe");
    const names = [...(await page.text()).matchAll(/"(\/assets\/[^"]+)"/g)].map(([, name = ""]) => name);
    expect(names.length).toBe(3);
    for (const name of names) {
      const file = await open(name, { "accept-encoding": "br" });
      expect(file.headers.get("content-encoding")).toBe("br");
      expect(file.headers.get("cache-control")).toContain("immutable");
      const again = await open(name, { "accept-encoding": "br", "if-none-match": file.headers.get("etag") ?? "" });
      expect(again.status).toBe(304);
      if (name.endsWith(".js")) {
        expect(gzipSync(await file.text()).length).toBeLessThan(100 * 1024);
      }
    }
  });

  test("are for browsers: programs at / get the answer they always got", async () => {
    const program = await open("/", { accept: "application/json" });
    expect(program.status).toBe(404);
    expect(await program.json()).toMatchObject({ error: { code: "NOT_FOUND" } });
    for (const path of ["/assets/nothing.js", "/assets/..%2f..%2fpackage.json", "/assets/../../package.json"]) {
      expect((await open(path, { accept: BROWSER_ACCEPT })).status).toBe(404);
    }
  });
});

describe("in a browser", () => {
  let browser: Browser | undefined;

  afterEach(async () => {
    await Promise.all((browser?.contexts() ?? []).map((context) => context.close()));
  });

  afterAll(() => browser?.close());

  async function openPage(context: TestContext, options: Parameters<Browser["newContext"]>[0] = {}): Promise<Page> {
    browser ??= await launchBrowser(context);
    const visitor = await browser.newContext({ viewport: { width: 1_400, height: 900 }, ...options });
    const page = await visitor.newPage();
    page.setDefaultTimeout(15_000);
    return page;
  }

  async function enter(page: Page, user: string, url = server.url): Promise<void> {
    await page.goto(url);
    await page.getByLabel("Who are you?").fill(user);
    await page.getByRole("button", { name: "Continue" }).click();
    await page.getByRole("heading", { name: "What is on your mind?" }).waitFor();
  }

  async function say(page: Page, message: string): Promise<void> {
    await page.getByLabel("Message").fill(message);
    await page.keyboard.press("Enter");
  }

  const memories = (page: Page) => page.locator(".card-text");
  const replies = (page: Page) => page.locator(".markdown");

  test(
    "an introduction streams in and becomes memories with their quotes, which the next conversation recalls and can explain",
    TIMEOUT,
    async (context) => {
      const page = await openPage(context);
      const seen = watchPage(page);
      await enter(page, "web-scenes");
      await say(page, INTRODUCTION);
      await page.getByText("4 memories").waitFor();
      await memories(page).nth(3).waitFor();
      expect(await page.locator(".feed q").allInnerTexts()).toContain("I love hiking and photography");
      await page.getByRole("button", { name: "New conversation" }).click();
      await say(page, "What are my hobbies?");
      await replies(page).getByText("User loves hiking").waitFor();
      await page.getByRole("button", { name: "Why this reply" }).click();
      await page.getByLabel("Why this reply").getByText("User loves photography").waitFor();
      await page.getByRole("group", { name: "Only one topic" }).getByRole("button", { name: "career" }).click();
      await expect.poll(() => memories(page).allInnerTexts()).toEqual(["User works as a data scientist"]);
      const own = new URL(server.url).host;
      expect(seen.addresses.filter((address) => new URL(address).host !== own)).toEqual([]);
      expect(seen.faults).toEqual([]);
    },
  );

  test("a reload in the middle of a reply ends with the whole reply, once", TIMEOUT, async (context) => {
    const page = await openPage(context);
    await enter(page, "web-reload");
    const gate = server.model.hold(2);
    server.model.script("reply", says("One two three four five."));
    await say(page, "Count.");
    await replies(page).getByText("One two").waitFor();
    await page.reload();
    await replies(page).getByText("One two").waitFor();
    gate.release();
    await replies(page).getByText("One two three four five.", { exact: true }).waitFor();
    expect(await page.locator(".question").allInnerTexts()).toEqual(["Count."]);
    expect(await replies(page).allInnerTexts()).toEqual(["One two three four five."]);
  });

  test("Escape stops a reply, and keeps what was written", TIMEOUT, async (context) => {
    const page = await openPage(context);
    await enter(page, "web-stop");
    const gate = server.model.hold(2);
    await say(page, "Talk on.");
    await replies(page).first().waitFor();
    await page.keyboard.press("Escape");
    await page.locator(".stopped").waitFor();
    gate.release();
    expect(await replies(page).count()).toBe(1);
  });

  test("memories are written by hand, edited, pinned and deleted", TIMEOUT, async (context) => {
    const page = await openPage(context);
    await enter(page, "web-memories");
    await page.getByRole("button", { name: "Write a memory down" }).click();
    await page.getByLabel("Memory", { exact: true }).fill("User prefers dark mode");
    await page.getByLabel("Topics, with commas between").fill("preferences, ui");
    await page.getByRole("button", { name: "Remember" }).click();
    await memories(page).getByText("User prefers dark mode").waitFor();
    await page.getByRole("button", { name: "Edit: User prefers dark mode" }).click();
    await page.getByLabel("Memory", { exact: true }).fill("User prefers light mode");
    await page.getByRole("button", { name: "Save" }).click();
    await memories(page).getByText("User prefers light mode").waitFor();
    await page.getByRole("button", { name: "Pin: User prefers light mode" }).click();
    await page.getByRole("button", { name: "Unpin: User prefers light mode" }).waitFor();
    await page.getByRole("button", { name: "Delete: User prefers light mode" }).click();
    await expect.poll(() => memories(page).count()).toBe(0);
  });

  test("a memory that somebody else writes appears by itself", TIMEOUT, async (context) => {
    const page = await openPage(context);
    await enter(page, "web-live");
    await page.getByText("Nothing is remembered yet").waitFor();
    await server.data("AddMemory", { input: { userId: "web-live", memory: "User keeps bees" } });
    await memories(page).getByText("User keeps bees").waitFor();
  });

  test("conversations are renamed and deleted; another user sees nothing of them", TIMEOUT, async (context) => {
    const page = await openPage(context);
    await enter(page, "web-one");
    await say(page, "I love Python.");
    await page.getByText("1 memory").waitFor();
    await page.getByRole("button", { name: "Rename I love Python." }).click();
    await page.getByLabel("Title").fill("About snakes");
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "About snakes" }).waitFor();
    await page.getByTitle("Switch user").click();
    await enter(page, "web-two");
    await page.getByText("Nothing is remembered yet").waitFor();
    expect(await page.locator("body").innerText()).not.toMatch(/Python|snakes/);
    await page.getByTitle("Switch user").click();
    await enter(page, "web-one");
    await page.getByRole("button", { name: "Delete About snakes" }).click();
    await page.getByRole("button", { name: "Delete", exact: true }).click();
    await expect.poll(() => page.locator(".session").count()).toBe(0);
  });

  test("a model that fails is named with its remedy", TIMEOUT, async (context) => {
    const page = await openPage(context);
    await enter(page, "web-down");
    server.model.script("reply", fails(404, { error: "No models loaded. Please load a model." }));
    await say(page, "Are you there?");
    await page
      .getByRole("alert")
      .getByText(/Load it in LM Studio/)
      .waitFor();
    await page.getByRole("alert").getByRole("button", { name: "Server status" }).click();
    await page.getByRole("dialog", { name: "Server status" }).getByText("Version", { exact: true }).waitFor();
  });

  test("images, HTML and dangerous links of a reply stay text", TIMEOUT, async (context) => {
    const page = await openPage(context);
    await enter(page, "web-markup");
    const hostile = "**Bold** ![x](https://evil.example/x.png) <img src=x onerror=alert(1)> [y](javascript:alert(1)) end.";
    server.model.script("reply", says(hostile));
    await say(page, "Go on.");
    await replies(page).getByText("end.").waitFor();
    expect(await replies(page).locator("strong").innerText()).toBe("Bold");
    expect(await page.locator("img, iframe, .markdown script, a[href^=javascript]").count()).toBe(0);
    expect(await replies(page).innerText()).toContain("<img src=x onerror=alert(1)>");
  });

  test(
    "a server that restarts in the middle of a reply is found again: what was written is there, with what can be done",
    TIMEOUT,
    async (context) => {
      const page = await openPage(context);
      const database = await createTestDatabase();
      const first = await startTestServer({ model: server.model, database });
      const gate = server.model.hold(2);
      try {
        await enter(page, "web-restart", first.url);
        server.model.script("reply", says("One two three four."), says("All of it."));
        await say(page, "Count.");
        await replies(page).getByText("One two").waitFor();
        await first.close();
        await page.getByText("The connection to the server is lost").waitFor();
        const second = await startTestServer({ model: server.model, database, env: { PORT: new URL(first.url).port } });
        try {
          await page.getByRole("alert").getByText("RUN_INTERRUPTED").waitFor();
          expect(await replies(page).allInnerTexts()).toEqual(["One two"]);
          await page.getByRole("button", { name: "Ask again" }).click();
          await replies(page).getByText("All of it.").waitFor();
          await expect.poll(() => page.getByText("The connection to the server is lost").count()).toBe(0);
        } finally {
          await second.close();
        }
      } finally {
        gate.release();
        await database.remove();
      }
    },
  );

  test(
    "where tokens are asked for, one that is refused says why, a good one opens the chat and stays in its tab",
    TIMEOUT,
    async (context) => {
      const locked = await startTestServer({ env: { AUTH: "keys" }, model: server.model });
      const { token } = await makeKey(locked.context.database, { user: "alice@example.com" });
      const page = await openPage(context);
      await page.goto(locked.url);
      await page.getByLabel("Token").fill("nonsense");
      await page.getByRole("button", { name: "Continue" }).click();
      await page.getByText("UNAUTHENTICATED").waitFor();
      await page.getByLabel("Token").fill(`Bearer ${token}`);
      await page.getByRole("button", { name: "Continue" }).click();
      await page.getByRole("heading", { name: "What is on your mind?" }).waitFor();
      await say(page, "I love hiking.");
      await page.getByText("1 memory").waitFor();
      expect(await page.evaluate("JSON.stringify(localStorage) + location.href")).not.toContain(token);
      await page.close();
      await locked.close();
    },
  );

  test.for([
    ["light", "light", 1_400],
    ["dark", "dark", 1_400],
    ["on a phone", "light", 390],
  ] as const)("nobody is shut out: axe finds nothing serious, %s", TIMEOUT, async ([_name, colorScheme, width], context) => {
    const page = await openPage(context, { colorScheme, viewport: { width, height: 844 }, bypassCSP: true });
    await enter(page, "web-axe");
    await say(page, "I love hiking. [link](https://example.com)");
    await replies(page).first().waitFor();
    await page.getByRole("button", { name: "Why this reply" }).first().click();
    await page.getByLabel("Why this reply").first().waitFor();
    if (width < 1_000) {
      await page.getByRole("button", { name: "Memories" }).click();
    }
    await memories(page).first().waitFor();
    await page.addScriptTag({ path: AXE });
    const found = (await page.evaluate("axe.run()")) as { violations: { id: string; impact: string; nodes: { html: string }[] }[] };
    const serious = found.violations.filter(({ impact }) => impact === "serious" || impact === "critical");
    expect(serious.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)])).toEqual([]);
  });
});
