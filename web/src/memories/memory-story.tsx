import { useQuery } from "urql";
import { useApi } from "../api/api-context.ts";
import { MemoryStoryDocument } from "../generated/graphql.ts";
import { timeAgo } from "../shell/time.ts";
import { ChangeEntry } from "./change-entry.tsx";

/** Why a memory is believed, and what happened to it. */
export function MemoryStory({ memoryId }: { memoryId: string }) {
  const { userId } = useApi().identity;
  const [{ data, fetching }] = useQuery({ query: MemoryStoryDocument, variables: { userId, memoryId } });
  const memory = data?.memory;
  if (!memory) {
    return <p className="muted">{fetching ? "Looking it up…" : "It is gone."}</p>;
  }
  return (
    <div className="story">
      {memory.evidence.length > 0 && (
        <>
          <h4>You said</h4>
          <ul>
            {memory.evidence.map(({ quote, saidAt }) => (
              <li key={`${saidAt} ${quote}`}>
                <q>{quote}</q> <span className="muted">{timeAgo(saidAt)}</span>
              </li>
            ))}
          </ul>
        </>
      )}
      <h4>What happened</h4>
      <ul className="changes">
        {memory.history.map((change) => (
          <ChangeEntry key={change.id} change={change} />
        ))}
      </ul>
    </div>
  );
}
