import { useEffect, useRef, useState } from "react";
import { plainText } from "../markdown/plain-text.ts";
import { isOpen, type Turn } from "./turn.ts";

/** Shorter pieces of an unfinished reply wait for more. */
const ENOUGH = 120;

/**
 * Reads the newest reply to screen readers while it is written: whole sentences, each once. Read word by word it could not be
 * understood; read at the end only, they would wait the longest.
 */
export function Announcer({ turn }: { turn: Turn | undefined }) {
  const [words, setWords] = useState("");
  const said = useRef<{ key: string; length: number } | null>(null);
  useEffect(() => {
    if (!turn) {
      return;
    }
    const open = isOpen(turn);
    if (said.current?.key !== turn.key) {
      // What was there when the page was opened is read like the rest of it.
      said.current = { key: turn.key, length: open ? 0 : turn.reply.length };
      setWords(open ? "Answering." : "");
    }
    const rest = turn.reply.slice(said.current.length);
    const end = open ? sentencesEnd(rest) : rest.length;
    if (end > 0) {
      said.current.length += end;
      setWords(plainText(rest.slice(0, end)));
    } else if (turn.status === "CANCELLED") {
      setWords("Stopped.");
    }
  }, [turn]);
  return (
    <div className="visually-hidden" aria-live="polite" aria-atomic="true">
      {words}
    </div>
  );
}

/** Where the last whole sentence ends; 0 while there is too little. */
function sentencesEnd(text: string): number {
  const end = Math.max(text.lastIndexOf("\n\n"), text.lastIndexOf(". ") + 1, text.lastIndexOf("! ") + 1, text.lastIndexOf("? ") + 1);
  return end >= ENOUGH ? end : 0;
}
