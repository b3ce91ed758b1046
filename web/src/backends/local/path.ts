import type { Density } from "../backend";
import { holeAt } from "./density";

/** How many times as much a step costs in a hole. */
const HOLE = 10;
/** Points of a way for each that is returned, before it is smoothed. */
const FINE = 16;
/** How far a way is smoothed, as shares of its length. */
const WIDTHS = [0.08, 0.04, 0.02, 0.01, 0];

/** Return n codes in equal steps on the straight line between two. */
export function straight(from: number[], to: number[], n: number): number[][] {
  return Array.from({ length: n }, (_, k) => from.map((x, i) => x + (k / (n - 1)) * (to[i] - x)));
}

/**
 * Return n codes on the shortest way over the cells of a density of two components, where the length of a step is divided
 * by the root of the density there, and is ten times as much in a hole; in equal steps, smoothed as far as that leads through
 * no more holes. The straight way is taken where it has fewer of them.
 */
export function along(density: Density, from: number[], to: number[], n: number): number[][] {
  const { low, high, size } = density;
  const step = [0, 1].map((k) => (high[k] - low[k]) / (size - 1));
  const cell = (code: number[]) =>
    [0, 1].map((k) => Math.min(Math.max(Math.round((code[k] - low[k]) / step[k]), 0), size - 1));
  const place = (i: number) => [low[0] + (i % size) * step[0], low[1] + Math.floor(i / size) * step[1]];
  const [start, stop] = [from, to].map((code) => cell(code)[1] * size + cell(code)[0]);
  const before = cheapest(density, start, stop, step);
  const corners = [to];
  for (let i = before[stop]; i >= 0 && i !== start; i = before[i]) corners.push(place(i));
  corners.push(from);
  const fine = even(corners.reverse(), FINE * n);
  const ways = [...WIDTHS.map((width) => even(smooth(fine, width), n)), straight(from, to, n)];
  const holes = ways.map((way) => {
    const [few, many] = [way, even(way, FINE * n)].map((codes) => codes.filter((code) => holeAt(density, code)).length);
    return few * FINE * n + Math.min(many, FINE * n - 1);
  });
  return ways[holes.indexOf(Math.min(...holes))]; // the smoothest of those that are equal
}

/** Dijkstra's algorithm over the eight neighbours of each cell: the cell before each on the way from the start. */
function cheapest({ values, hole, size }: Density, start: number, stop: number, step: number[]): Int32Array {
  const middle = Float32Array.from(values).sort()[values.length >> 1];
  const rare = values.map((value, i) => Math.exp(-Math.min(Math.max((value - middle) / 2, -50), 50)) * (hole[i] ? HOLE : 1));
  const cost = new Float64Array(values.length).fill(Infinity);
  const before = new Int32Array(values.length).fill(-1);
  const heap = new Heap();
  cost[start] = 0;
  heap.push(start, 0);
  for (let next = heap.pop(); next; next = heap.pop()) {
    const [i, paid] = next;
    if (i === stop) break;
    if (paid > cost[i]) continue;
    const [x, y] = [i % size, Math.floor(i / size)];
    for (let v = Math.max(y - 1, 0); v <= Math.min(y + 1, size - 1); v++)
      for (let u = Math.max(x - 1, 0); u <= Math.min(x + 1, size - 1); u++) {
        const j = v * size + u;
        const length = Math.hypot((u - x) * step[0], (v - y) * step[1]);
        const total = paid + (length * (rare[i] + rare[j])) / 2;
        if (total < cost[j]) {
          cost[j] = total;
          before[j] = i;
          heap.push(j, total);
        }
      }
  }
  return before;
}

/** A binary heap, the least first. */
class Heap {
  private readonly items: [number, number][] = [];

  push(item: number, key: number): void {
    const { items } = this;
    let i = items.push([item, key]) - 1;
    for (let up = (i - 1) >> 1; i > 0 && items[up][1] > items[i][1]; i = up, up = (i - 1) >> 1)
      [items[i], items[up]] = [items[up], items[i]];
  }

  pop(): [number, number] | undefined {
    const { items } = this;
    const least = items[0];
    const last = items.pop();
    if (items.length && last) {
      items[0] = last;
      for (let i = 0; ; ) {
        let down = 2 * i + 1;
        if (down >= items.length) break;
        if (down + 1 < items.length && items[down + 1][1] < items[down][1]) down++;
        if (items[down][1] >= items[i][1]) break;
        [items[i], items[down]] = [items[down], items[i]];
        i = down;
      }
    }
    return least;
  }
}

/** Average each point with those around it, up to a share of the length away; the ends stay. */
function smooth(line: number[][], share: number): number[][] {
  const reach = Math.round(share * line.length);
  return line.map((_, k) => {
    const width = Math.min(reach, k, line.length - 1 - k);
    const around = line.slice(k - width, k + width + 1);
    return [0, 1].map((axis) => around.reduce((sum, code) => sum + code[axis], 0) / around.length);
  });
}

/** Return n points in equal steps on a line through points. */
function even(line: number[][], n: number): number[][] {
  const at = [0];
  for (let k = 1; k < line.length; k++) at.push(at[k - 1] + Math.hypot(line[k][0] - line[k - 1][0], line[k][1] - line[k - 1][1]));
  const whole = at[at.length - 1];
  let k = 0;
  return Array.from({ length: n }, (_, i) => {
    const wanted = (i / (n - 1)) * whole;
    while (k < line.length - 2 && at[k + 1] < wanted) k++;
    const t = at[k + 1] > at[k] ? Math.min((wanted - at[k]) / (at[k + 1] - at[k]), 1) : 0;
    return [0, 1].map((axis) => line[k][axis] + t * (line[k + 1][axis] - line[k][axis]));
  });
}
