import { useEffect, useMemo, useState } from "react";
import { useQuery } from "urql";
import { useApi } from "../api/api-context.ts";
import { type Problem, problemOf } from "../api/problem.ts";
import { MemoriesDocument, type MemoryPartsFragment, type MemoryStatus, TopicsDocument, ToReviewDocument } from "../generated/graphql.ts";

/** Which memories are shown. */
export interface MemoryView {
  /** In use, set aside for review, or no longer used. */
  shelf: Shelf;
  topic: string | null;
  text: string;
}

export type Shelf = "current" | "review" | "past";

export interface Memories {
  list: MemoryPartsFragment[];
  total: number;
  topics: { topic: string; count: number }[];
  toReview: number;
  loading: boolean;
  problem: Problem | null;
}

const STATUSES: Record<Shelf, MemoryStatus[]> = { current: ["ACTIVE"], review: ["QUARANTINED"], past: ["SUPERSEDED", "RETIRED"] };
/** A list that is empty names no type by which the cache would know it. */
const CONTEXT = { additionalTypenames: ["Memory"] };
const MOST = 100;
/** Changes that come together are read together (ms); so is what is typed. */
const SETTLE = 120;

/** The memories of a view, read again after each change: `version` names the last one. */
export function useMemories({ shelf, topic, text }: MemoryView, version: number): Memories {
  const { userId } = useApi().identity;
  const words = useSettled(text.trim());
  const variables = useMemo(
    () => ({ userId, first: MOST, filter: { status: STATUSES[shelf], topics: topic === null ? null : [topic], text: words || null } }),
    [userId, shelf, topic, words],
  );
  const [{ data, error, fetching }, readList] = useQuery({ query: MemoriesDocument, variables, context: CONTEXT });
  const user = useMemo(() => ({ userId }), [userId]);
  const [{ data: topics }, readTopics] = useQuery({ query: TopicsDocument, variables: user, context: CONTEXT });
  const [{ data: review }, readReview] = useQuery({ query: ToReviewDocument, variables: user, context: CONTEXT });
  const settled = useSettled(version);
  useEffect(() => {
    if (settled > 0) {
      for (const read of [readList, readTopics, readReview]) {
        read({ requestPolicy: "network-only" });
      }
    }
  }, [settled, readList, readTopics, readReview]);
  return {
    list: data?.memories.edges.map(({ node }) => node) ?? [],
    total: data?.memories.totalCount ?? 0,
    topics: topics?.memoryTopics ?? [],
    toReview: review?.memories.totalCount ?? 0,
    loading: fetching && !data,
    problem: error ? problemOf(error) : null,
  };
}

/** The value once it has not changed for a moment. */
function useSettled<Value>(value: Value): Value {
  const [settled, setSettled] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(value), SETTLE);
    return () => clearTimeout(timer);
  }, [value]);
  return settled;
}
