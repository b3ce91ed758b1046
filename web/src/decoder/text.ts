/** Cells as text, as Python's explorer writes them. */

import { DAY } from "../format";

/** How the cells of a column are written: see `export_items.py`. */
export type TextForm =
  | { as: "number" | "time" | "span" }
  | { as: "decimals"; places: number }
  | { as: "date"; days: boolean; length: number }
  | {
      as: "form";
      days: boolean;
      kind: "number" | "date" | "duration" | "boolean";
      prefix: string;
      suffix: string;
      thousands: string;
      decimal: string;
      places: number;
      fixed: boolean;
      accounting: boolean;
      outside: boolean;
      pattern: string;
      padded: boolean;
      hours: boolean | null;
      words: string[];
    };

export function written(form: TextForm, value: number): string {
  switch (form.as) {
    case "decimals":
      return grouped(value, form.places).replace("-", "−");
    case "date":
      return new Date(milliseconds(value, form.days)).toISOString().slice(0, form.length).replace("T", " ");
    case "time":
      return duration(value);
    case "span":
      return span(value);
    case "form":
      if (form.kind === "date") return dated(form, value);
      if (form.kind === "duration") return duration(value);
      if (form.kind === "boolean") return form.words[Number(value >= 0.5)];
      return formed(form, value);
    default:
      return number(value);
  }
}

/** A number in three digits, with a typographic minus and no exponent below a million. */
export function number(value: number, digits = 3): string {
  const size = Math.abs(value);
  if (size >= (digits < 4 ? 10 ** digits - 0.5 : 1000) && size < 1e6) return grouped(value, 0).replace("-", "−");
  if (value === 0 || !Number.isFinite(value)) return value === 0 ? "0" : String(value);
  const [mantissa, exponent] = value.toExponential(digits - 1).split("e");
  const power = Number(exponent);
  if (power >= -4 && power < digits) return String(Number(value.toPrecision(digits))).replace("-", "−");
  const sign = power < 0 ? "−" : "+";
  return `${Number(mantissa)}e${sign}${String(Math.abs(power)).padStart(2, "0")}`.replace("-", "−");
}

function grouped(value: number, places: number): string {
  const [whole, rest] = Math.abs(value).toFixed(places).split(".");
  const digits = whole.replace(/\B(?=(\d{3})+$)/g, ",") + (rest ? `.${rest}` : "");
  return value < 0 && /[1-9]/.test(digits) ? `-${digits}` : digits;
}

type Form = Extract<TextForm, { as: "form" }>;

function formed(form: Form, value: number): string {
  let digits = grouped(Math.abs(value), form.places);
  if (!form.fixed && digits.includes(".")) digits = digits.replace(/\.?0+$/, "");
  const negative = value < 0 && /[1-9]/.test(digits);
  digits = digits.replace(/[,.]/g, (mark) => (mark === "," ? form.thousands : form.decimal));
  const whole = `${form.prefix}${digits}${form.suffix}`;
  if (!negative) return whole;
  if (!form.accounting) return `-${whole}`;
  return form.outside ? `${form.prefix}(${digits})${form.suffix}` : `(${whole})`;
}

function milliseconds(days: number, whole: boolean): number {
  const most = 8.64e15;
  return Math.min(Math.max((whole ? Math.round(days) : days) * DAY, -most), most);
}

const padded = (n: number, size = 2): string => String(n).padStart(size, "0");

const MONTHS = "January February March April May June July August September October November December".split(" ");
const DAYS = "Sunday Monday Tuesday Wednesday Thursday Friday Saturday".split(" ");

/** The pattern of `strftime`, for the codes that columns of dates have. */
function dated(form: Form, days: number): string {
  const time = new Date(milliseconds(days, form.days));
  const hours = form.hours ?? form.padded;
  const half = ((time.getUTCHours() + 11) % 12) + 1;
  const codes: Record<string, () => string> = {
    Y: () => padded(time.getUTCFullYear(), 4),
    y: () => padded(time.getUTCFullYear() % 100),
    m: () => padded(time.getUTCMonth() + 1, form.padded ? 2 : 1),
    d: () => padded(time.getUTCDate(), form.padded ? 2 : 1),
    B: () => MONTHS[time.getUTCMonth()],
    b: () => MONTHS[time.getUTCMonth()].slice(0, 3),
    A: () => DAYS[time.getUTCDay()],
    a: () => DAYS[time.getUTCDay()].slice(0, 3),
    H: () => padded(time.getUTCHours(), hours ? 2 : 1),
    I: () => padded(half, hours ? 2 : 1),
    M: () => padded(time.getUTCMinutes()),
    S: () => padded(time.getUTCSeconds()),
    f: () => padded(time.getUTCMilliseconds() * 1000, 6),
    p: () => (time.getUTCHours() < 12 ? "AM" : "PM"),
    q: () => String(Math.ceil((time.getUTCMonth() + 1) / 3)),
    z: () => "+0000",
    Z: () => "UTC",
    "%": () => "%",
  };
  return form.pattern.replace(/%(.)/g, (code, letter: string) => codes[letter]?.() ?? code);
}

/** A span of time as Python writes it. */
function span(seconds: number): string {
  const [day, hour, minute, second] = [864e8, 36e8, 6e7, 1e6];
  const all = Math.round(seconds * second);
  const days = Math.floor(all / day);
  const rest = all - days * day;
  const clock = `${Math.floor(rest / hour)}:${padded(Math.floor(rest / minute) % 60)}:${padded(Math.floor(rest / second) % 60)}`;
  const fraction = rest % second ? `.${padded(rest % second, 6)}` : "";
  return `${days ? `${days} day${Math.abs(days) === 1 ? "" : "s"}, ` : ""}${clock}${fraction}`;
}

/** Seconds as hours, minutes and seconds. */
function duration(seconds: number): string {
  const rest = Math.round(Math.abs(seconds));
  const sign = seconds < 0 && rest ? "−" : "";
  return `${sign}${padded(Math.floor(rest / 3600))}:${padded(Math.floor(rest / 60) % 60)}:${padded(rest % 60)}`;
}
