import type { Field } from "./backends/backend";

const whole = new Intl.NumberFormat("en");

/** A count with separators. */
export const count = (n: number): string => whole.format(n);

const short = new Intl.NumberFormat("en", { notation: "compact" });

/** A count where there is little room. */
export const brief = (n: number): string => (n < 10_000 ? count(n) : short.format(n));

/** A count and its noun. */
export const many = (n: number, one: string, more = `${one}s`): string => `${count(n)} ${n === 1 ? one : more}`;

/** A number in as many digits as it takes to tell apart values that lie `step` from each other. */
export function number(value: number | null | undefined, step = Math.abs(value ?? 0) / 100): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  const figures = figuresOf(value, step);
  if ((size >= 1e6 && figures <= 6) || size >= 1e15 || (size > 0 && size < 1e-4)) return exponential(value, figures).replaceAll("-", "−");
  const digits = step > 0 ? Math.min(4, Math.max(0, Math.ceil(-Math.log10(step)))) : 0;
  const rounded = Number(value.toFixed(digits));
  return rounded.toLocaleString("en", { maximumFractionDigits: digits }).replace("-", "−");
}

/** A number as people type it, in as many digits as it takes to tell apart values that lie `step` from each other. */
export function typed(value: number, step: number): string {
  const decimals = Math.max(0, Math.ceil(-Math.log10(step)));
  if (decimals <= 6 && Math.abs(value) < 1e9) return value.toFixed(decimals);
  return exponential(value, figuresOf(value, step));
}

/** How many decimals an exponent needs beside it, where numbers lie `step` from each other. */
const figuresOf = (value: number, step: number): number => (value && step > 0 ? Math.max(2, Math.ceil(Math.log10(Math.abs(value) / step))) : 2);

const exponential = (value: number, figures: number): string => value.toExponential(Math.min(6, figures)).replace("e+", "e");

export const percent = (share: number): string => `${number(100 * share, share > 0 && share < 0.01 ? 0.01 : 1)} %`;

/** The unit of dates. */
export const DAYS = "days since 1970";

/** Milliseconds of a day. */
export const DAY = 86_400_000;

/** The date of a number of days since 1970. */
export const day = (value: number): string => new Date(Math.min(1e8, Math.max(-1e8, Math.floor(value))) * DAY).toISOString().slice(0, 10);

/** The days since 1970 of a date; NaN where it is none. */
export const days = (text: string): number => Date.parse(text) / DAY;

/** A value of a field with its unit. */
export function inUnit(field: Field, value: number): string {
  if (field.unit === DAYS) return day(value);
  const step = field.low !== null && field.high !== null ? (field.high - field.low) / 200 : undefined;
  return field.unit ? `${number(value, step)} ${field.unit}` : number(value, step);
}

/** How a component is called. */
export const component = (index: number): string => `z${subscript(index + 1)}`;

const subscript = (n: number): string => [...String(n)].map((digit) => String.fromCharCode(0x2080 + Number(digit))).join("");
