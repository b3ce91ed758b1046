import { unpack, type Packed } from "./arrays";
import { readHeads, type Head, type Mean } from "./heads";
import { compile, type Operation, type Step } from "./operations";

/** A decoder as data: operations, means of the likelihood, and the change to the units of the data. */
export interface Plan {
  latent: number;
  features: number;
  operations: Operation[];
  heads: Head[];
  scaling: { shift: Packed; scale: Packed; stretched: Packed | null; unit: Packed | null };
}

export interface DecodedRow {
  /** Values in the units of the data; categories by their place. */
  values: Float64Array;
  /** Probability of the shown level; NaN of numbers. */
  probability: Float64Array;
}

/** Computes the mean of p(x|z), as `inverse_transform` of Python does. */
export class Decoder {
  private constructor(
    private readonly features: number,
    private readonly network: Step,
    private readonly mean: Mean,
    private readonly restore: (values: Float64Array) => void,
  ) {}

  static async open(plan: Plan): Promise<Decoder> {
    const { shift, scale, stretched, unit } = plan.scaling;
    const read = (packed: Packed | null) => packed && unpack(packed);
    const [by, times, logs, units] = await Promise.all([unpack(shift), unpack(scale), read(stretched), read(unit)]);
    const one = (values: ArrayLike<number>, i: number) => values[values.length > 1 ? i : 0];
    const restore = (values: Float64Array) => {
      for (let i = 0; i < values.length; i++) {
        values[i] = values[i] * one(times, i) + one(by, i);
        if (logs && one(logs, i)) values[i] = Math.expm1(values[i]) * (units ? one(units, i) : 1);
      }
    };
    return new Decoder(
      plan.features,
      await compile(plan.operations),
      await readHeads(plan.heads, plan.features),
      restore,
    );
  }

  decode(z: ArrayLike<number>): DecodedRow {
    const values = new Float64Array(this.features);
    const probability = new Float64Array(this.features).fill(NaN);
    const { data } = this.network({ data: Float32Array.from(z), shape: [z.length, 1, 1] });
    this.mean(data, values, probability);
    this.restore(values);
    return { values, probability };
  }
}
