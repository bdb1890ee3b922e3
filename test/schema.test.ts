import { readdirSync, readFileSync } from "node:fs";
import {
  buildSchema,
  concatAST,
  type GraphQLField,
  type GraphQLNamedType,
  type GraphQLSchema,
  isEnumType,
  isInputObjectType,
  isInterfaceType,
  isIntrospectionType,
  isObjectType,
  isSpecifiedScalarType,
  Kind,
  lexicographicSortSchema,
  OperationTypeNode,
  parse,
  printSchema,
  validate,
  validateSchema,
} from "graphql";
import { describe, expect, it } from "vitest";
import { buildGraphQLSchema } from "../src/graphql/schema.ts";

/** Object types without an identity of their own: they belong to the object around them, and caches do not share them. */
const PLAIN_VALUES = [
  "ClearMemoriesPayload",
  "DatabaseStatus",
  "DeletePayload",
  "EraseUserPayload",
  "ErasedCount",
  "ExportUserPayload",
  "Failure",
  "ImportUserPayload",
  "Limits",
  "MemoriesPayload",
  "MemoryConnection",
  "MemoryEdge",
  "MemoryEvidence",
  "MemoryMatch",
  "MemoryPayload",
  "MemoryVersion",
  "MessageConnection",
  "MessageEdge",
  "ModelBreaker",
  "ModelStatus",
  "PageInfo",
  "Problem",
  "QueueStatus",
  "Recall",
  "RecallItem",
  "RunConnection",
  "RunEdge",
  "RunMemoryUpdate",
  "RunPayload",
  "SearchRank",
  "ServerStatus",
  "SessionConnection",
  "SessionEdge",
  "SessionEvent",
  "SessionPayload",
  "SessionSummary",
  "TokenUsage",
  "TopicCount",
];

const OPERATIONS = new URL("../schema/operations/", import.meta.url);

const schema = buildGraphQLSchema();

describe("the schema", () => {
  it("is valid, and the same after being printed and read again", () => {
    expect(validateSchema(schema)).toEqual([]);
    const printed = printSchema(lexicographicSortSchema(schema));
    expect(printSchema(buildSchema(printed))).toBe(printed);
  });

  it("is the one in schema/schema.graphql; write it anew with: vitest run test/schema.test.ts -u", async () => {
    await expect(`${printSchema(lexicographicSortSchema(schema))}\n`).toMatchFileSnapshot("../schema/schema.graphql");
  });

  it("describes every type, field, argument and enum value", () => {
    expect(undescribed(schema)).toEqual([]);
  });

  it("gives every object type an identity, or names it as a plain value or an event", () => {
    const node = schema.getType("Node");
    const event = schema.getType("RunEvent");
    const roots = [schema.getQueryType(), schema.getMutationType(), schema.getSubscriptionType()];
    const others = ownTypes(schema)
      .filter(isObjectType)
      .filter((type) => !roots.includes(type) && !type.getInterfaces().some((it) => it === node || it === event))
      .map((type) => type.name);
    expect(others.toSorted()).toEqual(PLAIN_VALUES);
  });

  it("gives fields of one name the same type in all events, so that clients can select them together", () => {
    const event = schema.getType("RunEvent");
    const types = new Map<string, Set<string>>();
    for (const field of isInterfaceType(event) ? schema.getPossibleTypes(event).flatMap(fieldsOf) : []) {
      types.set(field.name, (types.get(field.name) ?? new Set()).add(String(field.type)));
    }
    expect(types.get("sequence")).toEqual(new Set(["Int!"]));
    expect([...types].filter(([, set]) => set.size > 1)).toEqual([]);
  });

  it("refuses to say that something is described when it is not", () => {
    const bare = buildSchema('"Reads." type Query { "Field." greet(to: String): Mood } "Moods." enum Mood { GLAD }');
    expect(undescribed(bare)).toEqual(["Query.greet(to:)", "Mood.GLAD"]);
  });
});

describe("the example operations", () => {
  const documents = readdirSync(OPERATIONS)
    .filter((file) => file.endsWith(".graphql"))
    .map((file) => parse(readFileSync(new URL(file, OPERATIONS), "utf8")));

  it("are valid, all files together", () => {
    expect(documents.length).toBeGreaterThan(0);
    expect(validate(schema, concatAST(documents)).map(String)).toEqual([]);
  });

  it("use every query, mutation and subscription but node", () => {
    const operations = documents.flatMap(({ definitions }) => definitions.filter((it) => it.kind === Kind.OPERATION_DEFINITION));
    const used = operations.flatMap(({ operation, selectionSet }) =>
      selectionSet.selections.map((it) => (it.kind === Kind.FIELD ? `${operation} ${it.name.value}` : "")),
    );
    const offered = [OperationTypeNode.QUERY, OperationTypeNode.MUTATION, OperationTypeNode.SUBSCRIPTION].flatMap((operation) => {
      const type = schema.getRootType(operation);
      return type ? fieldsOf(type).map((field) => `${operation} ${field.name}`) : [];
    });
    expect(offered.filter((field) => !used.includes(field))).toEqual(["query node"]);
  });
});

/** Types of this schema, without those of GraphQL itself. */
function ownTypes(of: GraphQLSchema): GraphQLNamedType[] {
  return Object.values(of.getTypeMap()).filter((type) => !isIntrospectionType(type) && !isSpecifiedScalarType(type));
}

function fieldsOf(type: GraphQLNamedType): GraphQLField<unknown, unknown>[] {
  return isObjectType(type) || isInterfaceType(type) ? Object.values(type.getFields()) : [];
}

/** Places in a schema that say nothing about themselves. */
function undescribed(of: GraphQLSchema): string[] {
  const places = ownTypes(of).flatMap((type) => [
    { path: type.name, description: type.description },
    ...fieldsOf(type).flatMap((field) => [
      { path: `${type.name}.${field.name}`, description: field.description },
      ...field.args.map((arg) => ({ path: `${type.name}.${field.name}(${arg.name}:)`, description: arg.description })),
    ]),
    ...(isInputObjectType(type) ? Object.values(type.getFields()) : isEnumType(type) ? type.getValues() : []).map((item) => ({
      path: `${type.name}.${item.name}`,
      description: item.description,
    })),
  ]);
  return places.filter(({ description }) => !description).map(({ path }) => path);
}
