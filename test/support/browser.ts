/** A Chromium of this machine's own, for tests of pages. */

import { existsSync } from "node:fs";
import { type Browser, chromium, type Page } from "playwright-core";
import type { TestContext } from "vitest";

const executable = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(
  (file) => file !== undefined && existsSync(file),
);

/** Skips the test where there is no Chromium, unless one was to be expected. */
export async function launchBrowser(context: TestContext): Promise<Browser> {
  if (executable === undefined) {
    const reason = "There is no Chromium here. Install it with: apt-get install -y chromium, or name one in CHROMIUM.";
    if (process.env.CI || process.env.CHROMIUM) {
      throw new Error(reason);
    }
    process.stdout.write(`Not tested in a browser: ${context.task.name}. ${reason}\n`);
    return context.skip(reason);
  }
  return chromium.launch({
    executablePath: executable,
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
}

/** Everything the page asked for, and everything that went wrong in it. */
export function watchPage(page: Page): { addresses: string[]; faults: string[] } {
  const seen = { addresses: [] as string[], faults: [] as string[] };
  page.on("request", (request) => seen.addresses.push(request.url()));
  page.on("websocket", (socket) => seen.addresses.push(socket.url()));
  page.on("pageerror", (error) => seen.faults.push(error.message));
  page.on("console", (message) => message.type() === "error" && seen.faults.push(message.text()));
  return seen;
}
