import { computed, signal } from "@preact/signals";
import { quantiles } from "../quantiles";
import type { Backend, Density, Field, Meta, Row } from "../backends/backend";

export type Values = Float32Array | Uint16Array;

/** What is known of one run: its points, and what was asked of its backend so far. */
export class Session {
  readonly n: number;
  readonly d: number;
  /** Components on the axes: two or three, or one. */
  readonly dims = signal<number[]>([]);
  /** Values of all components where the axes do not set them. */
  readonly base = signal<number[]>([]);
  /** Range of each component over the rows, without the outermost half percent. */
  readonly ranges: [number, number][];
  /** Coordinates on the map, three for each row. */
  readonly positions = computed(() => this.place(this.dims.value));
  readonly density = signal<Density | null>(null);
  private readonly values = new Map<string, Promise<Values>>();
  private readonly rows = new Map<number, Promise<Row>>();
  private readonly jitter: Float32Array | null;

  constructor(
    readonly backend: Backend,
    readonly meta: Meta,
    readonly points: Float32Array,
    readonly index: number,
  ) {
    this.d = meta.components;
    this.n = Math.floor(points.length / Math.max(this.d, 1));
    this.dims.value = meta.dims.slice(0, 3);
    this.base.value = new Array(this.d).fill(0);
    const given = this.n === 0 ? meta.range : undefined;
    this.ranges = Array.from({ length: this.d }, (_, k) => (given ? [given.low[k], given.high[k]] : range(points, this.d, k)));
    this.jitter = this.d === 1 ? scatter(this.n) : null;
  }

  static async open(backend: Backend, index = 0): Promise<Session> {
    const meta = await backend.meta();
    return new Session(backend, meta, meta.can.rows ? await backend.points() : new Float32Array(0), index);
  }

  get spatial(): boolean {
    return this.dims.value.length === 3;
  }

  field(key: string): Field | undefined {
    return this.meta.fields.find((field) => field.key === key);
  }

  load(key: string): Promise<Values> {
    return kept(this.values, key, () => this.backend.field(key));
  }

  row(i: number): Promise<Row> {
    const row = kept(this.rows, i, () => this.backend.row(i));
    if (this.rows.size > 500) this.rows.delete(this.rows.keys().next().value!);
    return row;
  }

  /** The code of a row. */
  code(i: number): number[] {
    return Array.from(this.points.subarray(i * this.d, (i + 1) * this.d));
  }

  /** The code of a place on the map. */
  at(place: ArrayLike<number>): number[] {
    const z = [...this.base.value];
    this.dims.value.forEach((k, axis) => (z[k] = place[axis]));
    return z;
  }

  /** The place of a code on the map. */
  where(z: number[]): [number, number, number] {
    const [x, y, up] = this.dims.value;
    return [z[x], y === undefined ? 0 : z[y], up === undefined ? 0 : z[up]];
  }

  private place(dims: number[]): Float32Array {
    const out = new Float32Array(this.n * 3);
    const spread = this.jitter ? 0.12 * (this.ranges[0][1] - this.ranges[0][0]) : 0;
    for (let i = 0; i < this.n; i++) {
      for (let axis = 0; axis < dims.length; axis++) out[3 * i + axis] = this.points[i * this.d + dims[axis]];
      if (this.jitter && dims.length === 1) out[3 * i + 1] = spread * this.jitter[i];
    }
    return out;
  }
}

/** The answer to a key, asked for once; one that fails is asked for again. */
function kept<K, T>(known: Map<K, Promise<T>>, key: K, ask: () => Promise<T>): Promise<T> {
  let answer = known.get(key);
  if (!answer) {
    answer = ask();
    answer.catch(() => known.delete(key));
    known.set(key, answer);
  }
  return answer;
}

/** Quantiles of one component, of at most 20,000 rows. */
function range(points: Float32Array, d: number, k: number): [number, number] {
  const n = points.length / d;
  if (!n) return [-3, 3];
  const [low = -3, high = 3] = quantiles(n, (i) => points[i * d + k], 0.005, 0.995);
  return high > low ? [low, high] : [low - 1, low + 1];
}

/** Even numbers in -1 to 1, the same at every call: rows of one component are set apart with them. */
function scatter(n: number): Float32Array {
  return Float32Array.from({ length: n }, (_, i) => 2 * ((i * 0.6180339887) % 1) - 1);
}
