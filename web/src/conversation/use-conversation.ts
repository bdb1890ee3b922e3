import { useEffect, useMemo, useSyncExternalStore } from "react";
import type { Api } from "../api/api.ts";
import { Conversation, type ConversationState } from "./conversation.ts";

/** The conversation of that name, from when it is shown until another one is. `onChange` must stay the same function. */
export function useConversation(api: Api, sessionId: string, onChange: () => void): [ConversationState, Conversation] {
  const conversation = useMemo(() => new Conversation(api, sessionId, onChange), [api, sessionId, onChange]);
  useEffect(() => {
    conversation.start();
    return () => conversation.close();
  }, [conversation]);
  return [useSyncExternalStore(conversation.subscribe, conversation.state), conversation];
}
