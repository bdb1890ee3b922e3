import { useCallback, useMemo, useState } from "react";
import { useQuery } from "urql";
import { useApi } from "../api/api-context.ts";
import { type Problem, problemOf } from "../api/problem.ts";
import { SessionsDocument, type SessionsQuery } from "../generated/graphql.ts";

export type SessionItem = SessionsQuery["sessions"]["edges"][number]["node"];

export interface Sessions {
  list: SessionItem[];
  total: number;
  problem: Problem | null;
  search: string;
  setSearch: (text: string) => void;
  /** Reads the list again; always the same function. */
  refresh: () => void;
}

/** A list that is empty names no type by which the cache would know it. */
const CONTEXT = { additionalTypenames: ["Session"] };
const MOST = 100;

/** The user's conversations, the one used last first. */
export function useSessions(): Sessions {
  const { userId } = useApi().identity;
  const [search, setSearch] = useState("");
  const variables = useMemo(() => ({ userId, first: MOST, filter: search.trim() ? { text: search.trim() } : null }), [userId, search]);
  const [{ data, error }, execute] = useQuery({ query: SessionsDocument, variables, context: CONTEXT });
  const refresh = useCallback(() => execute({ requestPolicy: "network-only" }), [execute]);
  return {
    list: data?.sessions.edges.map(({ node }) => node) ?? [],
    total: data?.sessions.totalCount ?? 0,
    problem: error ? problemOf(error) : null,
    search,
    setSearch,
    refresh,
  };
}
