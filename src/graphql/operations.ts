/** The operations of schema/operations: what the playground shows, and what tests and code generation use. */

import { readdirSync, readFileSync } from "node:fs";
import { type DefinitionNode, type DocumentNode, type FragmentDefinitionNode, Kind, parse, visit } from "graphql";

const FOLDER = new URL("../../schema/operations/", import.meta.url);

/** The text of each operation by its name, with its comments and the fragments it needs. */
export function readOperations(): Map<string, string> {
  const texts = new Map<DefinitionNode, string>();
  for (const file of readdirSync(FOLDER)
    .filter((name) => name.endsWith(".graphql"))
    .sort()) {
    collectDefinitions(readFileSync(new URL(file, FOLDER), "utf8"), texts);
  }
  const fragments = new Map<string, FragmentDefinitionNode>();
  for (const definition of texts.keys()) {
    if (definition.kind === Kind.FRAGMENT_DEFINITION) {
      fragments.set(definition.name.value, definition);
    }
  }
  const operations = new Map<string, string>();
  for (const definition of texts.keys()) {
    if (definition.kind === Kind.OPERATION_DEFINITION && definition.name) {
      const needed = [definition, ...fragmentsOf(definition, fragments)];
      operations.set(definition.name.value, needed.map((node) => texts.get(node)).join("\n\n"));
    }
  }
  return operations;
}

/** Variables of the operations for a first look around, by name, in the order in which the playground shows them. */
export function readExampleVariables(): Record<string, object> {
  return JSON.parse(readFileSync(new URL("variables.json", FOLDER), "utf8"));
}

/** Each definition with the comment above it. */
function collectDefinitions(text: string, found: Map<DefinitionNode, string>): void {
  const document: DocumentNode = parse(text);
  let end = 0;
  for (const definition of document.definitions) {
    const start = end;
    end = definition.loc?.end ?? text.length;
    found.set(definition, text.slice(start, end).trim());
  }
}

function fragmentsOf(definition: DefinitionNode, all: Map<string, FragmentDefinitionNode>): Set<FragmentDefinitionNode> {
  const needed = new Set<FragmentDefinitionNode>();
  const collect = (node: DefinitionNode): void => {
    visit(node, {
      FragmentSpread({ name }) {
        const fragment = all.get(name.value);
        if (fragment && !needed.has(fragment)) {
          needed.add(fragment);
          collect(fragment);
        }
      },
    });
  };
  collect(definition);
  return needed;
}
