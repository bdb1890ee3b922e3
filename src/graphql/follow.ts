/**
 * Gives a generator a signal that aborts as soon as its reader leaves. A generator that waits for its next value does
 * not hear `return()` until that value comes, which may be never; the signal reaches it at once.
 */
export function untilReturned<T>(start: (signal: AbortSignal) => AsyncGenerator<T, void>): AsyncIterableIterator<T, void> {
  const reader = new AbortController();
  const source = start(reader.signal);
  return {
    next: () => source.next(),
    async return() {
      reader.abort();
      // Not awaited: the reader has gone, and the generator ends in its own time now that its signal is aborted.
      source.return().catch(() => {});
      return { done: true, value: undefined };
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}

/** The same events; `left` is called when their reader leaves before the end. */
export function whenReturned<T>(events: AsyncIterableIterator<T, void>, left: () => void): AsyncIterableIterator<T, void> {
  return {
    next: () => events.next(),
    async return() {
      left();
      return events.return?.() ?? { done: true, value: undefined };
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}
