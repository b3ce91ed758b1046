import { exactNumbers, numbers, unpack, type Numbers, type Packed } from "../decoder/arrays";
import { Decoder, type Plan } from "../decoder/decoder";
import { cellOf, itemOf, valueOf, type ItemForm } from "../decoder/items";
import { number } from "../decoder/text";
import {
  BackendError,
  NO_LEVEL,
  type Backend,
  type Decoded,
  type Density,
  type Download,
  type Encoded,
  type End,
  type Field,
  type Found,
  type Item,
  type Meta,
  type Placed,
  type Row,
  type Selected,
} from "./backend";
import { asCsv } from "../csv";
import { densityAt, holeAt, readDensity, transposed, type PackedDensity } from "./local/density";
import { openGrid, type PackedGrid } from "./local/grid";
import { Originals, type PackedOriginals } from "./local/originals";
import { along, straight } from "./local/path";
import { DAY, DAYS } from "../format";
import { describeSelection, type Values } from "./local/selection";

/** What an exported page holds: see `export_data.py`. */
export interface LocalData {
  meta: Meta;
  items: ItemForm;
  points: Packed;
  density: Record<string, PackedDensity>;
  decoder: Plan | null;
  grid: PackedGrid | null;
  fields: Record<string, Packed>;
  /** Number of each row in the data, where some were left out. */
  numbers: Packed | null;
  ids: string[] | null;
  neighbours: Packed | null;
  samples: Packed | null;
  originals: PackedOriginals | null;
}

const MOST_FOUND = 50;

/** Return the shortest text of a number in single precision. */
function shortest(value: number): string {
  const digits = [6, 7, 8].find((n) => Math.fround(Number(value.toPrecision(n))) === value) ?? 9;
  return String(Number(value.toPrecision(digits)));
}

/** Return days since 1970 as a date, with the time of day where there is one. */
function isoDate(days: number): string {
  const text = new Date(Math.round(days * DAY)).toISOString();
  return text.endsWith("T00:00:00.000Z") ? text.slice(0, 10) : text.slice(0, 19);
}

/** Return text without differences of case, and of how Unicode writes the same letters. */
function folded(text: string): string {
  return text.normalize("NFKC").toUpperCase().toLowerCase().normalize("NFKC");
}

/** Answers from the data of the page alone, which may come from a mail attachment. */
export class LocalBackend implements Backend {
  private readonly known = new Map<string, Promise<unknown>>();

  constructor(private readonly data: LocalData) {}

  async meta(): Promise<Meta> {
    return this.data.meta;
  }

  points(): Promise<Float32Array> {
    return this.once("points", () => numbers(this.data.points));
  }

  field(key: string): Promise<Float32Array | Uint16Array> {
    return this.once(`field ${key}`, async () => {
      const packed = this.data.fields[key];
      if (!packed) throw new BackendError("This file does not hold that column.");
      if (this.fieldOf(key).kind === "number") return numbers(packed);
      const codes = await unpack(packed);
      return Uint16Array.from(codes, (code) => (packed.type === "uint8" && code === 255 ? NO_LEVEL : code));
    });
  }

  /** The values of a field with all digits that the page has. */
  private exact(field: Field): Promise<ArrayLike<number>> {
    const packed = this.data.fields[field.key];
    if (field.kind === "category" || !packed) return this.field(field.key);
    return this.once(`exact ${field.key}`, () => exactNumbers(packed));
  }

  async density(x: number, y: number): Promise<Density> {
    const [packed, turned] = [this.data.density[`${x},${y}`], this.data.density[`${y},${x}`]];
    if (packed) return this.once(`density ${x},${y}`, () => readDensity(packed));
    if (turned) return this.once(`density ${x},${y}`, async () => transposed(await readDensity(turned)));
    throw new BackendError("This file does not hold the density of these two components.");
  }

  async decode(z: number[][]): Promise<Decoded> {
    const [item, density] = await Promise.all([this.decoder(), this.plane()]);
    return {
      items: z.map(item),
      density: z.map((code) => density && densityAt(density, code)),
      hole: z.map((code) => density && holeAt(density, code)),
    };
  }

  async row(i: number): Promise<Row> {
    const z = await this.code(i);
    const [item, original, evidence] = await Promise.all([this.decoder(), this.original(i), this.evidence()]);
    const known = evidence !== null && Number.isFinite(evidence.values[i]);
    const label = this.label();
    return {
      original,
      reconstruction: item(z),
      z,
      label: label ? this.textOf(label, (await this.field(label.key))[i]) : null,
      id: this.data.ids?.[i] ?? null,
      evidence: known ? evidence.values[i] : null,
      percentile: known ? evidence.percentile(evidence.values[i]) : null,
      missing: original && "cells" in original ? original.cells.flatMap((cell, j) => (cell.text === "" ? [j] : [])) : [],
      neighbours: (await this.nearest(i, 8)).rows,
      imputed: [],
    };
  }

  async path(from: End, to: End, n: number, way: "straight" | "density"): Promise<Placed> {
    const [start, stop] = await Promise.all([from, to].map((end) => (typeof end === "number" ? this.code(end) : end)));
    if (way === "straight") return this.placed(straight(start, stop, n));
    const density = await this.plane();
    if (!density) throw new BackendError("This file finds ways along the density of two components alone.");
    return this.placed(along(density, start, stop, n));
  }

  async selection(rows: Uint32Array): Promise<Selected> {
    const read = async (field: Field): Promise<Values> => ({ field, values: await this.exact(field) });
    const label = this.label();
    const columns = this.data.meta.fields.filter((field) => field.group === "column");
    const [points, about, all] = await Promise.all([
      this.points(),
      label ? read(label) : null,
      Promise.all(columns.map(read)),
    ]);
    return describeSelection(rows, this.data.meta.n, about, all, points);
  }

  async save(rows: Uint32Array, format: "csv" | "parquet", as: "rows" | "label"): Promise<Download> {
    if (format !== "csv") throw new BackendError("This file writes CSV alone.");
    const fields = as === "rows" ? this.data.meta.fields.filter((field) => field.group !== "model") : [];
    const values = await Promise.all(fields.map((field) => this.exact(field)));
    const numbersOf = await this.rowNumbers();
    const name = (i: number) => this.data.ids?.[i] ?? String(numbersOf[i]);
    const inside = new Set(rows);
    const chosen = as === "rows" ? Array.from(rows).sort((a, b) => a - b) : Array.from({ length: this.data.meta.n }, (_, i) => i);
    const lines = chosen.map((i) => {
      const cells = as === "rows" ? fields.map((field, k) => this.plain(field, values[k][i])) : [String(Number(inside.has(i)))];
      return [name(i), ...cells];
    });
    const head = [this.data.ids ? "id" : "row", ...(as === "rows" ? fields.map((field) => field.name) : ["selected"])];
    return { name: `selection.${format}`, blob: new Blob([asCsv(head, lines)], { type: "text/csv" }) };
  }

  async search(query: string): Promise<Found> {
    const wanted = folded(query).trim();
    const rows: Found["rows"] = [];
    const seen = new Set<number>();
    const add = (i: number, text: string) => {
      if (!seen.has(i) && rows.length < MOST_FOUND) rows.push({ i, text });
      seen.add(i);
    };
    if (!wanted) return { rows };
    const numbersOf = await this.rowNumbers();
    const ids = this.data.ids?.map(folded) ?? [];
    const name = (i: number) => this.data.ids![i];
    ids.forEach((id, i) => id.trim() === wanted && add(i, name(i)));
    if (/^\d+$/.test(wanted)) {
      const i = numbersOf.indexOf(Number(wanted) as never);
      if (i >= 0) add(i, `row ${wanted}`);
    }
    ids.forEach((id, i) => id.includes(wanted) && add(i, name(i)));
    for (const field of this.data.meta.fields.filter((one) => one.kind === "category" && one.group !== "model")) {
      const matching = new Set(field.levels!.flatMap((level, k) => (folded(level).includes(wanted) ? [k] : [])));
      if (!matching.size || rows.length >= MOST_FOUND) continue;
      const values = await this.field(field.key);
      for (let i = 0; i < values.length && rows.length < MOST_FOUND; i++)
        if (matching.has(values[i])) add(i, `row ${numbersOf[i]}: ${field.name} ${field.levels![values[i]]}`);
    }
    return { rows };
  }

  async nearest(i: number, k: number): Promise<{ rows: number[] }> {
    const packed = this.data.neighbours;
    if (!packed) return { rows: [] };
    const all = await this.once("neighbours", () => unpack(packed));
    const width = packed.shape[1];
    return { rows: Array.from(all.subarray(i * width, i * width + Math.min(k, width))) };
  }

  /** Codes that Python has drawn, of which each seed takes others. */
  async samples(n: number, seed: number): Promise<Placed> {
    const packed = this.data.samples;
    if (!packed) throw new BackendError("This file has no samples.");
    const drawn = (await this.once("samples", () => unpack(packed))) as Float32Array;
    const [count, d] = packed.shape;
    const start = (seed * 64) % count;
    const codes = Array.from({ length: n }, (_, k) => {
      const at = ((start + k) % count) * d;
      return Array.from(drawn.subarray(at, at + d));
    });
    return this.placed(codes);
  }

  encode(): Promise<Encoded> {
    return Promise.reject(new BackendError("This file has no encoder: latentmap explore places new rows."));
  }

  private async placed(z: number[][]): Promise<Placed> {
    return { z, ...(await this.decode(z)) };
  }

  private decoder(): Promise<(z: number[]) => Item> {
    return this.once("decoder", async () => {
      const { decoder, grid, items, meta } = this.data;
      const opened = decoder ? await Decoder.open(decoder) : null;
      const row = opened ? (z: number[]) => opened.decode(z) : await openGrid(grid!);
      return (z: number[]) => itemOf(items, meta.item, row(z));
    });
  }

  /** The density of a model of two components. */
  private plane(): Promise<Density | null> {
    return this.data.meta.components === 2 && this.data.density["0,1"] ? this.density(0, 1) : Promise.resolve(null);
  }

  private async code(i: number): Promise<number[]> {
    const d = this.data.meta.components;
    return Array.from((await this.points()).subarray(i * d, (i + 1) * d));
  }

  /** A row of the data: of a table from its columns, otherwise as it was kept. */
  private async original(i: number): Promise<Item | null> {
    const { items, originals, fields, decoder, meta } = this.data;
    if (items.kind === "table") {
      const own = items.columns.filter(({ place }) => place !== null);
      if (own.some(({ key }) => !fields[key])) return null;
      const values = new Float64Array(decoder?.features ?? items.columns.length).fill(NaN);
      for (const { key, place } of own) {
        const value = (await this.exact(this.fieldOf(key)))[i];
        values[place!] = this.fieldOf(key).kind === "category" && value === NO_LEVEL ? NaN : value;
      }
      return { cells: items.columns.map((column) => cellOf(column, valueOf(column, values))) };
    }
    return originals && (await this.once("originals", () => Originals.open(originals, meta.item))).at(i);
  }

  private evidence(): Promise<{ values: ArrayLike<number>; percentile: (value: number) => number } | null> {
    if (!this.data.fields.evidence) return Promise.resolve(null);
    return this.once("evidence", async () => {
      const values = await this.field("evidence");
      const sorted = Float32Array.from(values).filter(Number.isFinite).sort();
      const percentile = (value: number) => {
        let [low, high] = [0, sorted.length];
        while (low < high) {
          const middle = (low + high) >> 1;
          if (sorted[middle] < value) low = middle + 1;
          else high = middle;
        }
        return (100 * low) / sorted.length;
      };
      return { values, percentile };
    });
  }

  private async rowNumbers(): Promise<Numbers | number[]> {
    const { numbers: packed, meta } = this.data;
    return packed ? this.once("numbers", () => unpack(packed)) : Array.from({ length: meta.n }, (_, i) => i);
  }

  private label(): Field | undefined {
    return this.data.meta.fields.find((one) => one.group === "label");
  }

  private fieldOf(key: string): Field {
    return this.data.meta.fields.find((one) => one.key === key)!;
  }

  private textOf(field: Field, value: number): string | null {
    if (field.kind === "number") return Number.isFinite(value) ? number(value) : null;
    return field.levels![value] ?? null;
  }

  /** A value for a table: dates as in ISO 8601, numbers without separators, with a dot for decimals. */
  private plain(field: Field, value: number): string {
    if (field.kind === "category") return field.levels![value] ?? "";
    if (!Number.isFinite(value)) return "";
    if (field.unit === DAYS) return isoDate(value);
    return this.data.fields[field.key].type === "float32" ? shortest(value) : String(Number(value.toPrecision(14)));
  }

  /** Compute an answer when it is first asked for. */
  private once<T>(name: string, compute: () => Promise<T>): Promise<T> {
    if (!this.known.has(name)) this.known.set(name, compute());
    return this.known.get(name) as Promise<T>;
  }
}
