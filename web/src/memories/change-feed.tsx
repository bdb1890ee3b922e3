import { useState } from "react";
import type { ChangePartsFragment } from "../generated/graphql.ts";
import { ChangeEntry } from "./change-entry.tsx";

const FEW = 4;

/** What has just happened, with the words that caused it. */
export function ChangeFeed({ changes }: { changes: ChangePartsFragment[] }) {
  const [seen, setSeen] = useState(0);
  const [all, setAll] = useState(false);
  const fresh = changes.filter(({ sequence }) => sequence > seen);
  const shown = all ? fresh : fresh.slice(0, FEW);
  return (
    <section className="feed" aria-label="Just now" hidden={fresh.length === 0}>
      <header>
        <h3>Just now</h3>
        <button type="button" className="link" onClick={() => setSeen(changes[0]?.sequence ?? 0)}>
          Clear
        </button>
      </header>
      <ul className="changes" aria-live="polite">
        {shown.map((change) => (
          <ChangeEntry key={change.id} change={change} />
        ))}
      </ul>
      {fresh.length > FEW && (
        <button type="button" className="link" onClick={() => setAll(!all)}>
          {all ? "Fewer" : `${fresh.length - FEW} more`}
        </button>
      )}
    </section>
  );
}
