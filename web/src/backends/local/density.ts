import { numbers, unpack, type Packed } from "../../decoder/arrays";
import { clip } from "../../decoder/items";
import type { Density } from "../backend";

/** Holes have one bit a cell. */
export type PackedDensity = Density<Packed, Packed>;

export async function readDensity({ values, hole, ...grid }: PackedDensity): Promise<Density> {
  const [read, bits] = await Promise.all([numbers(values), unpack(hole)]);
  const holes = Uint8Array.from({ length: grid.size * grid.size }, (_, i) => (bits[i >> 3] >> (7 - (i & 7))) & 1);
  return { ...grid, values: read, hole: holes };
}

/** Exchange the two components. */
export function transposed({ low, high, size, values, hole, levels }: Density): Density {
  const turn = (i: number) => (i % size) * size + Math.floor(i / size);
  return {
    low: [low[1], low[0]],
    high: [high[1], high[0]],
    size,
    values: values.map((_, i) => values[turn(i)]),
    hole: hole.map((_, i) => hole[turn(i)]),
    levels,
  };
}

/** Place of a code in cells, from 0 to size - 1; null beyond the grid. */
function cellOf({ low, high, size }: Density, code: number[]): [number, number] | null {
  const place = [0, 1].map((k) => ((code[k] - low[k]) / (high[k] - low[k])) * (size - 1));
  return place.every((x) => x >= 0 && x <= size - 1) ? [place[0], place[1]] : null;
}

/** Log-density at a code of two components, between the cells around it; null beyond the grid, where it is not known. */
export function densityAt(density: Density, code: number[]): number | null {
  const place = cellOf(density, code);
  if (!place) return null;
  const [x, y] = place.map((at) => Math.min(Math.floor(at), density.size - 2));
  const [u, v] = [place[0] - x, place[1] - y];
  const at = (i: number, j: number) => density.values[(y + j) * density.size + x + i];
  return (1 - v) * ((1 - u) * at(0, 0) + u * at(1, 0)) + v * ((1 - u) * at(0, 1) + u * at(1, 1));
}

/** Whether no row lies there; beyond the grid none does. */
export function holeAt(density: Density, code: number[]): boolean {
  const place = cellOf(density, code);
  if (!place) return true;
  const [x, y] = place.map((at) => clip(Math.round(at), 0, density.size - 1));
  return density.hole[y * density.size + x] === 1;
}
