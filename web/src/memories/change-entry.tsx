import type { ChangePartsFragment } from "../generated/graphql.ts";

const WORDS: Record<string, string> = {
  ADDED: "Remembered",
  REINFORCED: "Confirmed",
  SUPERSEDED: "Replaced",
  UPDATED: "Changed",
  QUARANTINED: "Set aside for review",
  DELETED: "Deleted",
  FORGOTTEN: "Forgotten",
  EXPIRED: "Expired",
  RESTORED: "Restored",
};

/** One change of a memory, with the words of the user that caused it. */
export function ChangeEntry({ change: { kind, memory, before, after, quote } }: { change: ChangePartsFragment }) {
  const text = after?.memory ?? before?.memory ?? memory.memory;
  const gone = kind === "SUPERSEDED" || kind === "DELETED" || kind === "FORGOTTEN" || kind === "EXPIRED";
  return (
    <li className={`change change-${kind.toLowerCase()}`}>
      <p>
        <span className="change-kind">{WORDS[kind] ?? kind.toLowerCase()}</span> {gone ? <del>{text}</del> : text}
        {kind === "SUPERSEDED" && memory.supersededBy && <> → {memory.supersededBy.memory}</>}
      </p>
      {quote && <q>{quote}</q>}
    </li>
  );
}
