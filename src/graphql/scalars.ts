import { GraphQLScalarType } from "graphql";
import { GraphQLDateTimeISO, GraphQLJSON } from "graphql-scalars";

/** Leaves as an ISO string in UTC on every transport; takes any RFC 3339 time with a zone. */
export const DateTime = new GraphQLScalarType<Date, string>({
  ...GraphQLDateTimeISO.toConfig(),
  name: "DateTime",
  description: "A moment in time: ISO 8601 with a zone, always sent in UTC, such as 2026-08-10T09:30:00.000Z.",
  specifiedByURL: "https://the-guild.dev/graphql/scalars/docs/scalars/date-time",
  extensions: {},
});

/** Any JSON value, as it is. */
export const JsonValue = new GraphQLScalarType<unknown, unknown>({
  ...GraphQLJSON.toConfig(),
  name: "JSON",
  description: "Any JSON value. Used only for exports, which clients store and send back unread.",
  specifiedByURL: "https://the-guild.dev/graphql/scalars/docs/scalars/json",
  extensions: {},
});
