import { NO_LEVEL, type Field } from "../backends/backend";
import { quantiles } from "../quantiles";
import type { Values } from "../state/session";
import { levels, MISSING, rgb, VIRIDIS_TABLE } from "./palette";

/** Red, green, blue and opacity of each row: by a field, hidden where a filter says so, faint outside of a selection. */
export function paint(n: number, field: Field | undefined, values: Values | undefined, mask: Uint8Array | null, selection: Uint32Array, dim: number[]): Uint8Array {
  const out = new Uint8Array(4 * n);
  const chosen = selection.length ? new Uint8Array(n) : null;
  if (chosen) for (const i of selection) chosen[i] = 1;
  const colour = field && values ? colouring(field, values) : constant();
  for (let i = 0, o = 0; i < n; i++, o += 4) {
    if (mask && !mask[i]) continue;
    if (chosen && !chosen[i]) {
      out[o] = dim[0];
      out[o + 1] = dim[1];
      out[o + 2] = dim[2];
      out[o + 3] = 130;
    } else {
      colour(i, out, o);
      out[o + 3] = 255;
    }
  }
  return out;
}

type Painter = (i: number, out: Uint8Array, at: number) => void;

function constant(): Painter {
  const table = Uint8Array.from(rgb(levels(1)[0]));
  return (_, out, at) => out.set(table, at);
}

function colouring(field: Field, values: Values): Painter {
  const missing = rgb(MISSING);
  if (field.kind === "category") {
    const table = levels(field.levels?.length ?? 0).map(rgb);
    return (i, out, at) => {
      const colour = values[i] === NO_LEVEL ? missing : (table[values[i]] ?? missing);
      out[at] = colour[0];
      out[at + 1] = colour[1];
      out[at + 2] = colour[2];
    };
  }
  const [low, high] = extent(field, values);
  const scale = high > low ? 255 / (high - low) : 0;
  return (i, out, at) => {
    const value = values[i];
    if (Number.isNaN(value)) {
      out[at] = missing[0];
      out[at + 1] = missing[1];
      out[at + 2] = missing[2];
      return;
    }
    const k = 3 * Math.max(0, Math.min(255, Math.round((value - low) * scale)));
    out[at] = VIRIDIS_TABLE[k];
    out[at + 1] = VIRIDIS_TABLE[k + 1];
    out[at + 2] = VIRIDIS_TABLE[k + 2];
  };
}

const known = new WeakMap<Values, [number, number]>();

/** The range that colours span: the values without the outermost percent; that of the field where none is finite. */
export function extent(field: Field, values: Values): [number, number] {
  let range = known.get(values);
  if (!range) {
    const [low, high] = quantiles(values.length, (i) => values[i], 0.01, 0.99);
    range = [low ?? field.low ?? 0, high ?? field.high ?? 1];
    known.set(values, range);
  }
  return range;
}
