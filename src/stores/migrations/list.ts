/** Every migration, in order. Forward only: a released one is never edited. */

import { Migration0001Initial } from "./0001-initial.ts";

export const MIGRATIONS = [{ name: "0001-initial", class: Migration0001Initial }];
