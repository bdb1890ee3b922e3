import { useEffect, useState } from "react";
import { useApi } from "../api/api-context.ts";
import { follow } from "../api/follow.ts";
import { patience } from "../api/patience.ts";
import { type ChangePartsFragment, MemoryNewsDocument, MemorySequenceDocument } from "../generated/graphql.ts";

/** As many changes are shown. */
const MOST = 20;

/** What has happened to the user's memories since the page was opened, latest first; from any conversation, program or page. */
export function useMemoryNews(): ChangePartsFragment[] {
  const api = useApi();
  const [changes, setChanges] = useState<ChangePartsFragment[]>([]);
  useEffect(() => {
    const controller = new AbortController();
    const { signal } = controller;
    const { userId } = api.identity;
    void firstSequence(api, signal).then((first) => {
      if (first === null) {
        return;
      }
      let after = first;
      const onEvent = ({ memoryEvents: change }: { memoryEvents: ChangePartsFragment }): void => {
        after = Math.max(after, change.sequence);
        setChanges((known) => [change, ...known.filter(({ id }) => id !== change.id)].slice(0, MOST));
      };
      follow(api, { document: MemoryNewsDocument, variables: () => ({ userId, after }), onEvent }, signal);
    });
    return () => controller.abort();
  }, [api]);
  return changes;
}

/** Where to begin; null when it was given up. */
async function firstSequence({ ask, identity }: ReturnType<typeof useApi>, signal: AbortSignal): Promise<number | null> {
  const wait = patience();
  while (!signal.aborted) {
    const { data, problem } = await ask(MemorySequenceDocument, { userId: identity.userId });
    if (signal.aborted) {
      return null;
    }
    if (data) {
      return data.memories.sequence;
    }
    if (!problem.retryable) {
      return null;
    }
    await wait.next(signal);
  }
  return null;
}
