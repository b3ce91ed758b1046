import { numbers, unpack, type Packed } from "./arrays";

/** Operations from a code to the numbers that a likelihood takes, as `export_decoder.py` writes them. */
export type Operation =
  | { op: "sphere" }
  | { op: "ball"; rim: number }
  | { op: "affine"; shift: number[]; scale: number[] }
  | { op: "append"; values: number[] }
  | { op: "extend"; body: Operation[] }
  | { op: "dense"; weight: Packed; bias: Packed | null }
  | { op: "activation"; name: "silu" | "relu" | "gelu" | "tanh" | "sine" }
  | { op: "norm"; scale: Packed; bias: Packed | null; epsilon: number }
  | { op: "residual"; body: Operation[] }
  | { op: "image"; shape: [number, number, number] }
  | { op: "resize"; size: [number, number] }
  | { op: "convolve"; weight: Packed; bias: Packed | null; padding: number }
  | { op: "pixels"; heads: number };

/** Numbers, and as an image their channels, height and width. */
interface Value {
  data: Float32Array;
  shape: [number, number, number];
}
export type Step = (value: Value) => Value;

/** Read the weights of operations and return one function that applies them in order. */
export async function compile(operations: Operation[]): Promise<Step> {
  const steps = await Promise.all(operations.map(step));
  return (value) => steps.reduce((now, apply) => apply(now), value);
}

async function step(operation: Operation): Promise<Step> {
  switch (operation.op) {
    case "sphere":
      return ({ data }) => row(data.map((x) => x / Math.max(norm(data), 1e-12)));
    case "ball":
      return ({ data }) => row(data.map((x) => x * (operation.rim / Math.max(norm(data), operation.rim))));
    case "affine":
      return ({ data }) => row(data.map((x, i) => operation.shift[i] + operation.scale[i] * x));
    case "append":
      return ({ data }) => row(Float32Array.of(...data, ...operation.values));
    case "extend": {
      const body = await compile(operation.body);
      return (value) => row(Float32Array.of(...value.data, ...body(value).data));
    }
    case "residual": {
      const body = await compile(operation.body);
      return (value) => {
        const change = body(value).data;
        return row(value.data.map((x, i) => x + change[i]));
      };
    }
    case "dense":
      return dense(await numbers(operation.weight), await optional(operation.bias), operation.weight.shape);
    case "activation": {
      const apply = ACTIVATIONS[operation.name];
      return ({ data, shape }) => ({ data: data.map(apply), shape });
    }
    case "norm":
      return layerNorm(await numbers(operation.scale), await optional(operation.bias), operation.epsilon);
    case "image":
      return ({ data }) => ({ data, shape: operation.shape });
    case "resize":
      return (value) => resize(value, ...operation.size);
    case "convolve":
      return convolve(
        await numbers(operation.weight),
        await optional(operation.bias),
        operation.weight.shape,
        operation.padding,
      );
    case "pixels":
      return (value) => pixels(value, operation.heads);
  }
}

async function optional(packed: Packed | null): Promise<ArrayLike<number> | null> {
  return packed && (await unpack(packed));
}

function row(data: Float32Array): Value {
  return { data, shape: [data.length, 1, 1] };
}

function norm(data: Float32Array): number {
  return Math.hypot(...data);
}

function dense(weight: Float32Array, bias: ArrayLike<number> | null, [outputs, inputs]: number[]): Step {
  return ({ data }) => {
    const result = new Float32Array(outputs);
    for (let o = 0, w = 0; o < outputs; o++) {
      let sum = bias ? bias[o] : 0;
      for (let i = 0; i < inputs; i++) sum += weight[w++] * data[i];
      result[o] = sum;
    }
    return row(result);
  };
}

function layerNorm(scale: Float32Array, bias: ArrayLike<number> | null, epsilon: number): Step {
  return ({ data }) => {
    const mean = data.reduce((sum, x) => sum + x, 0) / data.length;
    const variance = data.reduce((sum, x) => sum + (x - mean) ** 2, 0) / data.length;
    const spread = Math.sqrt(variance + epsilon);
    return row(data.map((x, i) => ((x - mean) / spread) * scale[i] + (bias ? bias[i] : 0)));
  };
}

/** Repeat or skip pixels, as torch's nearest neighbour does. */
function resize({ data, shape: [channels, height, width] }: Value, tall: number, wide: number): Value {
  const result = new Float32Array(channels * tall * wide);
  const across = Int32Array.from({ length: wide }, (_, x) => Math.floor((x * width) / wide));
  for (let c = 0, to = 0; c < channels; c++)
    for (let y = 0; y < tall; y++) {
      const from = (c * height + Math.floor((y * height) / tall)) * width;
      for (let x = 0; x < wide; x++) result[to++] = data[from + across[x]];
    }
  return { data: result, shape: [channels, tall, wide] };
}

function convolve(weight: Float32Array, bias: ArrayLike<number> | null, shape: number[], padding: number): Step {
  const [outputs, inputs, down, across] = shape;
  return ({ data, shape: [, height, width] }) => {
    const wide = width + 2 * padding;
    const area = (height + 2 * padding) * wide;
    const padded = new Float32Array(inputs * area);
    for (let c = 0; c < inputs; c++)
      for (let y = 0; y < height; y++)
        padded.set(
          data.subarray((c * height + y) * width, (c * height + y + 1) * width),
          c * area + (y + padding) * wide + padding,
        );
    const tall = height + 2 * padding - down + 1;
    const long = wide - across + 1;
    const result = new Float32Array(outputs * tall * long);
    for (let o = 0; o < outputs; o++) {
      const plane = result.subarray(o * tall * long, (o + 1) * tall * long);
      if (bias) plane.fill(bias[o]);
      for (let i = 0; i < inputs; i++)
        for (let ky = 0; ky < down; ky++)
          for (let kx = 0; kx < across; kx++) {
            const w = weight[((o * inputs + i) * down + ky) * across + kx];
            for (let y = 0, to = 0; y < tall; y++) {
              let from = i * area + (y + ky) * wide + kx;
              for (let x = 0; x < long; x++) plane[to++] += w * padded[from++];
            }
          }
    }
    return { data: result, shape: [outputs, tall, long] };
  };
}

/** Channels with the heads of each, height and width, to height, width and channels with their heads. */
function pixels({ data, shape: [planes, height, width] }: Value, heads: number): Value {
  const area = height * width;
  const result = new Float32Array(data.length);
  for (let p = 0, to = 0; p < area; p++) for (let plane = 0; plane < planes; plane++) result[to++] = data[plane * area + p];
  return { data: result, shape: [area, planes / heads, heads] };
}

const ACTIVATIONS = {
  relu: (x: number) => Math.max(x, 0),
  silu: (x: number) => x / (1 + Math.exp(-x)),
  tanh: Math.tanh,
  sine: Math.sin,
  gelu: (x: number) => 0.5 * x * (1 + erf(x / Math.SQRT2)),
};

/** Abramowitz and Stegun's formula 7.1.26, near to 2e-7. */
function erf(x: number): number {
  const t = 1 / (1 + 0.3275911 * Math.abs(x));
  const series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  return Math.sign(x) * (1 - series * Math.exp(-x * x));
}
