import { type FormEvent, useEffect, useId, useState } from "react";
import { createApi } from "../api/api.ts";
import type { Identity } from "../api/identity.ts";
import { patience } from "../api/patience.ts";
import type { Problem } from "../api/problem.ts";
import { DoorDocument, SelfDocument } from "../generated/graphql.ts";
import { ProblemView } from "./problem-view.tsx";
import { Wordmark } from "./wordmark.tsx";

/** What the server wants to know; "asking" until it has said so. */
type Wanted = "asking" | "name" | "token" | "name for the token";

const NOBODY: Identity = { userId: null, token: null };

interface SignInProps {
  /** Why the last token was not good. */
  refusal: Problem | null;
  onEnter: (identity: Identity) => void;
}

/** Says who you are: a name where the server asks for no tokens, else a token, and a name too when the token names nobody. */
export function SignIn({ refusal, onEnter }: SignInProps) {
  const [wanted, setWanted] = useState<Wanted>(refusal ? "token" : "asking");
  const [problem, setProblem] = useState(refusal);
  const [token, setToken] = useState("");
  const [name, setName] = useState("");
  const [busy, setBusy] = useState(false);
  const field = useId();

  useEffect(() => {
    const controller = new AbortController();
    if (wanted === "asking") {
      void findOut(controller.signal, setProblem).then((found) => {
        if (found && !controller.signal.aborted) {
          setProblem(null);
          setWanted(found);
        }
      });
    }
    return () => controller.abort();
  }, [wanted]);

  const submit = async (event: FormEvent): Promise<void> => {
    event.preventDefault();
    if (wanted !== "token") {
      return onEnter({ userId: name.trim(), token: wanted === "name" ? null : bare(token) });
    }
    setBusy(true);
    const refused = await tryToken(bare(token));
    setBusy(false);
    if (!refused) {
      onEnter({ userId: null, token: bare(token) });
    } else if (refused.code === "BAD_USER_INPUT") {
      setProblem(null);
      setWanted("name for the token");
    } else {
      setProblem(refused);
    }
  };

  return (
    <main className="sign-in">
      <form onSubmit={(event) => void submit(event)}>
        <Wordmark />
        <h1>Chat with an agent that remembers.</h1>
        {problem && <ProblemView problem={problem} />}
        {wanted === "asking" && !problem && <p className="muted">One moment…</p>}
        {wanted === "token" && (
          <>
            <label htmlFor={field}>Token</label>
            <input
              id={field}
              type="password"
              autoComplete="off"
              required
              value={token}
              onChange={(event) => setToken(event.target.value)}
            />
            <p className="muted">This server asks for one: a key, or a JSON Web Token. It stays in this tab.</p>
          </>
        )}
        {(wanted === "name" || wanted === "name for the token") && (
          <>
            <label htmlFor={field}>{wanted === "name" ? "Who are you?" : "For whom?"}</label>
            <input
              id={field}
              autoComplete="username"
              autoCapitalize="none"
              spellCheck={false}
              required
              pattern=".*\S.*"
              placeholder="alice@example.com"
              value={name}
              onChange={(event) => setName(event.target.value)}
            />
            <p className="muted">
              {wanted === "name"
                ? "Memories belong to exactly this name. There is no password: this server serves its own machine only."
                : "Your token may act for anybody, so it has to be told for whom."}
            </p>
          </>
        )}
        {wanted !== "asking" && (
          <button type="submit" className="primary" disabled={busy}>
            {busy ? "Trying…" : "Continue"}
          </button>
        )}
        <p className="muted">
          For programs: the <a href="/graphql">GraphQL playground</a>.
        </p>
      </form>
    </main>
  );
}

/** Asks until there is an answer; null when it was given up or the server cannot say. */
async function findOut(signal: AbortSignal, onProblem: (problem: Problem) => void): Promise<Wanted | null> {
  const wait = patience();
  while (!signal.aborted) {
    const problem = await tryIdentity(NOBODY, "door");
    if (!problem) {
      return "name";
    }
    if (problem.code === "UNAUTHENTICATED") {
      return "token";
    }
    onProblem(problem);
    await wait.next(signal);
  }
  return null;
}

function tryToken(token: string): Promise<Problem | null> {
  return tryIdentity({ userId: null, token }, "self");
}

async function tryIdentity(identity: Identity, what: "door" | "self"): Promise<Problem | null> {
  const api = createApi(identity);
  const { problem } = await (what === "door" ? api.ask(DoorDocument, {}) : api.ask(SelfDocument, {}));
  api.dispose();
  return problem;
}

function bare(token: string): string {
  return token.trim().replace(/^Bearer +/i, "");
}
