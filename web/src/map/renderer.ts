import type { MapCamera } from "./camera";

/** Draws points: with WebGL2, or on a canvas where there is none. */
export interface Renderer {
  readonly name: "WebGL2" | "canvas";
  /** Three coordinates for each point. */
  setPositions(positions: Float32Array): void;
  /** Red, green, blue and opacity of each point; opacity 0 hides it. */
  setColours(colours: Uint8Array): void;
  /** @param moving whether the view changes, so that fewer points may be drawn to keep up. */
  draw(camera: MapCamera, diameter: number, moving: boolean): void;
  resize(width: number, height: number, ratio: number): void;
  /** The drawing, valid until the browser shows the next frame. */
  readonly canvas: HTMLCanvasElement;
  dispose(): void;
}

/** An even sample of every length comes first in this order, so that a part of it stands for all. */
export function shuffled(n: number): Uint32Array {
  const order = Uint32Array.from({ length: n }, (_, i) => i);
  let state = 2463534242;
  for (let i = n - 1; i > 0; i--) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    const j = (state >>> 0) % (i + 1);
    const kept = order[i];
    order[i] = order[j];
    order[j] = kept;
  }
  return order;
}

/** Points that are drawn in any case. */
const FEWEST = 10_000;

/** How many points can be drawn while the view moves: as many as keep the time between frames. */
export class Budget {
  private last: number | null = null;
  private count: number;

  constructor(
    private readonly n: number,
    private readonly milliseconds = 24,
  ) {
    this.count = Math.min(n, 100_000);
  }

  /** Say that a frame is drawn now, and learn how many points to draw. */
  frame(moving: boolean): number {
    if (!moving) {
      this.last = null;
      return this.n;
    }
    const now = performance.now();
    if (this.last !== null) {
      const factor = this.milliseconds / Math.max(1, now - this.last);
      const wanted = this.count * (factor < 0.9 ? Math.max(0.4, factor) : factor > 1.3 ? 1.15 : 1);
      this.count = Math.round(Math.min(this.n, Math.max(Math.min(this.n, FEWEST), wanted)));
    }
    this.last = now;
    return this.count;
  }
}
