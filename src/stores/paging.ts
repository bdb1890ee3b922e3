/** Cursor paging over a counter column. Cursors are opaque to clients: base64url of the list's name and the place. */

import type { Page, PageRequest } from "../agent/ports.ts";
import { badInput } from "../errors.ts";

const DEFAULT_SIZE = 20;
const MAX_SIZE = 100;

/** What to ask the database for. */
export interface PageQuery {
  /** Exclusive bounds in list order: items come after `after` and before `before`. */
  after: number | null;
  before: number | null;
  /** True: the page is the end of the list, so the query runs backwards. */
  fromEnd: boolean;
  /** One more than the page holds, to see whether there is more. */
  limit: number;
}

/** Checks a request: 20 items when no size is given. Throws BAD_USER_INPUT. */
export function pageQuery(list: string, page: PageRequest): PageQuery {
  const { first, last } = page;
  if (first != null && last != null) {
    throw badInput("last", "cannot be used together with first. Send one of the two.");
  }
  const size = first ?? last ?? DEFAULT_SIZE;
  if (!Number.isInteger(size) || size < 1 || size > MAX_SIZE) {
    throw badInput(first != null ? "first" : "last", `must be from 1 to ${MAX_SIZE}. For more, take the next page.`);
  }
  return {
    after: page.after == null ? null : readCursor(list, page.after, "after"),
    before: page.before == null ? null : readCursor(list, page.before, "before"),
    // Only told where to end, a page is the one just before.
    fromEnd: last != null || (first == null && page.before != null && page.after == null),
    limit: size + 1,
  };
}

/** A page from the rows found, which are in list order unless the query ran backwards. */
export function toPage<T>(list: string, query: PageQuery, rows: T[], place: (row: T) => number): Page<T> {
  const more = rows.length === query.limit;
  const found = more ? rows.slice(0, -1) : rows;
  const ordered = query.fromEnd ? found.reverse() : found;
  return {
    items: ordered.map((node) => ({ cursor: writeCursor(list, place(node)), node })),
    hasNextPage: query.before !== null || (!query.fromEnd && more),
    hasPreviousPage: query.after !== null || (query.fromEnd && more),
  };
}

function writeCursor(list: string, place: number): string {
  return Buffer.from(`${list}:${place}`).toString("base64url");
}

function readCursor(list: string, cursor: string, path: string): number {
  const [name, place] = Buffer.from(cursor, "base64url").toString().split(":");
  const value = Number(place);
  if (name !== list || !Number.isSafeInteger(value) || place === "") {
    throw badInput(path, "is not a cursor of this list. Send one that pageInfo or an edge of the same list gave you.");
  }
  return value;
}
