import { ArgsType, Field, Int, ObjectType } from "type-graphql";
import type { Page } from "../agent/ports.ts";
import { badInput } from "../errors.ts";

/** The most items a limited list may have. Pages are checked where they are read. */
const MAX_ITEMS = 100;

@ObjectType("PageInfo", { description: "Where a page begins and ends." })
export class PageInfoType {
  @Field(() => Boolean, { description: "True when there are items after this page." })
  hasNextPage!: boolean;

  @Field(() => Boolean, { description: "True when there are items before this page." })
  hasPreviousPage!: boolean;

  @Field(() => String, { nullable: true, description: "Cursor of the first item; null when the page is empty." })
  startCursor!: string | null;

  @Field(() => String, { nullable: true, description: "Cursor of the last item; null when the page is empty." })
  endCursor!: string | null;
}

@ArgsType()
export class PageArgs {
  @Field(() => Int, { nullable: true, description: "Take this many from the start (1 to 100)." })
  first?: number | null;

  @Field(() => String, { nullable: true, description: "Start after this cursor." })
  after?: string | null;

  @Field(() => Int, { nullable: true, description: "Take this many from the end (1 to 100)." })
  last?: number | null;

  @Field(() => String, { nullable: true, description: "End before this cursor." })
  before?: string | null;
}

/** A number of items between 1 and 100. Throws BAD_USER_INPUT. */
export function checkLimit(value: number, path: string): number {
  if (value < 1 || value > MAX_ITEMS) {
    throw badInput(path, `must be from 1 to ${MAX_ITEMS}. For more, take the next page.`);
  }
  return value;
}

/** A store's page in the shape of a connection. */
export function connectionOf<T>(page: Page<T>): { edges: Page<T>["items"]; pageInfo: PageInfoType } {
  const { items, hasNextPage, hasPreviousPage } = page;
  const pageInfo = { hasNextPage, hasPreviousPage, startCursor: items.at(0)?.cursor ?? null, endCursor: items.at(-1)?.cursor ?? null };
  return { edges: items, pageInfo };
}
