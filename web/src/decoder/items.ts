import type { Cell, Item, ItemKind } from "../backends/backend";
import type { DecodedRow } from "./decoder";
import { number, written, type TextForm } from "./text";

interface ColumnForm {
  /** Field with the values of the rows. */
  key: string;
  low: number;
  high: number;
  levels: string[] | null;
  whole?: boolean;
  text: TextForm | null;
  /** Index among the decoded values. */
  place: number | null;
  /** What the column follows from: an index, and its value for each level there. */
  from?: { place: number; values: number[] } | null;
  constant?: boolean;
}

interface Bounds {
  decimals: number | null;
  low: number | null;
  high: number | null;
  period: number;
}

/** How decoded values are shown: see `export_items.py`. */
export type ItemForm =
  | { kind: "picture"; low: number; high: number }
  | { kind: "table"; columns: ColumnForm[]; within: Bounds[] | null }
  | { kind: "line" };

/** Return the item of decoded values. */
export function itemOf(form: ItemForm, kind: ItemKind, row: DecodedRow): Item {
  if (form.kind === "line") return { values: Array.from(row.values) };
  if (form.kind === "picture") return { pixels: pixelsOf(row.values, form.low, form.high, kind) };
  const values = form.within ? row.values.map((value, i) => within(form.within![i], value)) : row.values;
  return {
    cells: form.columns.map((column) => cellOf(column, valueOf(column, values), chanceOf(column, row))),
  };
}

/** Return a cell; one without a value has no text. */
export function cellOf(column: ColumnForm, value: number, p: number | null = null): Cell {
  if (Number.isNaN(value)) return { text: "", at: null, p: null };
  if (column.levels) {
    const most = column.levels.length - 1;
    const level = clip(Math.round(value), 0, most);
    return { text: column.levels[level], at: level / Math.max(1, most), p };
  }
  const span = column.high - column.low;
  const at = clip((value - column.low) / (span > 0 ? span : 1), 0, 1);
  const shown = column.whole ? Math.round(value) : value;
  return { text: column.text ? written(column.text, shown) : number(shown), at, p };
}

/** Return the value of a column of the item from those of the model. */
export function valueOf(column: ColumnForm, values: ArrayLike<number>): number {
  if (!column.from) return values[column.place!];
  const known = column.from.values;
  if (column.constant) return known[0];
  const level = values[column.from.place];
  return Number.isNaN(level) ? NaN : known[clip(Math.round(level), 0, known.length - 1)];
}

function chanceOf(column: ColumnForm, row: DecodedRow): number | null {
  const p = column.place === null ? NaN : row.probability[column.place];
  return Number.isNaN(p) ? null : p;
}

function within(bounds: Bounds, value: number): number {
  if (bounds.decimals !== null) value = Number(value.toFixed(bounds.decimals));
  if (bounds.period) {
    const start = bounds.low ?? 0;
    const rest = (value - start) % bounds.period;
    return start + (rest < 0 ? rest + bounds.period : rest);
  }
  return clip(value, bounds.low ?? -Infinity, bounds.high ?? Infinity);
}

function pixelsOf(values: Float64Array, low: number, high: number, kind: ItemKind): Uint8Array {
  const scale = 255 / Math.max(high - low, 1e-12);
  const pixels = Uint8Array.from(values, (value) => clip(Math.round((value - low) * scale), 0, 255));
  if (kind.kind !== "picture" || kind.channels !== 3) return pixels;
  const depth = pixels.length / (kind.width * kind.height);
  return depth === 3 ? pixels : pixels.filter((_, i) => i % depth < 3);
}

export function clip(value: number, low: number, high: number): number {
  return Math.min(Math.max(value, low), high);
}
