import { contours } from "d3-contour";
import type { Density } from "../backends/backend";

/** Closed lines in coordinates of the map. */
export type Lines = [number, number][][];

export interface Shapes {
  levels: { value: number; lines: Lines }[];
  holes: Lines;
  /** Corners of the grid; beyond it no rows lie. */
  low: [number, number];
  high: [number, number];
}

/** Lines of equal log-density, and the outlines of holes. */
export function shapes(density: Density): Shapes {
  const { size, low, high, values, hole } = density;
  const floor = Math.min(...density.levels) - 50;
  const finite = Array.from(values, (value) => (Number.isFinite(value) ? value : floor));
  const place = ([x, y]: number[]): [number, number] => [
    low[0] + ((x - 0.5) / (size - 1)) * (high[0] - low[0]),
    low[1] + ((y - 0.5) / (size - 1)) * (high[1] - low[1]),
  ];
  const lines = (grid: number[], threshold: number): Lines =>
    contours().size([size, size]).contour(grid, threshold).coordinates.flatMap((polygon) => polygon.map((ring) => ring.map(place)));
  return {
    low,
    high,
    levels: density.levels.map((value) => ({ value, lines: lines(finite, value) })),
    holes: hole.some(Boolean) ? lines(Array.from(hole), 0.5) : [],
  };
}
