import type { MapCamera } from "./camera";
import { shuffled, type Renderer } from "./renderer";

/** How many points are drawn while the view moves. */
const MOVING = 20_000;

/** Points as squares on a canvas, for browsers without WebGL2. */
export class CanvasRenderer implements Renderer {
  readonly name = "canvas";
  readonly canvas = document.createElement("canvas");
  private readonly context = this.canvas.getContext("2d")!;
  private readonly order: Uint32Array;
  private positions: Float32Array = new Float32Array(0);
  private colours: Uint8Array = new Uint8Array(0);
  private ratio = 1;

  constructor(n: number) {
    this.order = shuffled(n);
  }

  setPositions(positions: Float32Array): void {
    this.positions = positions;
  }

  setColours(colours: Uint8Array): void {
    this.colours = colours;
  }

  draw(camera: MapCamera, diameter: number, moving: boolean): void {
    const { width, height } = this.canvas;
    const image = this.context.createImageData(width, height);
    const pixels = new Uint32Array(image.data.buffer);
    const colours = new Uint32Array(this.colours.buffer, this.colours.byteOffset, this.colours.length / 4);
    const screen = camera.screen();
    const at = new Float64Array(3);
    const side = Math.max(1, Math.round(0.9 * diameter * this.ratio));
    const shown = moving ? Math.min(MOVING, this.order.length) : this.order.length;
    for (let k = 0; k < shown; k++) {
      const i = this.order[k];
      const colour = colours[i];
      if (colour >>> 24 === 0) continue;
      screen(this.positions[3 * i], this.positions[3 * i + 1], this.positions[3 * i + 2], at);
      const left = Math.round(at[0] * this.ratio - side / 2);
      const top = Math.round(at[1] * this.ratio - side / 2);
      if (left < 0 || top < 0 || left + side > width || top + side > height || at[2] < 0) continue;
      for (let y = top; y < top + side; y++) pixels.fill(colour, y * width + left, y * width + left + side);
    }
    this.context.putImageData(image, 0, 0);
  }

  resize(width: number, height: number, ratio: number): void {
    this.ratio = ratio;
    this.canvas.width = Math.max(1, Math.round(width * ratio));
    this.canvas.height = Math.max(1, Math.round(height * ratio));
  }

  dispose(): void {}
}
