import { numbers, type Packed } from "../../decoder/arrays";
import type { DecodedRow } from "../../decoder/decoder";
import { clip } from "../../decoder/items";

/** Rows that Python decoded on a grid over two components, row by row along the second. */
export interface PackedGrid {
  x: number;
  y: number;
  size: number;
  low: [number, number];
  high: [number, number];
  values: Packed;
}

/** Stands for a decoder where the page cannot compute it: returns the row that was decoded nearest to a code. */
export async function openGrid({ x, y, size, low, high, values }: PackedGrid): Promise<(z: ArrayLike<number>) => DecodedRow> {
  const rows = await numbers(values);
  const width = rows.length / (size * size);
  const cell = (value: number, k: number) => {
    const place = ((value - low[k]) / (high[k] - low[k] || 1)) * (size - 1);
    return clip(Math.round(place), 0, size - 1);
  };
  return (z) => {
    const start = (cell(z[y], 1) * size + cell(z[x], 0)) * width;
    return { values: Float64Array.from(rows.subarray(start, start + width)), probability: new Float64Array(width).fill(NaN) };
  };
}
