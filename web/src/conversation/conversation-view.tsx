import { useCallback, useEffect, useState } from "react";
import { useApi } from "../api/api-context.ts";
import { follow } from "../api/follow.ts";
import { SessionNewsDocument } from "../generated/graphql.ts";
import { ProblemView } from "../shell/problem-view.tsx";
import { goTo } from "../shell/route.ts";
import { Announcer } from "./announcer.tsx";
import { Composer } from "./composer.tsx";
import { JumpToEnd } from "./jump-to-end.tsx";
import { isOpen } from "./turn.ts";
import { TurnView } from "./turn-view.tsx";
import { useConversation } from "./use-conversation.ts";
import { useStickToEnd } from "./use-stick-to-end.ts";
import { Welcome } from "./welcome.tsx";

interface ConversationViewProps {
  sessionId: string;
  /** False for a new one, of which the server does not know yet. */
  known: boolean;
  /** Something of it changed that lists of conversations show. */
  onChange: () => void;
  onStatus: () => void;
}

export function ConversationView({ sessionId, known, onChange, onStatus }: ConversationViewProps) {
  const api = useApi();
  const [{ turns, loaded, hasOlder, problem }, conversation] = useConversation(api, sessionId, onChange);
  const [text, setText] = useState("");
  const open = turns.filter(isOpen);
  const end = useStickToEnd(turns);
  const begun = turns.some(({ runId }) => runId !== null);
  useSessionNews(sessionId, begun, onChange);

  const stop = useCallback(() => void conversation.stop(), [conversation]);
  useEscape(stop, open.length > 0);
  const send = (message: string): void => {
    conversation.send(message);
    setText("");
    end.stick();
    if (!known) {
      goTo(sessionId);
    }
  };

  return (
    <main className="conversation">
      <div className="turns-scroll" ref={end.scroller}>
        <div className="turns">
          {hasOlder && (
            <button type="button" className="older" onClick={() => void conversation.loadOlder()}>
              Show earlier messages
            </button>
          )}
          {problem && <ProblemView problem={problem} />}
          {loaded && turns.length === 0 && <Welcome onPick={send} />}
          {turns.map((turn) => (
            <TurnView
              key={turn.key}
              turn={turn}
              onSay={send}
              onSendAgain={() => conversation.sendAgain(turn)}
              onDiscard={() => {
                setText(turn.question);
                conversation.discard(turn);
              }}
              onLearnAgain={() => void conversation.learnAgain(turn)}
              onStatus={onStatus}
            />
          ))}
        </div>
      </div>
      <Announcer turn={turns.at(-1)} />
      {end.away && <JumpToEnd onJump={end.stick} />}
      <Composer text={text} onText={setText} onSend={send} onStop={stop} answering={open.length > 0} />
    </main>
  );
}

/** Titles and summaries are written behind our back. */
function useSessionNews(sessionId: string, begun: boolean, onChange: () => void): void {
  const api = useApi();
  useEffect(() => {
    const controller = new AbortController();
    if (begun) {
      const variables = () => ({ userId: api.identity.userId, sessionId });
      follow(api, { document: SessionNewsDocument, variables, onEvent: onChange }, controller.signal);
    }
    return () => controller.abort();
  }, [api, sessionId, begun, onChange]);
}

/** Escape stops what is being written, unless it closes something above the page. */
function useEscape(stop: () => void, active: boolean): void {
  useEffect(() => {
    const onKey = (event: KeyboardEvent): void => {
      if (event.key === "Escape" && !event.defaultPrevented && !document.querySelector("dialog[open]")) {
        stop();
      }
    };
    if (active) {
      addEventListener("keydown", onKey);
    }
    return () => removeEventListener("keydown", onKey);
  }, [stop, active]);
}
