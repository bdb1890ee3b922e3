/** How long to wait before each new try: longer each time, and not all pages at once. */

const FIRST = 500;
const LONGEST = 8_000;

export interface Patience {
  /** Resolves when it is time to try again: after a while, when the network comes back, or at once when aborted. */
  next(signal: AbortSignal): Promise<void>;
  /** Something worked. */
  reset(): void;
}

export function patience(): Patience {
  let tries = 0;
  return {
    next(signal) {
      const longest = Math.min(FIRST * 2 ** tries++, LONGEST);
      const time = longest / 2 + Math.random() * (longest / 2);
      return new Promise((resolve) => {
        const go = (): void => {
          clearTimeout(timer);
          removeEventListener("online", go);
          signal.removeEventListener("abort", go);
          resolve();
        };
        const timer = setTimeout(go, time);
        addEventListener("online", go);
        signal.addEventListener("abort", go);
      });
    },
    reset() {
      tries = 0;
    },
  };
}
