/** What commands print: lines for people, JSON for programs. */

export function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

export function printJson(value: unknown): void {
  print(JSON.stringify(value, null, 2));
}

/** For what is not the answer: it does not get into a file that the answer is written to. */
export function note(line: string): void {
  process.stderr.write(`${line}\n`);
}

export function heading(text: string): void {
  print(`\n== ${text}`);
}

export function tags(topics: readonly string[]): string {
  return topics.length > 0 ? `[${topics.join(", ")}]` : "";
}

/** One line that counts up on a terminal, and says nothing elsewhere. */
export function progress(what: string, total: number): { step(): void; end(): void } {
  let done = 0;
  const show = (): void => {
    if (process.stderr.isTTY) {
      const filled = total === 0 ? 20 : Math.round((20 * done) / total);
      process.stderr.write(`\r${"█".repeat(filled)}${"░".repeat(20 - filled)} ${done} of ${total} ${what}`);
    }
  };
  show();
  return {
    step() {
      done++;
      show();
    },
    end() {
      if (process.stderr.isTTY) {
        process.stderr.write("\r\u001b[K");
      }
    },
  };
}
