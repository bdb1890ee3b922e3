/** Random numbers that are the same again for the same seed. */

export interface Random {
  /** A whole number from 0 to below `limit`. */
  below(limit: number): number;
  /** A number between two others. */
  between(least: number, most: number): number;
}

/** Mulberry32: a few shifts and products, good enough to choose moments. */
export function createRandom(seed: number): Random {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  return { below: (limit) => Math.floor(next() * limit), between: (least, most) => least + next() * (most - least) };
}
