import { type FormEvent, useId, useState } from "react";
import { useApi } from "../api/api-context.ts";
import type { Problem } from "../api/problem.ts";
import { newKey } from "../conversation/outbox.ts";
import { AddMemoryDocument, type MemoryPartsFragment, UpdateMemoryDocument } from "../generated/graphql.ts";
import { ProblemView } from "../shell/problem-view.tsx";

interface MemoryFormProps {
  /** To be changed; left out, a new one is written. */
  memory?: MemoryPartsFragment;
  onDone: () => void;
}

export function MemoryForm({ memory, onDone }: MemoryFormProps) {
  const { ask, identity } = useApi();
  const [text, setText] = useState(memory?.memory ?? "");
  const [topics, setTopics] = useState(memory?.topics.join(", ") ?? "");
  const [problem, setProblem] = useState<Problem | null>(null);
  const [key] = useState(newKey);
  const textField = useId();
  const topicsField = useId();
  const submit = async (event: FormEvent): Promise<void> => {
    event.preventDefault();
    const fields = { userId: identity.userId, memory: text.trim(), topics: topicsIn(topics) };
    const answer = memory
      ? await ask(UpdateMemoryDocument, { input: { ...fields, memoryId: memory.memoryId, expectedVersion: memory.version } })
      : await ask(AddMemoryDocument, { input: { ...fields, idempotencyKey: key } });
    setProblem(answer.problem);
    if (!answer.problem) {
      onDone();
    }
  };
  return (
    <form className="memory-form" onSubmit={(event) => void submit(event)}>
      <label htmlFor={textField}>Memory</label>
      <textarea
        id={textField}
        rows={2}
        required
        placeholder="User prefers dark mode"
        // biome-ignore lint/a11y/noAutofocus: it opens where a button was pressed.
        autoFocus
        value={text}
        onChange={(event) => setText(event.target.value)}
      />
      <label htmlFor={topicsField}>Topics, with commas between</label>
      <input id={topicsField} placeholder="preferences, ui" value={topics} onChange={(event) => setTopics(event.target.value)} />
      {problem && <ProblemView problem={problem} />}
      <div className="actions">
        <button type="submit" className="primary">
          {memory ? "Save" : "Remember"}
        </button>
        <button type="button" onClick={onDone}>
          Cancel
        </button>
      </div>
    </form>
  );
}

function topicsIn(text: string): string[] {
  return text
    .split(",")
    .map((topic) => topic.trim())
    .filter((topic) => topic !== "");
}
