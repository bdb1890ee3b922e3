import { memo, useState } from "react";
import type { Problem } from "../api/problem.ts";
import { Markdown } from "../markdown/markdown.tsx";
import { Icon } from "../shell/icon.tsx";
import { IconButton } from "../shell/icon-button.tsx";
import { ProblemView } from "../shell/problem-view.tsx";
import { Learned } from "./learned.tsx";
import { isOpen, type Turn } from "./turn.ts";
import { Why } from "./why.tsx";

interface TurnViewProps {
  turn: Turn;
  /** Says something in this conversation. */
  onSay: (message: string) => void;
  onSendAgain: () => void;
  onDiscard: () => void;
  onLearnAgain: () => void;
  onStatus: () => void;
}

/** A message and its reply. */
export const TurnView = memo(
  function TurnView({ turn, onSay, onSendAgain, onDiscard, onLearnAgain, onStatus }: TurnViewProps) {
    const [why, setWhy] = useState(false);
    const { runId, question, reply, status, problem, model } = turn;
    const answered = runId !== null && !isOpen(turn);
    return (
      <article className="turn">
        <h2 className="visually-hidden">You</h2>
        <p className="question">{question}</p>
        <Learned turn={turn} onLearnAgain={onLearnAgain} />
        <h2 className="visually-hidden">Reply</h2>
        {reply !== "" && <Markdown text={reply} />}
        <Progress turn={turn} />
        {problem && (
          <ProblemView problem={problem}>
            <Remedies turn={turn} problem={problem} onSay={onSay} onSendAgain={onSendAgain} onDiscard={onDiscard} onStatus={onStatus} />
          </ProblemView>
        )}
        {status === "CANCELLED" && <p className="muted stopped">Stopped.</p>}
        {answered && (
          <div className="turn-foot">
            <button type="button" className="quiet" aria-expanded={why} onClick={() => setWhy(!why)}>
              <Icon name="why" /> Why this reply
            </button>
            {reply !== "" && <CopyButton text={reply} />}
            {model !== null && <span className="model ellipsis">{model}</span>}
          </div>
        )}
        {why && runId !== null && <Why runId={runId} />}
      </article>
    );
  },
  // Its functions do the same at every drawing.
  (one, other) => one.turn === other.turn,
);

/** What is going on while there is no word yet. */
function Progress({ turn: { status, reply, reasoning } }: { turn: Turn }) {
  if (status === "QUEUED") {
    return <p className="progress">Waits for the reply before it.</p>;
  }
  if ((status !== "RUNNING" && status !== "SENDING") || reply !== "") {
    return null;
  }
  return (
    <div className="progress">
      <p>
        <span className="pulse" aria-hidden="true" />
        {status === "SENDING" ? "Sending" : reasoning ? "Thinking" : "Answering"}
      </p>
      {reasoning && <p className="reasoning">{reasoning.slice(-280)}</p>}
    </div>
  );
}

function Remedies({ turn, problem, onSay, onSendAgain, onDiscard, onStatus }: Omit<TurnViewProps, "onLearnAgain"> & { problem: Problem }) {
  const unsent = turn.runId === null;
  return (
    <>
      {unsent && turn.status === "UNSENT" && (
        <button type="button" onClick={onSendAgain}>
          Send again
        </button>
      )}
      {unsent && (
        <button type="button" onClick={onDiscard}>
          Edit
        </button>
      )}
      {!unsent && problem.retryable && (
        <button type="button" onClick={() => onSay(turn.question)}>
          Ask again
        </button>
      )}
      {problem.code.startsWith("MODEL_") && (
        <button type="button" onClick={onStatus}>
          Server status
        </button>
      )}
    </>
  );
}

function CopyButton({ text }: { text: string }) {
  const [done, setDone] = useState(false);
  const copy = async (): Promise<void> => {
    // Pages that were not loaded over TLS may have none.
    await navigator.clipboard?.writeText(text).then(
      () => setDone(true),
      () => undefined,
    );
  };
  return (
    <IconButton
      icon={done ? "check" : "copy"}
      label={done ? "Copied" : "Copy the reply"}
      onClick={() => void copy()}
      onBlur={() => setDone(false)}
    />
  );
}
