/** What REST shows of things: snake_case, times in ISO 8601. */

import type { Memory, Run } from "../agent/types.ts";

export function runView(run: Run, content: string | null) {
  return {
    run_id: run.runId,
    session_id: run.sessionId,
    user_id: run.userId,
    agent_id: run.agentId,
    status: run.status,
    content,
    model: run.model,
    created_at: run.createdAt.toISOString(),
    memory_update: run.memoryUpdate.status,
  };
}

export function memoryView(memory: Memory) {
  return {
    memory_id: memory.memoryId,
    user_id: memory.userId,
    memory: memory.memory,
    topics: memory.topics,
    agent_id: memory.agentId,
    created_at: memory.createdAt.toISOString(),
  };
}
