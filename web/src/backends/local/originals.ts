import { numbers, unpack, type Numbers, type Packed } from "../../decoder/arrays";
import type { Item, ItemKind } from "../backend";

/** Rows of the data: pictures of few bits and pixels, or lines; `rows` are those that have one, null for all. */
export type PackedOriginals = { rows: Packed | null } & ({ bits: number; pixels: Packed } | { values: Packed });

/** Reads the rows of the data as items. */
export class Originals {
  private constructor(
    private readonly place: (i: number) => number | undefined,
    private readonly item: (k: number) => Item,
  ) {}

  static async open(packed: PackedOriginals, kind: ItemKind): Promise<Originals> {
    const rows = packed.rows && (await unpack(packed.rows));
    const places = rows && new Map(Array.from(rows, (row, k) => [row, k]));
    const place = (i: number) => (places ? places.get(i) : i);
    if ("values" in packed) {
      const values = await numbers(packed.values);
      const width = packed.values.shape[1];
      return new Originals(place, (k) => ({ values: Array.from(values.subarray(k * width, (k + 1) * width)) }));
    }
    const pixels = await unpack(packed.pixels);
    return new Originals(place, (k) => ({ pixels: enlarged(pixels, k, packed.pixels.shape, packed.bits, kind) }));
  }

  /** Return a row; null where it was left out. */
  at(i: number): Item | null {
    const k = this.place(i);
    return k === undefined ? null : this.item(k);
  }
}

/** Return a picture in the size and the shades of decoded ones. */
function enlarged(pixels: Numbers, k: number, [, tall, wide, channels]: number[], bits: number, kind: ItemKind): Uint8Array {
  if (kind.kind !== "picture") throw new Error("pictures of rows that are none");
  const { width, height } = kind;
  const result = new Uint8Array(width * height * channels);
  const start = k * tall * wide * channels;
  const shade = 255 / (2 ** bits - 1);
  for (let y = 0, to = 0; y < height; y++) {
    const row = start + Math.min(Math.floor((y * tall) / height), tall - 1) * wide * channels;
    for (let x = 0; x < width; x++) {
      const from = row + Math.min(Math.floor((x * wide) / width), wide - 1) * channels;
      for (let c = 0; c < channels; c++) result[to++] = Math.round(pixels[from + c] * shade);
    }
  }
  return result;
}
