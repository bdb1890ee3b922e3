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

/** Tells one database from every other, also of another server; the same for all processes on it. */
export function databaseIdentity(database: Database): Promise<string> {
  return database.asLog(async (transaction) => {
    const [row] = await transaction.query<{ identity: string }>(
      `select concat_ws('/', (select system_identifier from pg_control_system()), (select oid from pg_database where datname = current_database()),
        current_schema()) as identity`,
    );
    return row?.identity ?? "";
  });
}
