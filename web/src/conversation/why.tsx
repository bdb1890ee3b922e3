import { useQuery } from "urql";
import { useApi } from "../api/api-context.ts";
import { problemOf } from "../api/problem.ts";
import { type RecallMiss, WhyDocument, type WhyQuery } from "../generated/graphql.ts";
import { ChangeEntry } from "../memories/change-entry.tsx";
import { ProblemView } from "../shell/problem-view.tsx";

type WhyRun = NonNullable<WhyQuery["run"]>;
type Rank = NonNullable<WhyRun["recall"]>["used"][number]["ranks"][number];

const ARMS: Record<string, string> = { VECTOR: "meaning", TEXT: "words", NAME: "names", TOPIC: "topic", DATE: "date" };
const MISSES: Record<RecallMiss, string> = {
  TOO_WEAK: "did not fit well enough",
  NO_ROOM: "there was no room left",
  DUPLICATE: "another one says the same",
};

/** What the reply rests on: the memories the agent was given, and those it nearly was. */
export function Why({ runId }: { runId: string }) {
  const { userId } = useApi().identity;
  const [{ data, error }] = useQuery({ query: WhyDocument, variables: { userId, runId } });
  return (
    <section className="why" aria-label="Why this reply">
      {error ? (
        <ProblemView problem={problemOf(error)} />
      ) : data?.run ? (
        <Reasons run={data.run} />
      ) : (
        <p className="muted">Looking it up…</p>
      )}
    </section>
  );
}

function Reasons({ run: { recall, usage, model, createdAt, finishedAt, memoryUpdate } }: { run: WhyRun }) {
  const seconds = finishedAt ? (new Date(finishedAt).getTime() - new Date(createdAt).getTime()) / 1_000 : null;
  return (
    <>
      {!recall && <p>Nothing was looked up about you for this reply.</p>}
      {recall && recall.used.length === 0 && <p>No memory was used.</p>}
      {recall && recall.used.length > 0 && (
        <>
          <h3>{recall.complete ? "It was given everything that is remembered" : "It was given these memories"}</h3>
          <ol>
            {recall.used.map(({ text, ranks }) => (
              <li key={text}>
                {text} <Ranks ranks={ranks} />
              </li>
            ))}
          </ol>
        </>
      )}
      {recall && recall.nearMisses.length > 0 && (
        <>
          <h3>Nearly, but not given</h3>
          <ul>
            {recall.nearMisses.map(({ text, ranks, missedBecause }) => (
              <li key={text}>
                {text} {missedBecause && <span className="muted">· {MISSES[missedBecause] ?? missedBecause}</span>} <Ranks ranks={ranks} />
              </li>
            ))}
          </ul>
        </>
      )}
      {memoryUpdate.changes.length > 0 && (
        <>
          <h3>Remembered from the message</h3>
          <ul className="changes">
            {memoryUpdate.changes.map((change) => (
              <ChangeEntry key={change.id} change={change} />
            ))}
          </ul>
        </>
      )}
      <p className="muted figures">
        {model ?? "no model"}
        {seconds !== null && ` · ${seconds.toFixed(1)} s`}
        {usage && ` · ${usage.estimated ? "about " : ""}${usage.inputTokens} tokens read, ${usage.outputTokens} written`}
        {recall && recall.arms.length > 0 && ` · searched by ${recall.arms.map((arm) => ARMS[arm] ?? arm).join(", ")}`}
      </p>
    </>
  );
}

function Ranks({ ranks }: { ranks: Rank[] }) {
  return ranks.map(({ arm, rank }) => (
    <span key={arm} className="rank" title={`Place ${rank} by ${ARMS[arm] ?? arm}`}>
      {ARMS[arm] ?? arm} {rank}
    </span>
  ));
}
