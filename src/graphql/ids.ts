import { userId } from "../agent/input.ts";
import type { UserId } from "../agent/types.ts";

/** What an `id` stands for. `keys` name the thing within its type and user. */
export interface NodeKey {
  type: string;
  userId: UserId;
  keys: string[];
}

/** The opaque `id` of a thing: unique across types and users, so two users' "session-1" never merge in a cache. */
export function encodeId(type: string, user: UserId, ...keys: string[]): string {
  return Buffer.from(JSON.stringify([type, user, ...keys])).toString("base64url");
}

/** What an `id` stands for; null for text that is none. It proves nothing: whoever reads it still has to be allowed to. */
export function decodeId(id: string): NodeKey | null {
  try {
    const parts: unknown = JSON.parse(Buffer.from(id, "base64url").toString());
    if (!Array.isArray(parts) || !parts.every((part) => typeof part === "string" && isStorable(part))) {
      return null;
    }
    const [type, user, ...keys] = parts as string[];
    return type === undefined || user === undefined || keys.length === 0 ? null : { type, userId: userId(user), keys };
  } catch {
    return null;
  }
}

/** False for text no row can have, which a database would refuse with an error. */
function isStorable(text: string): boolean {
  return text.isWellFormed() && !text.includes("\0");
}
