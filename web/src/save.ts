import { applyPalette, GIFEncoder, quantize } from "gifenc";
import type { Download, ItemKind, Placed } from "./backends/backend";
import { image } from "./parts/Items";

type PictureKind = Extract<ItemKind, { kind: "picture" }>;

/** Hand a file to the browser. */
export function save({ name, blob }: Download): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** Whole numbers of pixels for each pixel of a picture. */
const enlarge = (kind: PictureKind, size: number): number => Math.max(1, Math.round(size / Math.max(kind.width, kind.height)));

function draw(kind: PictureKind, placed: Placed, columns: number, each: number): HTMLCanvasElement {
  const canvas = document.createElement("canvas");
  const rows = Math.ceil(placed.items.length / columns);
  canvas.width = columns * kind.width * each;
  canvas.height = rows * kind.height * each;
  const context = canvas.getContext("2d")!;
  context.imageSmoothingEnabled = false;
  const small = document.createElement("canvas");
  small.width = kind.width;
  small.height = kind.height;
  placed.items.forEach((item, k) => {
    if (!("pixels" in item)) return;
    small.getContext("2d")!.putImageData(image(kind, item.pixels), 0, 0);
    context.drawImage(small, (k % columns) * kind.width * each, Math.floor(k / columns) * kind.height * each, kind.width * each, kind.height * each);
  });
  return canvas;
}

/** The pictures of a way beside each other. */
export function strip(kind: PictureKind, placed: Placed): Promise<Blob | null> {
  const canvas = draw(kind, placed, placed.items.length, enlarge(kind, 112));
  return new Promise((done) => canvas.toBlob(done));
}

/** The pictures of a way one after the other, there and back. */
export function film(kind: PictureKind, placed: Placed): Blob {
  const each = enlarge(kind, 224);
  const encoder = GIFEncoder();
  const there = placed.items.map((_, k) => k);
  const frames = [...there, ...there.slice(1, -1).reverse()];
  for (const k of frames) {
    const canvas = draw(kind, { ...placed, items: [placed.items[k]] }, 1, each);
    const { data, width, height } = canvas.getContext("2d")!.getImageData(0, 0, canvas.width, canvas.height);
    const palette = quantize(data, 256);
    encoder.writeFrame(applyPalette(data, palette), width, height, { palette, delay: k === 0 || k === there.length - 1 ? 500 : 90 });
  }
  encoder.finish();
  return new Blob([encoder.bytes() as Uint8Array<ArrayBuffer>], { type: "image/gif" });
}
