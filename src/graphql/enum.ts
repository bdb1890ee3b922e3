import { registerEnumType } from "type-graphql";

/** Makes a GraphQL enum of a closed set of words; the compiler asks for a description of each. The result stands for the type in thunks. */
export function defineEnum<T extends string>(name: string, description: string, values: Record<T, string>): Record<T, T> {
  const words = Object.keys(values) as T[];
  const enumeration = Object.fromEntries(words.map((word) => [word, word])) as Record<T, T>;
  const valuesConfig = Object.fromEntries(words.map((word) => [word, { description: values[word] }]));
  registerEnumType(enumeration, { name, description, valuesConfig: valuesConfig as Record<T, { description: string }> });
  return enumeration;
}
