import { useCallback } from "react";
import { useQuery } from "urql";
import { StatusDocument, type StatusQuery } from "../generated/graphql.ts";

export type ServerStatus = StatusQuery["serverStatus"];

export interface StatusView {
  /** Null until it is known. */
  status: ServerStatus | null;
  problems: ServerStatus["problems"];
  /** How bad the worst problem is; null when all is well. */
  worst: "ERROR" | "WARNING" | null;
  asking: boolean;
  refresh: () => void;
}

export function useServerStatus(): StatusView {
  const [{ data, fetching, stale }, execute] = useQuery({ query: StatusDocument });
  const refresh = useCallback(() => execute({ requestPolicy: "network-only" }), [execute]);
  const problems = data?.serverStatus.problems ?? [];
  return { status: data?.serverStatus ?? null, problems, worst: problems[0]?.severity ?? null, asking: fetching || stale, refresh };
}
