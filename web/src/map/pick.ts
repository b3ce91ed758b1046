import KDBush from "kdbush";
import type { MapCamera } from "./camera";

/** Which point lies under a pixel, and which lie within a line around them. */
export class Picker {
  private index: KDBush | null = null;

  constructor(
    private readonly positions: Float32Array,
    private readonly spatial: boolean,
  ) {}

  /** Sort the points for `nearest`: half a second for a million. */
  prepare(): void {
    if (this.spatial || this.index) return;
    const n = this.positions.length / 3;
    if (!n) return;
    const index = new KDBush(n, 64, Float32Array);
    for (let i = 0; i < n; i++) index.add(this.positions[3 * i], this.positions[3 * i + 1]);
    this.index = index.finish();
  }

  /** The shown point nearest to a pixel, at most `radius` pixels from it. */
  nearest(camera: MapCamera, x: number, y: number, radius: number, shown: (i: number) => boolean): number | null {
    if (this.spatial) return this.front(camera, x, y, radius, shown);
    if (!this.index) return null;
    const [px, py] = camera.place(x, y);
    let found: number | null = null;
    let least = Infinity;
    for (const i of this.index.within(px, py, radius / camera.pose.scale)) {
      const away = (this.positions[3 * i] - px) ** 2 + (this.positions[3 * i + 1] - py) ** 2;
      if (away < least && shown(i)) {
        least = away;
        found = i;
      }
    }
    return found;
  }

  /** Of the points near the pixel the one in front. */
  private front(camera: MapCamera, x: number, y: number, radius: number, shown: (i: number) => boolean): number | null {
    const screen = camera.screen();
    const at = new Float64Array(3);
    let found: number | null = null;
    let least = Infinity;
    for (let i = 0; i < this.positions.length / 3; i++) {
      screen(this.positions[3 * i], this.positions[3 * i + 1], this.positions[3 * i + 2], at);
      const away = Math.hypot(at[0] - x, at[1] - y);
      if (away > radius || at[2] <= 0 || !shown(i)) continue;
      const rank = at[2] * (1 + away / radius / 4);
      if (rank < least) {
        least = rank;
        found = i;
      }
    }
    return found;
  }

  /** The shown points within a closed line, given in pixels. */
  within(camera: MapCamera, line: [number, number][], shown: (i: number) => boolean): Uint32Array {
    const screen = camera.screen();
    const at = new Float64Array(3);
    const [left, right] = extent(line.map(([x]) => x));
    const [top, bottom] = extent(line.map(([, y]) => y));
    const rows: number[] = [];
    for (let i = 0; i < this.positions.length / 3; i++) {
      screen(this.positions[3 * i], this.positions[3 * i + 1], this.positions[3 * i + 2], at);
      if (at[0] < left || at[0] > right || at[1] < top || at[1] > bottom || at[2] < 0) continue;
      if (inside(line, at[0], at[1]) && shown(i)) rows.push(i);
    }
    return Uint32Array.from(rows);
  }
}

const extent = (values: number[]): [number, number] => [Math.min(...values), Math.max(...values)];

/** Whether a ray to the right crosses the line an odd number of times. */
function inside(line: [number, number][], x: number, y: number): boolean {
  let odd = false;
  for (let i = 0, j = line.length - 1; i < line.length; j = i++) {
    const [ax, ay] = line[i];
    const [bx, by] = line[j];
    if (ay > y !== by > y && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) odd = !odd;
  }
  return odd;
}
