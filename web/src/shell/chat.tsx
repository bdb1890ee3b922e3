import { useCallback, useState } from "react";
import { useApi } from "../api/api-context.ts";
import { ConversationView } from "../conversation/conversation-view.tsx";
import { newKey } from "../conversation/outbox.ts";
import { MemoryPanel } from "../memories/memory-panel.tsx";
import { useMemoryNews } from "../memories/use-memory-news.ts";
import { ServerStatusDialog } from "../server/server-status.tsx";
import { useServerStatus } from "../server/use-server-status.ts";
import { SessionList } from "../sessions/session-list.tsx";
import { useSessions } from "../sessions/use-sessions.ts";
import { ConnectionNotice } from "./connection-notice.tsx";
import { Icon } from "./icon.tsx";
import { IconButton } from "./icon-button.tsx";
import { Panel } from "./panel.tsx";
import { goTo, useRoute } from "./route.ts";
import { ThemeSwitch } from "./theme-switch.tsx";
import { useMedia } from "./use-media.ts";
import { Wordmark } from "./wordmark.tsx";

const ROOM_FOR_SESSIONS = "(min-width: 48rem)";
const ROOM_FOR_MEMORIES = "(min-width: 72rem)";

type Sheet = "sessions" | "memories" | "status" | null;

/** Conversations on the left, the one that is open in the middle, what is remembered on the right. */
export function Chat({ onLeave }: { onLeave: () => void }) {
  const { identity } = useApi();
  const route = useRoute();
  const sessions = useSessions();
  const news = useMemoryNews();
  const status = useServerStatus();
  const [sheet, setSheet] = useState<Sheet>(null);
  // A new conversation has its name before the server knows of it.
  const [draft, setDraft] = useState(newKey);
  const sessionId = route ?? draft;
  const session = sessions.list.find((item) => item.sessionId === sessionId);
  const close = useCallback(() => setSheet(null), []);
  const open = (next: string | null): void => {
    close();
    setDraft(newKey());
    goTo(next);
  };
  const openStatus = useCallback(() => setSheet("status"), []);
  const onChange = sessions.refresh;

  return (
    <div className="chat">
      {/* Not a link: the address says which conversation is open. */}
      <button type="button" className="skip" onClick={skipToMessage}>
        Skip to the message
      </button>
      <Panel label="Conversations" side="left" beside={useMedia(ROOM_FOR_SESSIONS)} open={sheet === "sessions"} onClose={close}>
        <header className="panel-head">
          <Wordmark />
        </header>
        <SessionList sessions={sessions} current={route} onOpen={open} />
        <footer className="panel-foot">
          <button type="button" className="quiet" onClick={openStatus}>
            <Icon name="status" /> Server status
            {status.worst && <span className={`dot dot-${status.worst.toLowerCase()}`}>{status.problems.length}</span>}
          </button>
          <a className="quiet" href="/graphql">
            <Icon name="code" /> GraphQL playground
          </a>
          <ThemeSwitch />
          <button type="button" className="quiet" onClick={onLeave} title="Switch user">
            <Icon name="person" /> <span className="ellipsis">{identity.userId ?? "Your token"}</span> <span className="muted">Switch</span>
          </button>
        </footer>
      </Panel>
      <div className="middle">
        <header className="bar">
          <IconButton className="only-narrow" icon="menu" label="Conversations" onClick={() => setSheet("sessions")} />
          <h1 className="ellipsis">{session?.name ?? (session ? titleOf(session) : "New conversation")}</h1>
          <IconButton className="only-medium" icon="memory" label="Memories" onClick={() => setSheet("memories")} />
        </header>
        <ConnectionNotice />
        <ConversationView key={sessionId} sessionId={sessionId} known={route !== null} onChange={onChange} onStatus={openStatus} />
      </div>
      <Panel label="Memories" side="right" beside={useMedia(ROOM_FOR_MEMORIES)} open={sheet === "memories"} onClose={close}>
        <MemoryPanel news={news} />
      </Panel>
      {sheet === "status" && <ServerStatusDialog status={status} onClose={close} />}
    </div>
  );
}

/** What a conversation without a title is called. */
function titleOf({ summary }: { summary?: { summary: string } | null }): string {
  return summary?.summary ?? "Conversation";
}

function skipToMessage(): void {
  document.getElementById("message")?.focus();
}
