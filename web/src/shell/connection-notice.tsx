import { useEffect, useState, useSyncExternalStore } from "react";
import { useApi } from "../api/api-context.ts";

/** A connection that comes back at once is not worth a word. */
const GRACE = 700;

/** Says when the connection is lost; nothing else is, so there is nothing to do. */
export function ConnectionNotice() {
  const { connection } = useApi();
  const state = useSyncExternalStore(connection.subscribe, connection.state);
  const [lost, setLost] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => setLost(state === "lost"), state === "lost" ? GRACE : 0);
    return () => clearTimeout(timer);
  }, [state]);
  return (
    <div role="status" className="connection">
      {lost && <p>The connection to the server is lost. This page goes on where it was as soon as the server answers.</p>}
    </div>
  );
}
