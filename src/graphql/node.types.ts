import { Field, ID, InterfaceType } from "type-graphql";

/** Something to be returned where the schema says Node, with the name of its type. */
export type NodeValue = object & { __typename: string };

@InterfaceType("Node", {
  description:
    "Something a client may keep in a normalised cache. A type without `id` is a plain value that belongs to the object around it.",
  resolveType: (value: NodeValue) => value.__typename,
})
export abstract class NodeType {
  @Field(() => ID, {
    description: "Opaque cache key, unique across all users and types, for caches and `node(id:)` only. Never build or read it.",
  })
  id!: string;
}
