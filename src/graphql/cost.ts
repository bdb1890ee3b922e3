/** How much work a valid operation asks for, known before any of it is done. */

import {
  type DocumentNode,
  type FieldNode,
  type FragmentDefinitionNode,
  type GraphQLCompositeType,
  type GraphQLField,
  type GraphQLOutputType,
  type GraphQLSchema,
  getNamedType,
  isCompositeType,
  isInterfaceType,
  isListType,
  isNonNullType,
  isObjectType,
  Kind,
  type OperationDefinitionNode,
  SchemaMetaFieldDef,
  type SelectionSetNode,
  TypeMetaFieldDef,
} from "graphql";

/** A field that holds a value; one that holds an object, for which the database may have to be asked; one that has a model asked. */
const VALUE = 1;
const OBJECT = 5;
const MODEL = 1_000;
/** A value under another name: the answer carries it once more. */
const RENAMED_VALUE = 10;
/** Fields that have a model asked, by their paths in the schema. */
export const MODEL_FIELDS: ReadonlySet<string> = new Set([
  "Mutation.runAgent",
  "Mutation.summarizeSession",
  "Mutation.retryMemoryUpdate",
  "Subscription.runAgent",
]);

/** Arguments that say how long a list is; the longest that is served, a page when none says, and other lists. */
const SIZES: ReadonlySet<string> = new Set(["first", "last", "limit"]);
const LONGEST = 100;
const PAGE = 20;
const LIST = 10;

/** Values by variable; null: not known, so the longest lists are counted. */
export type Variables = Readonly<Record<string, unknown>> | null | undefined;

interface Scope {
  schema: GraphQLSchema;
  fragments: ReadonlyMap<string, FragmentDefinitionNode>;
  variables: Variables;
  operation: OperationDefinitionNode;
}

/** The cost of the operation of that name, or of the dearest; of a subscription, for each event. The document must be valid. */
export function costOf(schema: GraphQLSchema, document: DocumentNode, variables: Variables, operationName?: string | null): number {
  const fragments = new Map<string, FragmentDefinitionNode>();
  for (const definition of document.definitions) {
    if (definition.kind === Kind.FRAGMENT_DEFINITION) {
      fragments.set(definition.name.value, definition);
    }
  }
  let dearest = 0;
  for (const operation of document.definitions) {
    if (operation.kind === Kind.OPERATION_DEFINITION && (operationName == null || operation.name?.value === operationName)) {
      const root = schema.getRootType(operation.operation);
      const cost = root ? costOfSet(operation.selectionSet, root, null, { schema, fragments, variables, operation }) : 0;
      dearest = Math.max(dearest, cost);
    }
  }
  return dearest;
}

/** `page`: how many items the list of a connection has, when the set is one of a connection. */
function costOfSet(set: SelectionSetNode, type: GraphQLCompositeType, page: number | null, scope: Scope): number {
  let cost = 0;
  for (const selection of set.selections) {
    if (selection.kind === Kind.FIELD) {
      cost += costOfField(selection, type, page, scope);
      continue;
    }
    const fragment = selection.kind === Kind.INLINE_FRAGMENT ? selection : scope.fragments.get(selection.name.value);
    const condition = fragment?.typeCondition && scope.schema.getType(fragment.typeCondition.name.value);
    if (fragment) {
      cost += costOfSet(fragment.selectionSet, isCompositeType(condition) ? condition : type, page, scope);
    }
  }
  return cost;
}

function costOfField(node: FieldNode, parent: GraphQLCompositeType, page: number | null, scope: Scope): number {
  const field = fieldOf(node, parent, scope.schema);
  if (!field || !node.selectionSet) {
    return node.alias ? RENAMED_VALUE : VALUE;
  }
  const type = getNamedType(field.type);
  if (!isCompositeType(type)) {
    return VALUE;
  }
  const wanted = wantedSize(node, field, scope);
  if (isList(field.type)) {
    // What describes the schema is at hand, and validation bounds how its lists nest.
    const size = type.name.startsWith("__") ? 1 : (wanted ?? page ?? LIST);
    return OBJECT + size * costOfSet(node.selectionSet, type, null, scope);
  }
  const price = MODEL_FIELDS.has(`${parent.name}.${field.name}`) ? MODEL : OBJECT;
  return price + costOfSet(node.selectionSet, type, wanted, scope);
}

function fieldOf(node: FieldNode, parent: GraphQLCompositeType, schema: GraphQLSchema): GraphQLField<unknown, unknown> | undefined {
  const name = node.name.value;
  if (parent === schema.getQueryType()) {
    const introspection = [SchemaMetaFieldDef, TypeMetaFieldDef].find((field) => field.name === name);
    if (introspection) {
      return introspection;
    }
  }
  return isObjectType(parent) || isInterfaceType(parent) ? parent.getFields()[name] : undefined;
}

/** How many items a field is asked for at most; null when it cannot be asked. */
function wantedSize(node: FieldNode, field: GraphQLField<unknown, unknown>, scope: Scope): number | null {
  const sizes = field.args.filter((argument) => SIZES.has(argument.name));
  if (sizes.length === 0) {
    return null;
  }
  const given = sizes.map((argument) => {
    const value = node.arguments?.find(({ name }) => name.value === argument.name)?.value;
    if (value?.kind === Kind.INT) {
      return Number(value.value);
    }
    return value?.kind === Kind.VARIABLE ? sizeOfVariable(value.name.value, scope) : argument.defaultValue;
  });
  const largest = Math.max(...given.filter((size): size is number => typeof size === "number"));
  return Number.isFinite(largest) ? Math.min(Math.max(largest, 1), LONGEST) : PAGE;
}

/** What is no number is refused later, or the same as none. */
function sizeOfVariable(name: string, { variables, operation }: Scope): unknown {
  if (variables == null) {
    return LONGEST;
  }
  const definition = operation.variableDefinitions?.find(({ variable }) => variable.name.value === name);
  const fallback = definition?.defaultValue?.kind === Kind.INT ? Number(definition.defaultValue.value) : null;
  return Object.hasOwn(variables, name) ? variables[name] : fallback;
}

function isList(type: GraphQLOutputType): boolean {
  return isNonNullType(type) ? isListType(type.ofType) : isListType(type);
}
