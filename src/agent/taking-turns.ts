/** Work that is called for from many sides and must not run beside itself. */

/** Calls of the result take turns: one while `work` is under way lets it run once more. Resolves when none is left to do; never rejects. */
export function takingTurns(work: () => Promise<void>, report: (error: unknown) => void): () => Promise<void> {
  let running: Promise<void> | null = null;
  let again = false;
  const run = async (): Promise<void> => {
    while (again) {
      again = false;
      await work().catch(report);
    }
    running = null;
  };
  return () => {
    again = true;
    running ??= run();
    return running;
  };
}
