import { useId } from "react";
import { Icon } from "../shell/icon.tsx";
import { ProblemView } from "../shell/problem-view.tsx";
import { SessionEntry } from "./session-entry.tsx";
import type { Sessions } from "./use-sessions.ts";

interface SessionListProps {
  sessions: Sessions;
  current: string | null;
  /** Null opens a new one. */
  onOpen: (sessionId: string | null) => void;
}

export function SessionList({ sessions, current, onOpen }: SessionListProps) {
  const heading = useId();
  const { list, total, problem, search, setSearch, refresh } = sessions;
  return (
    <section className="session-list" aria-labelledby={heading}>
      <button type="button" className="new" onClick={() => onOpen(null)}>
        <Icon name="plus" /> New conversation
      </button>
      <h2 id={heading} className="visually-hidden">
        Conversations
      </h2>
      {(total > 5 || search !== "") && (
        <input
          type="search"
          aria-label="Find a conversation"
          placeholder="Find a conversation"
          value={search}
          onChange={(event) => setSearch(event.target.value)}
        />
      )}
      {problem && problem.code !== "UNREACHABLE" && <ProblemView problem={problem} />}
      <ul className="scroll">
        {list.map((session) => (
          <SessionEntry key={session.id} session={session} current={session.sessionId === current} onOpen={onOpen} onChange={refresh} />
        ))}
      </ul>
      {search !== "" && list.length === 0 && <p className="muted">Nothing fits.</p>}
      {total > list.length && (
        <p className="muted">
          The {list.length} used last, of {total}.
        </p>
      )}
    </section>
  );
}
