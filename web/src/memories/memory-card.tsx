import { useState } from "react";
import { useApi } from "../api/api-context.ts";
import type { Problem } from "../api/problem.ts";
import { DeleteMemoryDocument, type MemoryPartsFragment, UpdateMemoryDocument } from "../generated/graphql.ts";
import { IconButton } from "../shell/icon-button.tsx";
import { ProblemView } from "../shell/problem-view.tsx";
import { timeAgo } from "../shell/time.ts";
import { MemoryForm } from "./memory-form.tsx";
import { MemoryStory } from "./memory-story.tsx";

const ORIGINS: Record<string, string> = {
  EXTRACTED: "from a conversation",
  RULE: "found by a rule",
  MANUAL: "written by hand",
  IMPORTED: "imported",
};

interface MemoryCardProps {
  memory: MemoryPartsFragment;
  onTopic: (topic: string) => void;
}

export function MemoryCard({ memory, onTopic }: MemoryCardProps) {
  const { ask, identity } = useApi();
  const [editing, setEditing] = useState(false);
  const [told, setTold] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);
  const { memoryId, memory: text, topics, status, origin, pinned, version, evidenceCount, lastConfirmedAt, supersededBy } = memory;
  const which = { userId: identity.userId, memoryId, expectedVersion: version };
  const pin = async (): Promise<void> => setProblem((await ask(UpdateMemoryDocument, { input: { ...which, pinned: !pinned } })).problem);
  const remove = async (): Promise<void> => setProblem((await ask(DeleteMemoryDocument, { input: which })).problem);
  if (editing) {
    return (
      <li className="card">
        <MemoryForm memory={memory} onDone={() => setEditing(false)} />
      </li>
    );
  }
  return (
    <li className={pinned ? "card pinned" : "card"}>
      <p className="card-text">{status === "ACTIVE" ? text : <span className="muted">{text}</span>}</p>
      {supersededBy && <p className="muted">Replaced by: {supersededBy.memory}</p>}
      <p className="card-meta">
        {topics.map((topic) => (
          <button key={topic} type="button" className="chip" onClick={() => onTopic(topic)} title={`Only ${topic}`}>
            {topic}
          </button>
        ))}
      </p>
      <div className="card-foot">
        <button type="button" className="link" aria-expanded={told} onClick={() => setTold(!told)}>
          {evidenceCount > 1 ? `said ${evidenceCount} times` : (ORIGINS[origin] ?? origin.toLowerCase())}, {timeAgo(lastConfirmedAt)}
        </button>
        {status === "ACTIVE" && (
          <span className="card-actions">
            <IconButton
              icon="pin"
              label={pinned ? `Unpin: ${text}` : `Pin: ${text}`}
              title={pinned ? "Pinned: every reply is given it. Unpin" : "Pin: give it to every reply"}
              aria-pressed={pinned}
              onClick={() => void pin()}
            />
            <IconButton icon="edit" label={`Edit: ${text}`} title="Edit" onClick={() => setEditing(true)} />
            <IconButton icon="remove" label={`Delete: ${text}`} title="Delete" onClick={() => void remove()} />
          </span>
        )}
      </div>
      {told && <MemoryStory memoryId={memoryId} />}
      {problem && <ProblemView problem={problem} />}
    </li>
  );
}
