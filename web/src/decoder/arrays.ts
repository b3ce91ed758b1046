import { fromBase64 } from "../bytes";

/** An array as an exported page holds it: compressed bytes in base64; whole numbers times `scale`, or in steps from `low`. */
export interface Packed {
  type: "int8" | "int16" | "uint8" | "uint16" | "uint32" | "float32" | "float64";
  shape: number[];
  data: string;
  /** One factor for each entry of the first axis. */
  scale?: Packed;
  /** Lowest value of each column, and the step between two values; the last level is a missing value. */
  low?: number[];
  step?: number[];
}

export type Numbers =
  | Int8Array
  | Int16Array
  | Uint8Array
  | Uint16Array
  | Uint32Array
  | Float32Array
  | Float64Array;

const TYPES = {
  int8: Int8Array,
  int16: Int16Array,
  uint8: Uint8Array,
  uint16: Uint16Array,
  uint32: Uint32Array,
  float32: Float32Array,
  float64: Float64Array,
};

/** Return the array as it was packed. */
export async function unpack(packed: Packed): Promise<Numbers> {
  const stream = new Blob([fromBase64(packed.data)]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new TYPES[packed.type](await new Response(stream).arrayBuffer());
}

/** Return an array of numbers in single precision. */
export async function numbers(packed: Packed): Promise<Float32Array> {
  return Float32Array.from(await exactNumbers(packed));
}

/** Return an array of numbers: whole numbers times their scale, or at their place between two ends. */
export async function exactNumbers(packed: Packed): Promise<Float64Array> {
  const plain = await unpack(packed);
  const values = Float64Array.from(plain);
  if (packed.scale) {
    const scale = await unpack(packed.scale);
    const each = values.length / scale.length;
    for (let i = 0; i < values.length; i++) values[i] *= scale[Math.floor(i / each)];
  }
  const { low, step } = packed;
  if (low && step) {
    const missing = packed.type === "uint8" ? 255 : 65535;
    for (let i = 0; i < values.length; i++) {
      const column = i % low.length;
      values[i] = plain[i] === missing ? NaN : low[column] + plain[i] * step[column];
    }
  }
  return values;
}
