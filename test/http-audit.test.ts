/** GraphQL over HTTP as its specification says: the audits of the reference implementation, none of them an error. */

import { serverAudits } from "graphql-http";
import { expect, test } from "vitest";
import { startTestServer } from "./support/server.ts";

test("no audit of the GraphQL over HTTP specification finds an error", async () => {
  const server = await startTestServer();
  try {
    const errors: string[] = [];
    const audits = serverAudits({ url: `${server.url}/graphql`, fetchFn: fetch });
    expect(audits.length).toBeGreaterThan(50);
    for (const audit of audits) {
      const result = await audit.fn();
      if (result.status === "error") {
        errors.push(`${audit.id} ${audit.name}: ${result.reason}`);
      }
    }
    expect(errors).toEqual([]);
  } finally {
    await server.close();
  }
});
