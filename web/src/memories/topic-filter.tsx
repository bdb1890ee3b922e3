import { useState } from "react";

const FEW = 8;

interface TopicFilterProps {
  topics: { topic: string; count: number }[];
  chosen: string | null;
  onChoose: (topic: string | null) => void;
}

export function TopicFilter({ topics, chosen, onChoose }: TopicFilterProps) {
  const [all, setAll] = useState(false);
  const shown = all ? topics : topics.slice(0, FEW);
  const hidden = chosen !== null && !shown.some(({ topic }) => topic === chosen) ? [{ topic: chosen, count: 0 }] : [];
  if (topics.length === 0 && chosen === null) {
    return null;
  }
  return (
    <fieldset className="topics">
      <legend className="visually-hidden">Only one topic</legend>
      {[...hidden, ...shown].map(({ topic, count }) => (
        <button
          key={topic}
          type="button"
          className="chip"
          aria-pressed={topic === chosen}
          onClick={() => onChoose(topic === chosen ? null : topic)}
        >
          {topic} {count > 0 && <span className="count">{count}</span>}
        </button>
      ))}
      {topics.length > FEW && (
        <button type="button" className="link" onClick={() => setAll(!all)}>
          {all ? "Fewer" : `${topics.length - FEW} more`}
        </button>
      )}
    </fieldset>
  );
}
