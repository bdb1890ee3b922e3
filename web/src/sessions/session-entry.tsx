import { type FormEvent, useState } from "react";
import { useApi } from "../api/api-context.ts";
import type { Problem } from "../api/problem.ts";
import { DeleteSessionDocument, RenameDocument } from "../generated/graphql.ts";
import { IconButton } from "../shell/icon-button.tsx";
import { ProblemView } from "../shell/problem-view.tsx";
import { timeAgo } from "../shell/time.ts";
import type { SessionItem } from "./use-sessions.ts";

interface SessionEntryProps {
  session: SessionItem;
  current: boolean;
  onOpen: (sessionId: string | null) => void;
  onChange: () => void;
}

export function SessionEntry({ session, current, onOpen, onChange }: SessionEntryProps) {
  const { ask, identity } = useApi();
  const [doing, setDoing] = useState<"rename" | "delete" | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const { sessionId, name, summary, updatedAt } = session;
  const title = name ?? summary?.summary ?? "Conversation";
  const settle = (failure: Problem | null): void => {
    setProblem(failure);
    setDoing(null);
    onChange();
  };
  const rename = async (text: string): Promise<void> => {
    const { problem } = await ask(RenameDocument, { input: { userId: identity.userId, sessionId, name: text.trim() || null } });
    settle(problem);
  };
  const remove = async (): Promise<void> => {
    const { problem } = await ask(DeleteSessionDocument, { input: { userId: identity.userId, sessionId } });
    settle(problem);
    if (!problem && current) {
      onOpen(null);
    }
  };
  if (doing === "rename") {
    return (
      <li className="session">
        <RenameForm name={name ?? ""} onDone={(text) => void rename(text)} onCancel={() => setDoing(null)} />
      </li>
    );
  }
  return (
    <li className={current ? "session current" : "session"}>
      <button type="button" className="session-open" aria-current={current ? "page" : undefined} onClick={() => onOpen(sessionId)}>
        <span className="session-name ellipsis">{title}</span>
        <span className="session-summary">{name !== null && summary ? summary.summary : timeAgo(updatedAt)}</span>
      </button>
      {doing === "delete" ? (
        <div className="confirm" role="alertdialog" aria-label={`Delete ${title}?`}>
          <p>Delete this conversation? Its memories stay.</p>
          <button type="button" className="danger" onClick={() => void remove()}>
            Delete
          </button>
          {/* biome-ignore lint/a11y/noAutofocus: the button that was pressed has gone. */}
          <button type="button" autoFocus onClick={() => setDoing(null)}>
            Keep
          </button>
        </div>
      ) : (
        <div className="session-actions">
          <IconButton icon="edit" label={`Rename ${title}`} onClick={() => setDoing("rename")} />
          <IconButton icon="remove" label={`Delete ${title}`} onClick={() => setDoing("delete")} />
        </div>
      )}
      {problem && <ProblemView problem={problem} />}
    </li>
  );
}

function RenameForm({ name, onDone, onCancel }: { name: string; onDone: (name: string) => void; onCancel: () => void }) {
  const [text, setText] = useState(name);
  const submit = (event: FormEvent): void => {
    event.preventDefault();
    onDone(text);
  };
  return (
    <form onSubmit={submit}>
      <input
        aria-label="Title"
        placeholder="Title"
        maxLength={200}
        // biome-ignore lint/a11y/noAutofocus: the button that was pressed has gone.
        autoFocus
        value={text}
        onChange={(event) => setText(event.target.value)}
        onKeyDown={(event) => event.key === "Escape" && onCancel()}
      />
      <IconButton type="submit" icon="check" label="Save" />
    </form>
  );
}
