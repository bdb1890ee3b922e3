/** What the database says about itself. */

import type { DatabaseProbe } from "../agent/ports.ts";
import type { Database } from "./database.ts";

export function createDatabaseProbe(database: Database): DatabaseProbe {
  return {
    embedded: database.embedded,
    version() {
      return database.asLog(async (transaction) => {
        const [row] = await transaction.query<{ version: string }>("select current_setting('server_version') as version");
        return row?.version ?? "";
      });
    },
  };
}
