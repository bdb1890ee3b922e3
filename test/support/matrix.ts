/** Every place of the schema where a caller names something, and an operation for every field, made from the schema. */

import {
  type GraphQLField,
  type GraphQLInputType,
  type GraphQLOutputType,
  type GraphQLSchema,
  getNamedType,
  isAbstractType,
  isEnumType,
  isInputObjectType,
  isLeafType,
  isObjectType,
  isRequiredArgument,
} from "graphql";

/** Objects within objects that an operation asks for. */
const DEPTH = 3;

export interface RootField {
  operation: "query" | "mutation" | "subscription";
  field: GraphQLField<unknown, unknown>;
  /** Such as Query.run. */
  name: string;
}

export function rootFields(schema: GraphQLSchema): RootField[] {
  const roots = { query: schema.getQueryType(), mutation: schema.getMutationType(), subscription: schema.getSubscriptionType() };
  return (["query", "mutation", "subscription"] as const).flatMap((operation) =>
    Object.values(roots[operation]?.getFields() ?? {}).map((field) => ({
      operation,
      field,
      name: `${roots[operation]?.name}.${field.name}`,
    })),
  );
}

/** Where text comes in: places of type ID, and of type String, each such as `Query.memories(filter.sessionId)`. */
export function textPlaces(schema: GraphQLSchema): { ids: string[]; texts: string[] } {
  const places = { ids: [] as string[], texts: [] as string[] };
  for (const type of Object.values(schema.getTypeMap())) {
    if (isObjectType(type) && !type.name.startsWith("__")) {
      for (const field of Object.values(type.getFields())) {
        for (const argument of field.args) {
          for (const [path, leaf] of leaves(argument.type, argument.name)) {
            const place = `${type.name}.${field.name}(${path})`;
            if (leaf === "ID" || (leaf === "String" && CURSORS.test(path))) {
              places.ids.push(place);
            } else if (!HARMLESS.has(leaf)) {
              places.texts.push(place);
            }
          }
        }
      }
    }
  }
  return places;
}

const CURSORS = /(^|\.)(after|before)$/;
/** Numbers and times count or cut off what is the caller's own; enums and switches name nothing. */
const HARMLESS: ReadonlySet<string> = new Set(["Int", "Float", "Boolean", "DateTime", "enum"]);

function leaves(type: GraphQLInputType, path: string): [path: string, leaf: string][] {
  const named = getNamedType(type);
  if (isInputObjectType(named)) {
    return Object.values(named.getFields()).flatMap((field) => leaves(field.type, `${path}.${field.name}`));
  }
  return [[path, isEnumType(named) ? "enum" : named.name]];
}

/** The operation that calls the field with these arguments, as variables, and asks for all it may. */
export function operationFor({ operation, field }: RootField, args: Record<string, unknown>): string {
  const given = field.args.filter(({ name }) => name in args);
  const declared = given.map(({ name, type }) => `$${name}: ${type}`).join(", ");
  const passed = given.map(({ name }) => `${name}: $${name}`).join(", ");
  const head = declared ? `${operation} (${declared})` : operation;
  return `${head} { ${field.name}${passed ? `(${passed})` : ""} ${selection(field.type, DEPTH)} }`;
}

function selection(type: GraphQLOutputType, depth: number): string {
  const named = getNamedType(type);
  if (isLeafType(named)) {
    return "";
  }
  if (isAbstractType(named)) {
    // Details of events depend on how fast they are read.
    return named.name === "RunEvent" ? "{ __typename runId }" : "{ __typename id }";
  }
  if (!isObjectType(named)) {
    return "{ __typename }";
  }
  const fields = Object.values(named.getFields())
    .filter((field) => !field.args.some(isRequiredArgument) && (isLeafType(getNamedType(field.type)) || depth > 0))
    .map((field) => `${field.name} ${selection(field.type, depth - 1)}`);
  return `{ __typename ${fields.join(" ")} }`;
}

/** Sets the value at a path such as `input.userId`, in a copy. */
export function withValue(args: Record<string, unknown>, path: string, value: unknown): Record<string, unknown> {
  const [name = "", ...rest] = path.split(".");
  const inner = (args[name] ?? {}) as Record<string, unknown>;
  return { ...args, [name]: rest.length === 0 ? value : withValue(inner, rest.join("."), value) };
}

/** The answer as text, but for what differs between any two requests: ids and times made for it, and the value under test. */
export function shapeOf(answer: unknown, value: string): string {
  return JSON.stringify(answer)
    .replaceAll(JSON.stringify(value).slice(1, -1), "<value>")
    .replaceAll(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g, "<uuid>")
    .replaceAll(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, "<time>")
    .replaceAll(/"(id|cursor|startCursor|endCursor|deletedId|changeId)":"[^"]+"/g, '"$1":"<id>"')
    .replaceAll(/note \d+/g, "note")
    .replaceAll(/"(\w*[sS]equence|version|turn|evidenceCount|\w*Tokens)":\d+/g, '"$1":0');
}
