/** Times said relative to when a message was sent: "tomorrow", "three years ago". Days are days in UTC. */

import { numbersIn } from "./numbers.ts";

/** What a quote's words of time come to. */
export interface ResolvedTimes {
  /** Numbers a sentence may hold because of them: years, months, days. */
  numbers: ReadonlySet<string>;
  /** Names it may hold: of months and days of the week, lower case. */
  names: ReadonlySet<string>;
  /** The one day the quote speaks of; null for none or several. */
  day: Date | null;
}

/** Works out today, tonight, tomorrow, yesterday, "in 3 days", "2 years ago", this, next and last month or year, and "until Friday". */
export function resolveTimes(quote: string, saidAt: Date): ResolvedTimes {
  const text = quote.normalize("NFKC").toLowerCase();
  const today = new Date(Date.UTC(saidAt.getUTCFullYear(), saidAt.getUTCMonth(), saidAt.getUTCDate()));
  const days = [...relativeDays(text, today), ...countedDays(text, today), ...nextWeekdays(text, today)];
  const months = [...text.matchAll(/\b(this|next|last) month\b/g)].map((match) => shifted(today, "month", STEP[match[1] ?? ""] ?? 0));
  const years = [...text.matchAll(/\b(this|next|last) year\b/g)].map((match) => shifted(today, "year", STEP[match[1] ?? ""] ?? 0));
  const spans = [...text.matchAll(AGO_OR_IN)].flatMap((match) => countedSpan(match, today));
  const all = [...days.map(dayParts), ...months.map(monthParts), ...years.map(yearParts), ...spans];
  return {
    numbers: new Set([...all.flatMap((parts) => parts.numbers), ...numbersOfMonths(text)]),
    names: new Set([...all.flatMap((parts) => parts.names), ...namesOfMonthNumbers(text)]),
    day: new Set(days.map(Number)).size === 1 ? (days[0] ?? null) : null,
  };
}

/** A day written as YYYY-MM-DD, also with a time after it; null when it is no such thing. */
export function parseDay(text: string): Date | null {
  const match = /^\s*(\d{4})-(\d{2})-(\d{2})(?:$|[T\s])/.exec(text);
  const day = match ? new Date(`${match[1]}-${match[2]}-${match[3]}T00:00:00Z`) : null;
  return day && !Number.isNaN(day.getTime()) && day.toISOString().startsWith(`${match?.[1]}-${match?.[2]}-${match?.[3]}`) ? day : null;
}

/** The moment a day is over. */
export function endOfDay(day: Date): Date {
  return shifted(day, "day", 1);
}

interface Parts {
  numbers: string[];
  names: string[];
}

type Unit = "day" | "month" | "year";

const STEP: Record<string, number> = { this: 0, next: 1, last: -1 };

function relativeDays(text: string, today: Date): Date[] {
  const steps: [RegExp, number][] = [
    [/\b(?:today|tonight|this (?:morning|afternoon|evening))\b/, 0],
    [/(?<!\bafter )\btomorrow\b/, 1],
    [/\bday after tomorrow\b/, 2],
    [/(?<!\bbefore )\byesterday\b|\blast night\b/, -1],
    [/\bday before yesterday\b/, -2],
  ];
  return steps.flatMap(([pattern, step]) => (pattern.test(text) ? [shifted(today, "day", step)] : []));
}

const AGO_OR_IN = /\b(in )?([a-z]+|\d{1,4})[ -](day|week|month|year)s?( ago)?\b/g;

/** Days counted from today: "in 3 days", "2 weeks ago". */
function countedDays(text: string, today: Date): Date[] {
  return [...text.matchAll(AGO_OR_IN)].flatMap((match) => {
    const step = stepOf(match);
    const unit = match[3];
    return step === null || (unit !== "day" && unit !== "week") ? [] : [shifted(today, "day", unit === "week" ? 7 * step : step)];
  });
}

/** Months and years counted from now: "2 years ago" is a year, no day. */
function countedSpan(match: RegExpExecArray, today: Date): Parts[] {
  const step = stepOf(match);
  if (step === null) {
    return [];
  }
  return match[3] === "year"
    ? [yearParts(shifted(today, "year", step))]
    : match[3] === "month"
      ? [monthParts(shifted(today, "month", step))]
      : [];
}

function stepOf(match: RegExpExecArray): number | null {
  const [, ahead, count = "", , ago] = match;
  const [number] = /^an?$/.test(count) ? ["1"] : numbersIn(count);
  if (number === undefined || Boolean(ahead) === Boolean(ago) || Number(number) > 1_000) {
    return null;
  }
  return ago ? -Number(number) : Number(number);
}

/** "Monday, 2026-11-23", in UTC. */
export function dayInWords(day: Date): string {
  const name = WEEKDAYS[day.getUTCDay()] ?? "";
  return `${name.charAt(0).toUpperCase()}${name.slice(1)}, ${day.toISOString().slice(0, 10)}`;
}

const WEEKDAYS = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];
const MONTHS = "january february march april may june july august september october november december".split(" ");

/** "until Friday", said on a Friday, means the one in a week. */
function nextWeekdays(text: string, today: Date): Date[] {
  return [...text.matchAll(/\b(?:until|till|til|by|on|this|through) (\w+day)\b/g)].flatMap((match) => {
    const weekday = WEEKDAYS.indexOf(match[1] ?? "");
    return weekday < 0 ? [] : [shifted(today, "day", ((weekday - today.getUTCDay() + 6) % 7) + 1)];
  });
}

/** The month of "5 March" or "March 5th" may be written as 3. */
function numbersOfMonths(text: string): string[] {
  return MONTHS.flatMap((month, index) => {
    const name = `${month.slice(0, 3)}(?:${month.slice(3)})?\\b`;
    return new RegExp(`\\d(?:st|nd|rd|th)?,? (?:of )?${name}|\\b${name}\\.?,? \\d`).test(text) ? [String(index + 1)] : [];
  });
}

/** "5/3/1990" may be written with March or May. */
function namesOfMonthNumbers(text: string): string[] {
  return [...text.matchAll(/\b\d{1,4}[./-]\d{1,2}[./-]\d{1,4}\b/g)]
    .flatMap((match) => match[0].split(/[./-]/))
    .flatMap((number) => MONTHS[Number(number) - 1] ?? []);
}

function shifted(day: Date, unit: Unit, by: number): Date {
  const year = day.getUTCFullYear() + (unit === "year" ? by : 0);
  const month = day.getUTCMonth() + (unit === "month" ? by : 0);
  const lastOfMonth = new Date(Date.UTC(year, month + 1, 0)).getUTCDate();
  const date = unit === "day" ? day.getUTCDate() + by : Math.min(day.getUTCDate(), lastOfMonth);
  return new Date(Date.UTC(year, month, date));
}

function dayParts(day: Date): Parts {
  const { numbers, names } = monthParts(day);
  return { numbers: [...numbers, String(day.getUTCDate())], names: [...names, WEEKDAYS[day.getUTCDay()] ?? ""] };
}

function monthParts(day: Date): Parts {
  return { numbers: [String(day.getUTCFullYear()), String(day.getUTCMonth() + 1)], names: [MONTHS[day.getUTCMonth()] ?? ""] };
}

function yearParts(day: Date): Parts {
  return { numbers: [String(day.getUTCFullYear())], names: [] };
}
