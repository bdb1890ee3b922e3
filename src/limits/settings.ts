/** How much one user, one address and one connection may ask for. */

import { z } from "zod";

/** null: no limit. */
export interface Limits {
  /** Requests of a user in a minute: each operation's field that acts for a user is one. Counted per process. */
  requestsPerMinute: number | null;
  /** Requests from an address in a minute, whoever they say they are from; this machine's own do not count. Counted per process. */
  addressRequestsPerMinute: number | null;
  /** Runs of a user that are not ended. */
  openRuns: number | null;
  /** Tokens that models read and write for a user in a day of UTC. */
  tokensPerDay: number | null;
  /** Active memories of a user. */
  memories: number | null;
  /** WebSocket connections of a token's subject, and from an address that is not this machine's own. Counted per process. */
  userSockets: number | null;
  addressSockets: number | null;
  /** Operations that go on over one connection. */
  socketOperations: number | null;
}

const NO_NUMBER = "must be a whole number from 1 to 999999999, or none for no limit.";

const limit = z
  .string()
  .regex(/^(none|0*[1-9]\d{0,8})$/, NO_NUMBER)
  .transform((text) => (text === "none" ? null : Number(text)))
  .optional();

/** The settings in the environment. */
export const LIMIT_SETTINGS = {
  LIMIT_REQUESTS_PER_MINUTE: limit,
  LIMIT_ADDRESS_REQUESTS_PER_MINUTE: limit,
  LIMIT_OPEN_RUNS: limit,
  LIMIT_TOKENS_PER_DAY: limit,
  LIMIT_MEMORIES: limit,
  LIMIT_USER_SOCKETS: limit,
  LIMIT_ADDRESS_SOCKETS: limit,
  LIMIT_SOCKET_OPERATIONS: limit,
  INTROSPECTION: z.enum(["on", "off"], "must be on or off: whether clients may ask for the schema.").optional(),
};

type LimitSettings = { [Name in keyof typeof LIMIT_SETTINGS]?: z.output<(typeof LIMIT_SETTINGS)[Name]> };

/**
 * Defaults that nobody meets who uses the server by hand. `open`: the server asks for no tokens; a user's name is only a claim then, and
 * whoever makes the requests owns the machine, so they are not counted.
 */
export function limitsOf(settings: LimitSettings, open: boolean): { limits: Limits; introspection: boolean } {
  const given = (value: number | null | undefined, fallback: number | null): number | null => (value === undefined ? fallback : value);
  return {
    limits: {
      requestsPerMinute: given(settings.LIMIT_REQUESTS_PER_MINUTE, open ? null : 3_000),
      addressRequestsPerMinute: given(settings.LIMIT_ADDRESS_REQUESTS_PER_MINUTE, 6_000),
      openRuns: given(settings.LIMIT_OPEN_RUNS, 100),
      tokensPerDay: given(settings.LIMIT_TOKENS_PER_DAY, 20_000_000),
      memories: given(settings.LIMIT_MEMORIES, 10_000),
      userSockets: given(settings.LIMIT_USER_SOCKETS, 100),
      addressSockets: given(settings.LIMIT_ADDRESS_SOCKETS, 1_000),
      socketOperations: given(settings.LIMIT_SOCKET_OPERATIONS, 1_000),
    },
    introspection: settings.INTROSPECTION === undefined ? open : settings.INTROSPECTION === "on",
  };
}
