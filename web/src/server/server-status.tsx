import { useEffect } from "react";
import { Modal } from "../shell/modal.tsx";
import type { ServerStatus, StatusView } from "./use-server-status.ts";

const ROLES: Record<string, string> = { CHAT: "Replies", MEMORY: "Memories", SUMMARY: "Summaries", EMBEDDING: "Search by meaning" };

/** What the server lacks, each with the remedy, and what it has. */
export function ServerStatusDialog({
  status: { status, problems, asking, refresh },
  onClose,
}: {
  status: StatusView;
  onClose: () => void;
}) {
  useEffect(refresh, [refresh]);
  return (
    <Modal title="Server status" onClose={onClose}>
      <div role="status">
        {status && problems.length === 0 && <p className="all-well">All is well.</p>}
        {!status && <p className="muted">{asking ? "Asking the server…" : "The server does not answer."}</p>}
      </div>
      <ul className="problems">
        {problems.map(({ severity, message, fix }) => (
          <li key={message} className={`finding finding-${severity.toLowerCase()}`}>
            <p>
              <span className="visually-hidden">{severity === "ERROR" ? "Error: " : "Warning: "}</span>
              {message}
            </p>
            <p className="fix">{fix}</p>
          </li>
        ))}
      </ul>
      {status && <Details status={status} />}
      <div className="actions">
        <button type="button" onClick={refresh} disabled={asking}>
          {asking ? "Asking…" : "Ask again"}
        </button>
      </div>
    </Modal>
  );
}

function Details({ status: { models, database, queue, version } }: { status: ServerStatus }) {
  return (
    <dl className="details">
      {models.map(({ role, model, available }) => (
        <div key={role}>
          <dt>{ROLES[role] ?? role}</dt>
          <dd>
            {model ?? "none"}
            {model !== null && !available && <span className="muted"> · not available</span>}
          </dd>
        </div>
      ))}
      <div>
        <dt>Database</dt>
        <dd>
          {database.embedded ? "embedded" : "Postgres"} {database.version}
          {!database.available && " · does not answer"}
          {database.vectorSearch && " · with vectors"}
        </dd>
      </div>
      {queue && (
        <div>
          <dt>Background work</dt>
          <dd>
            {queue.waiting} waiting, {queue.running} running, {queue.failed} given up
          </dd>
        </div>
      )}
      <div>
        <dt>Version</dt>
        <dd>{version}</dd>
      </div>
    </dl>
  );
}
