import type { ChangedMemory, Services } from "../agent/ports.ts";
import type { UserId } from "../agent/types.ts";

/** A change with the memory as it is now. */
export type ChangeView = ChangedMemory;

/** What a run changed, each with its memory, in two reads. A change whose memory was forgotten meanwhile is left out. */
export async function changesOfRun(services: Services, user: UserId, runId: string): Promise<ChangeView[]> {
  const changes = await services.memories.changes(user, runId);
  if (changes.length === 0) {
    return [];
  }
  const memories = await services.memories.getMany(user, [...new Set(changes.map((change) => change.memoryId))]);
  const byId = new Map(memories.map((memory) => [memory.memoryId, memory]));
  return changes.flatMap((change) => {
    const memory = byId.get(change.memoryId);
    return memory ? [{ ...change, memory }] : [];
  });
}
