// Numbers and times as people read them.

const whole = new Intl.NumberFormat("en-US");
const short = new Intl.NumberFormat("en-US", { notation: "compact", maximumFractionDigits: 1 });

/** Return a number with separators. */
export const number = (value) => whole.format(Math.round(value));

/** Return a number in at most five characters. */
export const compact = (value) => {
  if (value !== 0 && Math.abs(value) < 10 && value % 1) return value.toFixed(1);
  return short.format(value);
};

/** Return bytes with a unit. */
export function bytes(value) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) { value /= 1000; unit += 1; }
  return `${value < 10 && unit ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

/** Return seconds as milliseconds or seconds. */
export const lag = (value) => value < 1
  ? `${value < 0.01 ? (value * 1000).toFixed(1) : Math.round(value * 1000)} ms`
  : `${value.toFixed(1)} s`;

/** Return a share as a percentage. */
export const percent = (value) => `${value < 10 ? value.toFixed(1) : Math.round(value)} %`;

/** Return a span of seconds in its two greatest units. */
export function span(seconds) {
  seconds = Math.max(0, Math.round(seconds));
  const parts = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  const found = [];
  for (const [unit, size] of parts) {
    const count = Math.floor(seconds / size);
    seconds -= count * size;
    if (count || (unit === "s" && !found.length)) found.push(`${count} ${unit}`);
    if (found.length === 2) break;
  }
  return found.join(" ");
}

/** Return a time of day. */
export const clock = (date = new Date()) => date.toLocaleTimeString("en-GB");

/** Return a point in time (seconds since 1970) as date and time. */
export const moment = (seconds) => new Date(seconds * 1000).toLocaleString("sv-SE");

/** Return a count with the right form of its noun. */
export const plural = (count, one, many = `${one}s`) => `${number(count)} ${count === 1 ? one : many}`;
