import { useCallback, useEffect, useMemo, useState } from "react";
import { Provider } from "urql";
import { type Api, createApi } from "../api/api.ts";
import { ApiProvider } from "../api/api-context.ts";
import { type Identity, keepIdentity, readIdentity } from "../api/identity.ts";
import type { Problem } from "../api/problem.ts";
import { clearUnsent } from "../conversation/outbox.ts";
import { Chat } from "./chat.tsx";
import { goTo } from "./route.ts";
import { SignIn } from "./sign-in.tsx";

/** Asks who it is, then shows the chat. Whoever comes next gets a page that knows nothing of the one before. */
export function App() {
  const [identity, setIdentity] = useState(readIdentity);
  const [refusal, setRefusal] = useState<Problem | null>(null);
  const enter = useCallback((next: Identity) => {
    keepIdentity(next);
    setRefusal(null);
    setIdentity(next);
  }, []);
  const leave = useCallback(() => {
    keepIdentity(null);
    clearUnsent();
    goTo(null);
    setIdentity(null);
  }, []);
  const refuse = useCallback((problem: Problem) => {
    keepIdentity(null);
    setRefusal(problem);
    setIdentity(null);
  }, []);
  return identity ? (
    <Inside key={`${identity.userId} ${identity.token}`} identity={identity} onLeave={leave} onRefused={refuse} />
  ) : (
    <SignIn refusal={refusal} onEnter={enter} />
  );
}

interface InsideProps {
  identity: Identity;
  onLeave: () => void;
  onRefused: (problem: Problem) => void;
}

function Inside({ identity, onLeave, onRefused }: InsideProps) {
  const api = useLasting(useMemo(() => () => createApi(identity, onRefused), [identity, onRefused]));
  return (
    api && (
      <ApiProvider value={api}>
        <Provider value={api.client}>
          <Chat onLeave={onLeave} />
        </Provider>
      </ApiProvider>
    )
  );
}

/** Makes it when it is shown and disposes of it afterwards. */
function useLasting(make: () => Api): Api | null {
  const [api, setApi] = useState<Api | null>(null);
  useEffect(() => {
    const made = make();
    setApi(made);
    return () => made.dispose();
  }, [make]);
  return api;
}
