/** Facts nobody else states: each names its user and itself in one word, so that wherever it turns up it tells whose it is. */

const WORD = /thing(\d+)x\d+/g;
let lastUser = 0;
let lastFact = 0;

/** A user nobody was before. */
export function newUser(): number {
  return ++lastUser;
}

export function userName(user: number): string {
  return `chaos-${user}`;
}

export function newFact(user: number): string {
  return `thing${user}x${++lastFact}`;
}

/** The different facts a text speaks of. */
export function factsIn(text: string): string[] {
  return [...new Set(text.match(WORD) ?? [])];
}

/** The numbers of the users whose facts a text speaks of. */
export function usersIn(text: string): string[] {
  return [...new Set([...text.matchAll(WORD)].map((match) => match[1] ?? ""))];
}
