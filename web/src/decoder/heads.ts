import { numbers, type Packed } from "./arrays";

/** Means of likelihoods in the units of the model, as `export_likelihood.py` writes them. */
export type Head = { at: number[] | null; heads: number } & (
  | { kind: "location" | "sigmoid" | "bit" | "direction" }
  | { kind: "continuous"; bound: number }
  | { kind: "levels"; levels: number }
  | { kind: "category"; levels: number; pooled: boolean }
  | {
      kind: "logistics";
      components: number;
      weighted: boolean;
      top: number;
      start: number;
      bound: number;
      sharpest: number;
      reach: number;
    }
  | { kind: "counts"; bound: number; log_mean: Packed; log_library: number | null; inflated: boolean }
);

/** Write the means of some columns, and the probability of the shown level where there are levels. */
export type Mean = (raw: Float32Array, means: Float64Array, probability: Float64Array) => void;

/** Return a function from the decoder's numbers to means of all columns. */
export async function readHeads(heads: Head[], features: number): Promise<Mean> {
  const parts: Mean[] = [];
  let start = 0;
  for (const head of heads) {
    const at = head.at ?? Array.from({ length: features }, (_, i) => i);
    const from = start;
    start += at.length * head.heads;
    const mean = await meanOf(head);
    parts.push((raw, means, probability) => mean(raw.subarray(from, from + at.length * head.heads), at, means, probability));
  }
  return (raw, means, probability) => parts.forEach((part) => part(raw, means, probability));
}

type Part = (raw: Float32Array, at: number[], means: Float64Array, probability: Float64Array) => void;

async function meanOf(head: Head): Promise<Part> {
  switch (head.kind) {
    case "location":
      return each(head.heads, (raw, i) => raw[i]);
    case "sigmoid":
      return each(head.heads, (raw, i) => sigmoid(raw[i]));
    case "bit":
      return (raw, at, means, probability) =>
        at.forEach((column, j) => {
          means[column] = sigmoid(raw[j]);
          probability[column] = Math.max(means[column], 1 - means[column]);
        });
    case "continuous":
      return each(head.heads, (raw, i) => continuous(head.bound * Math.tanh(raw[i] / head.bound)));
    case "direction":
      return each(head.heads, (raw, i) => {
        const angle = Math.atan2(raw[i + 1], raw[i]);
        return angle < 0 ? angle + 2 * Math.PI : angle;
      });
    case "levels":
      return each(head.heads, (raw, i) => {
        const mass = softmax(raw.subarray(i, i + head.levels));
        return mass.reduce((sum, p, level) => sum + p * level, 0) / (head.levels - 1);
      });
    case "category":
      return (raw, at, means, probability) =>
        at.forEach((column, j) => {
          const mass = softmax(raw.subarray(j * head.levels, (j + 1) * head.levels));
          const last = head.levels - 1;
          const single = head.pooled && mass[last] <= 0.5 ? mass.slice(0, last) : mass; // the last stands for many
          const likeliest = mass.indexOf(Math.max(...single));
          means[column] = likeliest / (head.levels - 1);
          probability[column] = mass[likeliest];
        });
    case "logistics":
      return each(head.heads, (raw, i) => logistics(raw.subarray(i, i + head.heads), head));
    case "counts": {
      const logMean = await numbers(head.log_mean);
      return (raw, at, means) => {
        const logs = Float64Array.from(at, (_, j) => logMean[j] + head.bound * Math.tanh(raw[j * head.heads] / head.bound));
        const all = head.log_library === null ? 0 : head.log_library - logSum(logs);
        at.forEach((column, j) => {
          const open = head.inflated ? sigmoid(-raw[j * head.heads + 1]) : 1;
          means[column] = open * Math.exp(logs[j] + all);
        });
      };
    }
  }
}

/** A mean of each column alone, from the place where its numbers begin. */
function each(heads: number, mean: (raw: Float32Array, i: number) => number): Part {
  return (raw, at, means) =>
    at.forEach((column, j) => {
      means[column] = mean(raw, j * heads);
    });
}

function sigmoid(x: number): number {
  return 1 / (1 + Math.exp(-x));
}

function softplus(x: number): number {
  return Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
}

function logSum(x: ArrayLike<number>): number {
  let most = -Infinity;
  for (let i = 0; i < x.length; i++) most = Math.max(most, x[i]);
  let sum = 0;
  for (let i = 0; i < x.length; i++) sum += Math.exp(x[i] - most);
  return most + Math.log(sum);
}

function softmax(x: Float32Array): Float64Array {
  const sum = logSum(x);
  return Float64Array.from(x, (value) => Math.exp(value - sum));
}

/** Mean of the continuous Bernoulli with this logit. */
function continuous(logit: number): number {
  if (Math.abs(logit) < 0.05) return 0.5 + logit / 12 - logit ** 3 / 720;
  return -1 / Math.expm1(-logit) - 1 / logit;
}

/** Mean of a mixture of logistics over levels, as a fraction of the highest: a sum over levels of P(level or above). */
function logistics(raw: Float32Array, head: Extract<Head, { kind: "logistics" }>): number {
  const { components, weighted, top, reach } = head;
  const weights = weighted ? softmax(raw.subarray(0, components)) : [1];
  const rest = weighted ? raw.subarray(components) : raw;
  let mean = 0;
  for (let m = 0; m < components; m++) {
    const loc = (rest[m] + (m + 0.5) / components) * top;
    const log = head.bound * Math.tanh((rest[components + m] + head.start) / head.bound);
    const scale = (Math.exp(log) + head.sharpest / top) * top;
    mean += weights[m] * (scale < 1 ? sharp(loc, scale, top, reach) : wide(loc, scale, top));
  }
  return mean / top;
}

function sharp(loc: number, scale: number, top: number, reach: number): number {
  const below = Math.floor(loc) - reach;
  let sum = Math.min(Math.max(below, 0), top);
  for (let j = below + 1; j < below + 2 * reach + 2; j++)
    if (j >= 1 && j <= top) sum += sigmoid((loc - j + 0.5) / scale);
  return sum;
}

/** Euler and Maclaurin's sum. */
function wide(loc: number, scale: number, top: number): number {
  const low = loc / scale;
  const high = (loc - top) / scale;
  const slopes = sigmoid(high) * sigmoid(-high) - sigmoid(low) * sigmoid(-low);
  return scale * (softplus(low) - softplus(high)) + slopes / (24 * scale);
}
