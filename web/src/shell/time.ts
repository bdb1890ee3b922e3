const UNITS: [Intl.RelativeTimeFormatUnit, number][] = [
  ["year", 31_536_000],
  ["month", 2_592_000],
  ["day", 86_400],
  ["hour", 3_600],
  ["minute", 60],
];
const FORMAT = new Intl.RelativeTimeFormat("en", { numeric: "auto" });

/** How long ago a moment was, in words. */
export function timeAgo(moment: string): string {
  const seconds = (Date.now() - new Date(moment).getTime()) / 1_000;
  const [unit, length] = UNITS.find(([, size]) => seconds >= size) ?? [];
  return unit && length ? FORMAT.format(-Math.round(seconds / length), unit) : "just now";
}
