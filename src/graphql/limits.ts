/**
 * What a document may be, whatever brought it. Checked in three steps, each safe for what the ones before let through: the
 * words, before a parser nests as deep as they do; the fields, before validation compares them with each other; the cost, before
 * anything is carried out.
 */

import { type DocumentNode, GraphQLError, Kind, Lexer, type SelectionSetNode, Source, TokenKind } from "graphql";
import { AppError } from "../errors.ts";

/** The largest document of each sort that is carried out. */
export const DOCUMENT_LIMITS = {
  /** Words and signs. */
  tokens: 2_000,
  /** Brackets of any sort within each other. */
  nesting: 50,
  /** Fields within each other, fragments put in. A client's introspection query has 15. */
  depth: 16,
  /** Fields, fragments put in. */
  fields: 500,
  /** Fields under another name, fragments put in. */
  aliases: 30,
  directives: 50,
  /** Operations and fragments. */
  definitions: 50,
  /** What it asks the server to do, as `costOf` counts. */
  cost: 10_000,
} as const;

export type DocumentLimit = keyof typeof DOCUMENT_LIMITS;

const REMEDIES: Record<DocumentLimit, string> = {
  tokens: "Leave out fields, and send values as variables",
  nesting: "Nest fewer levels, and send values as variables",
  depth: "Ask for the inner objects in a request of their own, by their ids",
  fields: "Ask for fewer fields, or in several requests",
  aliases: "Send several requests instead of the same field under many names",
  directives: "Use fewer directives",
  definitions: "Send only the operation to carry out, with its fragments",
  cost: "Ask for smaller pages (first, last, limit) or fewer lists within lists",
};

const WHAT: Record<DocumentLimit, string> = {
  tokens: "words and signs",
  nesting: "levels of brackets",
  depth: "levels of fields",
  fields: "fields, fragments put in",
  aliases: "aliases, fragments put in",
  directives: "directives",
  definitions: "operations and fragments",
  cost: "units of work",
};

/** Throws GraphQLError (BAD_USER_INPUT) when there is more of it than a document may have. */
export function checkLimit(limit: DocumentLimit, found: number): void {
  const max = DOCUMENT_LIMITS[limit];
  if (found > max) {
    const message = `The document has more than ${max.toLocaleString("en")} ${WHAT[limit]}. ${REMEDIES[limit]}.`;
    const originalError = new AppError("BAD_USER_INPUT", message, { details: { limit: { name: limit, max } } });
    throw new GraphQLError(message, { originalError });
  }
}

/** Reads the words alone: nothing in here grows with how deep they nest. Throws GraphQLError. */
export function checkWords(text: string): void {
  const lexer = new Lexer(new Source(text));
  let [tokens, nesting, directives] = [0, 0, 0];
  for (let token = lexer.advance(); token.kind !== TokenKind.EOF; token = lexer.advance()) {
    checkLimit("tokens", ++tokens);
    if (OPENING.has(token.kind)) {
      checkLimit("nesting", ++nesting);
    } else if (CLOSING.has(token.kind)) {
      nesting--;
    } else if (token.kind === TokenKind.AT) {
      checkLimit("directives", ++directives);
    }
  }
}

const OPENING: ReadonlySet<string> = new Set([TokenKind.BRACE_L, TokenKind.PAREN_L, TokenKind.BRACKET_L]);
const CLOSING: ReadonlySet<string> = new Set([TokenKind.BRACE_R, TokenKind.PAREN_R, TokenKind.BRACKET_R]);

/** Counts the fields of a parsed document, every fragment as often as it is used. Throws GraphQLError. */
export function checkFields(document: DocumentNode): void {
  checkLimit("definitions", document.definitions.length);
  const fragments = new Map<string, SelectionSetNode>();
  for (const definition of document.definitions) {
    if (definition.kind === Kind.FRAGMENT_DEFINITION) {
      fragments.set(definition.name.value, definition.selectionSet);
    }
  }
  const sizes = new Map<string, Size>();
  for (const definition of document.definitions) {
    if (definition.kind === Kind.OPERATION_DEFINITION || definition.kind === Kind.FRAGMENT_DEFINITION) {
      const { depth, fields, aliases } = sizeOf(definition.selectionSet, fragments, sizes);
      checkLimit("depth", depth);
      checkLimit("aliases", aliases);
      checkLimit("fields", fields);
    }
  }
}

interface Size {
  depth: number;
  fields: number;
  aliases: number;
}

const NOTHING: Size = { depth: 0, fields: 0, aliases: 0 };

/** Each fragment is looked at once. One that leads back to itself counts as nothing there: validation refuses it. */
function sizeOf(set: SelectionSetNode, fragments: ReadonlyMap<string, SelectionSetNode>, sizes: Map<string, Size>): Size {
  const size = { ...NOTHING };
  const add = (inner: Size, level: number): void => {
    size.depth = Math.max(size.depth, inner.depth + level);
    size.fields += inner.fields;
    size.aliases += inner.aliases;
  };
  for (const selection of set.selections) {
    if (selection.kind === Kind.FIELD) {
      size.fields++;
      size.aliases += selection.alias ? 1 : 0;
      add(selection.selectionSet ? sizeOf(selection.selectionSet, fragments, sizes) : NOTHING, 1);
    } else if (selection.kind === Kind.INLINE_FRAGMENT) {
      add(sizeOf(selection.selectionSet, fragments, sizes), 0);
    } else {
      const name = selection.name.value;
      const fragment = fragments.get(name);
      let inner = sizes.get(name);
      if (!inner && fragment) {
        sizes.set(name, NOTHING);
        inner = sizeOf(fragment, fragments, sizes);
        sizes.set(name, inner);
      }
      add(inner ?? NOTHING, 0);
    }
  }
  return size;
}
