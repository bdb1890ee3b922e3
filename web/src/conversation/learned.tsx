import { ChangeEntry } from "../memories/change-entry.tsx";
import type { Turn } from "./turn.ts";

/** What was remembered from a message, under it. Of a page that was opened later, the memory panel and "Why this reply" tell. */
export function Learned({ turn: { changes, learning, learningProblem, status }, onLearnAgain }: { turn: Turn; onLearnAgain: () => void }) {
  if (learningProblem) {
    return (
      <div className="learned">
        <p>
          Not remembered: {learningProblem.message}{" "}
          <button type="button" className="link" onClick={onLearnAgain}>
            Try again
          </button>
        </p>
      </div>
    );
  }
  if (changes && changes.length > 0) {
    const count = changes.length === 1 ? "1 memory" : `${changes.length} memories`;
    return (
      <details className="learned">
        <summary>{count}</summary>
        <ul className="changes">
          {changes.map((change) => (
            <ChangeEntry key={change.id} change={change} />
          ))}
        </ul>
      </details>
    );
  }
  return learning && status === "COMPLETED" ? <p className="learned muted">Remembering…</p> : null;
}
