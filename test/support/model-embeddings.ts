import type { RequestBody } from "./model-request.ts";

const DIMENSIONS = 64;

/** The answer to POST /embeddings: always floats, whatever encoding is asked for. Texts that share words point the same way. */
export function embed(body: RequestBody): Record<string, unknown> {
  const texts = [body.input ?? []].flat();
  return {
    object: "list",
    model: body.model ?? "scripted-embedding",
    data: texts.map((text, index) => ({ object: "embedding", index, embedding: vectorOf(text) })),
    usage: { prompt_tokens: texts.length, total_tokens: texts.length },
  };
}

/** Counts words into buckets by a hash, then scales to length 1. */
function vectorOf(text: string): number[] {
  const vector = new Array<number>(DIMENSIONS).fill(0);
  for (const word of text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [" "]) {
    let hash = 2_166_136_261;
    for (let index = 0; index < word.length; index++) {
      hash = Math.imul(hash ^ word.charCodeAt(index), 16_777_619) >>> 0;
    }
    const bucket = hash % DIMENSIONS;
    vector[bucket] = (vector[bucket] ?? 0) + 1;
  }
  const length = Math.hypot(...vector);
  return vector.map((value) => value / length);
}
