import { number } from "../../decoder/text";
import { day, DAYS } from "../../format";
import { NO_LEVEL, type Field, type Selected } from "../backend";
import { adjusted, chiSquared, studentT } from "./tests";

export interface Values {
  field: Field;
  values: ArrayLike<number>;
}
type Effect = Selected["columns"][number] & { p: number | null };

const SHOWN = 6;

/** Return what tells the rows of a selection from the others; typical rows have codes near the mean of theirs. */
export function describeSelection(
  rows: Uint32Array,
  n: number,
  label: Values | null,
  columns: Values[],
  points: Float32Array,
): Selected {
  const inside = new Uint8Array(n);
  for (const row of rows) inside[row] = 1;
  const compared = label?.field.kind === "number" ? [...columns, label] : columns;
  const found = compared.map((one) => (one.field.kind === "number" ? numbersOf(one, inside) : categoriesOf(one, inside)));
  const tested = found.filter((one) => one.p !== null);
  adjusted(tested.map((one) => one.p!)).forEach((q, i) => (tested[i].q = q));
  const order = byDistance(rows, points, points.length / n);
  return {
    count: rows.length,
    labels: label?.field.kind === "category" ? labelsOf(label, inside) : [],
    typical: order.slice(0, SHOWN),
    odd: order.slice(Math.max(order.length - SHOWN, SHOWN)).reverse(),
    columns: found.sort((a, b) => Math.abs(b.effect ?? 0) - Math.abs(a.effect ?? 0)).map(({ p: _, ...one }) => one),
  };
}

function labelsOf({ field, values }: Values, inside: Uint8Array): Selected["labels"] {
  const [outer, inner] = counts(values, inside, field.levels!.length);
  const [outsides, insides] = [outer, inner].map((side) => side.reduce((sum, count) => sum + count, 0));
  return field
    .levels!.map((name, i) => ({ name, inside: inner[i] / (insides || 1), outside: outer[i] / (outsides || 1), count: inner[i] }))
    .sort((a, b) => b.count - a.count);
}

function counts(values: ArrayLike<number>, inside: Uint8Array, levels: number): [number[], number[]] {
  const found: [number[], number[]] = [new Array(levels).fill(0), new Array(levels).fill(0)];
  for (let i = 0; i < values.length; i++) if (values[i] !== NO_LEVEL) found[inside[i]][values[i]]++;
  return found;
}

/** Cyclic numbers within half a period of their mean direction. */
function unwound(values: ArrayLike<number>, period: number): Float64Array {
  const turn = (2 * Math.PI) / period;
  const known = Array.from(values).filter(Number.isFinite);
  const [up, across] = [Math.sin, Math.cos].map((f) => known.reduce((sum, value) => sum + f(turn * value), 0));
  const middle = Math.atan2(up, across) / turn;
  const low = middle - period * Math.floor(middle / period) - period / 2;
  return Float64Array.from(values, (value) => value - period * Math.floor((value - low) / period));
}

/** Standardised difference of the means, and Welch's test. */
function numbersOf({ field, values: wound }: Values, inside: Uint8Array): Effect {
  const values = field.cycle ? unwound(wound, field.cycle[1]) : wound;
  const sides = [0, 1].map((side) => {
    let n = 0;
    let mean = 0;
    let squares = 0;
    for (let i = 0; i < values.length; i++)
      if (inside[i] === side && Number.isFinite(values[i])) {
        const off = values[i] - mean;
        mean += off / ++n;
        squares += off * (values[i] - mean);
      }
    return { n, mean, squares };
  });
  const [b, a] = sides;
  const words = ({ n, mean: centre, squares }: typeof a) => {
    let mean = centre;
    if (!n) return "none";
    const spread = n > 1 ? ` ± ${number(Math.sqrt(squares / n), 2)}` : "";
    if (field.cycle) mean -= field.cycle[1] * Math.floor((mean - field.cycle[0]) / field.cycle[1]);
    if (field.unit === DAYS) return `${day(Math.round(mean))}${spread}${spread && " days"}`;
    return `${number(mean)}${spread}${field.unit ? ` ${field.unit}` : ""}`;
  };
  const blank = { name: field.name, kind: "number" as const, effect: null, q: null, p: null, inside: words(a), outside: words(b) };
  if (!a.n || !b.n) return blank;
  const all = a.n + b.n;
  const within = a.squares + b.squares;
  const pooled = Math.sqrt(within / Math.max(1, all - 2)) || (Math.abs(a.mean - b.mean) * Math.sqrt(a.n * b.n)) / all;
  const effect = pooled ? (a.mean - b.mean) / pooled : 0;
  if (Math.min(a.n, b.n) < 2 || !within) return { ...blank, effect };
  const [u, v] = [a, b].map(({ n, squares }) => squares / (n - 1) / n);
  const degrees = (u + v) ** 2 / (u ** 2 / (a.n - 1) + v ** 2 / (b.n - 1));
  return { ...blank, effect, p: studentT((a.mean - b.mean) / Math.sqrt(u + v), degrees) };
}

/** Cramer's V, and Pearson's chi-squared test. */
function categoriesOf({ field, values }: Values, inside: Uint8Array): Effect {
  const names = field.levels!;
  const [outer, inner] = counts(values, inside, names.length);
  const words = (side: number[]) => {
    const all = side.reduce((sum, count) => sum + count, 0);
    const most = side.indexOf(Math.max(...side));
    return all ? `${names[most]} ${rounded((100 * side[most]) / all)}%` : "none";
  };
  const blank = { name: field.name, kind: "category" as const, effect: null, q: null, p: null, inside: words(inner), outside: words(outer) };
  const sums = [outer, inner].map((side) => side.reduce((sum, count) => sum + count, 0));
  const n = sums[0] + sums[1];
  const there = names.flatMap((_, i) => (outer[i] + inner[i] > 0 ? [i] : []));
  if (!sums[0] || !sums[1]) return blank;
  if (there.length < 2) return { ...blank, effect: 0 };
  let statistic = 0;
  for (const i of there)
    [outer, inner].forEach((side, k) => {
      const expected = ((outer[i] + inner[i]) * sums[k]) / n;
      statistic += (side[i] - expected) ** 2 / expected;
    });
  return { ...blank, effect: Math.sqrt(statistic / n), p: chiSquared(statistic, there.length - 1) };
}

/** The nearest whole number; of two the even one, as Python rounds. */
function rounded(value: number): number {
  const up = Math.round(value);
  return up - value === 0.5 && up % 2 ? up - 1 : up;
}

function byDistance(rows: Uint32Array, points: Float32Array, d: number): number[] {
  const mean = Array.from({ length: d }, (_, k) => rows.reduce((sum, row) => sum + points[row * d + k], 0) / rows.length);
  const off = new Map(
    Array.from(rows, (row) => [row, mean.reduce((sum, m, k) => sum + (points[row * d + k] - m) ** 2, 0)]),
  );
  return Array.from(rows).sort((a, b) => off.get(a)! - off.get(b)!);
}
