import { useId, useState } from "react";
import type { ChangePartsFragment } from "../generated/graphql.ts";
import { IconButton } from "../shell/icon-button.tsx";
import { ProblemView } from "../shell/problem-view.tsx";
import { ChangeFeed } from "./change-feed.tsx";
import { MemoryCard } from "./memory-card.tsx";
import { MemoryForm } from "./memory-form.tsx";
import { ShelfTabs } from "./shelf-tabs.tsx";
import { TopicFilter } from "./topic-filter.tsx";
import { type MemoryView, useMemories } from "./use-memories.ts";

const EMPTY: Record<MemoryView["shelf"], string> = {
  current: "Nothing is remembered yet. Say something about yourself, or write it down with +.",
  review: "Nothing waits for you. What reads like an order to the agent is set aside here.",
  past: "Nothing was replaced or deleted.",
};

/** What is remembered, and what has just happened to it. */
export function MemoryPanel({ news }: { news: ChangePartsFragment[] }) {
  const heading = useId();
  const [view, setView] = useState<MemoryView>({ shelf: "current", topic: null, text: "" });
  const [writing, setWriting] = useState(false);
  const { list, total, topics, toReview, loading, problem } = useMemories(view, news[0]?.sequence ?? 0);
  const filtered = view.topic !== null || view.text !== "";
  return (
    <section className="memories" aria-labelledby={heading}>
      <header className="panel-head">
        <h2 id={heading}>Memories</h2>
        <IconButton icon="plus" label="Write a memory down" aria-expanded={writing} onClick={() => setWriting(!writing)} />
      </header>
      {writing && <MemoryForm onDone={() => setWriting(false)} />}
      <ShelfTabs shelf={view.shelf} toReview={toReview} onShelf={(shelf) => setView({ ...view, shelf })} />
      <input
        type="search"
        aria-label="Find a memory"
        placeholder="Find a memory"
        value={view.text}
        onChange={(event) => setView({ ...view, text: event.target.value })}
      />
      <TopicFilter topics={topics} chosen={view.topic} onChoose={(topic) => setView({ ...view, topic })} />
      <div className="scroll">
        <ChangeFeed changes={news} />
        {problem && problem.code !== "UNREACHABLE" && <ProblemView problem={problem} />}
        {!loading && !problem && list.length === 0 && <p className="muted empty">{filtered ? "Nothing fits." : EMPTY[view.shelf]}</p>}
        <ul className="cards">
          {list.map((memory) => (
            <MemoryCard key={memory.id} memory={memory} onTopic={(topic) => setView({ ...view, topic })} />
          ))}
        </ul>
        {total > list.length && (
          <p className="muted">
            The newest {list.length} of {total}. Search to find others.
          </p>
        )}
      </div>
    </section>
  );
}
