/** Numbers in sentences, in digits or English words. */

/** The whole numbers a text holds, as decimal digits without leading zeros: "34", "two dogs", "twenty-five", "3,500", "10th". A decimal or a date gives its groups. */
export function numbersIn(text: string): Set<string> {
  const plain = text
    .normalize("NFKC")
    .toLowerCase()
    .replace(/(?<=\d)[,'\u2019](?=\d{3}(?!\d))/g, "");
  const found = new Set<string>();
  for (const [, digits = "", thousands] of plain.matchAll(/(\p{Nd}+)(k\b)?/gu)) {
    found.add(withoutLeadingZeros(digits));
    if (thousands) {
      found.add(withoutLeadingZeros(`${digits}000`));
    }
  }
  for (const value of spelledOut(plain)) {
    found.add(String(value));
  }
  return found;
}

function withoutLeadingZeros(digits: string): string {
  return /^\d+$/.test(digits) ? digits.replace(/^0+(?=\d)/, "") : digits;
}

/** Runs of number words. "One" alone is left out: it is more often a pronoun. */
function spelledOut(text: string): number[] {
  const values: number[] = [];
  let run: number[] = [];
  const close = () => {
    if (run.length > 1 || (run[0] ?? 1) !== 1) {
      values.push(sumOf(run));
    }
    run = [];
  };
  for (const word of text.split(/[^\p{L}\p{N}]+/u)) {
    const value = VALUES.get(word);
    if (value !== undefined) {
      if (run.length > 0 && !continues(run.at(-1) ?? 0, value)) {
        close();
      }
      run.push(value);
    } else if (run.length > 0 && !(word === "and" && (run.at(-1) ?? 0) >= 100)) {
      close();
    }
  }
  if (run.length > 0) {
    close();
  }
  return values;
}

/** Whether a number word goes on after another: twenty five, two hundred, hundred five; not two three. */
function continues(before: number, value: number): boolean {
  return value >= 100 || before >= 100 || (before >= 20 && value < 10);
}

function sumOf(run: number[]): number {
  let total = 0;
  let group = 0;
  for (const value of run) {
    if (value === 100) {
      group = Math.max(group, 1) * 100;
    } else if (value > 100) {
      total += Math.max(group, 1) * value;
      group = 0;
    } else {
      group += value;
    }
  }
  return total + group;
}

const ONES =
  "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen";
const TENS = "twenty thirty forty fifty sixty seventy eighty ninety";

const VALUES: ReadonlyMap<string, number> = new Map([
  ...ONES.split(" ").map((word, value) => [word, value] as const),
  ...TENS.split(" ").map((word, index) => [word, 20 + 10 * index] as const),
  ["hundred", 100],
  ["thousand", 1_000],
  ["million", 1_000_000],
]);
