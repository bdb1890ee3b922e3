/** The one way in for documents, whatever brought them: limits, syntax, the schema, cost. */

import {
  type ASTVisitor,
  type DocumentNode,
  GraphQLError,
  type GraphQLSchema,
  parse,
  specifiedRules,
  type ValidationContext,
  validate,
} from "graphql";
import { AppError } from "../errors.ts";
import { costOf } from "./cost.ts";
import { checkFields, checkLimit, checkWords, DOCUMENT_LIMITS } from "./limits.ts";

/** Documents kept, and the longest kept, in characters. */
const KEPT = 64;
const MAX_KEPT_LENGTH = 8_192;
/** Complaints about one document, at most. */
const MAX_COMPLAINTS = 10;

/** An operation as it was sent. */
export interface SentOperation {
  query: string;
  operationName?: string | null | undefined;
  variables?: Record<string, unknown> | null | undefined;
}

interface KnownDocument {
  document: DocumentNode;
  /** Its cost may pass the limit with some variables. */
  mayCostTooMuch: boolean;
}

/** Reads documents, and keeps the latest that are fine: many clients send the same few, and share one syntax tree. */
export class KnownDocuments {
  readonly schema: GraphQLSchema;
  readonly #rules: typeof specifiedRules;
  readonly #known = new Map<string, KnownDocument>();

  /** `introspection`: whether clients may ask for the schema. */
  constructor(schema: GraphQLSchema, introspection: boolean) {
    this.schema = schema;
    this.#rules = introspection ? specifiedRules : [...specifiedRules, refuseIntrospection];
  }

  /** The document of an operation that may be carried out, or what is wrong with it. Never throws, whatever was sent. */
  read({ query, operationName, variables }: SentOperation): DocumentNode | readonly GraphQLError[] {
    try {
      const known = this.#known.get(query) ?? this.#readNew(query);
      if (!("document" in known)) {
        return known;
      }
      this.#keep(query, known);
      if (known.mayCostTooMuch) {
        checkLimit("cost", costOf(this.schema, known.document, variables ?? {}, operationName));
      }
      return known.document;
    } catch (error) {
      if (error instanceof GraphQLError) {
        return [error];
      }
      throw error;
    }
  }

  #readNew(query: string): KnownDocument | readonly GraphQLError[] {
    checkWords(query);
    const document = parse(query);
    checkFields(document);
    const errors = validate(this.schema, document, this.#rules, { maxErrors: MAX_COMPLAINTS });
    if (errors.length > 0) {
      return errors;
    }
    return { document, mayCostTooMuch: costOf(this.schema, document, null) > DOCUMENT_LIMITS.cost };
  }

  #keep(query: string, known: KnownDocument): void {
    if (query.length > MAX_KEPT_LENGTH) {
      return;
    }
    this.#known.delete(query);
    this.#known.set(query, known);
    const [oldest] = this.#known.keys();
    if (this.#known.size > KEPT && oldest !== undefined) {
      this.#known.delete(oldest);
    }
  }
}

function refuseIntrospection(context: ValidationContext): ASTVisitor {
  return {
    Field(node) {
      if (node.name.value === "__schema" || node.name.value === "__type") {
        const message =
          "This server does not describe its schema. Read schema/schema.graphql of its version, or have INTROSPECTION=on set.";
        context.reportError(new GraphQLError(message, { nodes: node, originalError: new AppError("FORBIDDEN", message) }));
      }
    },
  };
}
