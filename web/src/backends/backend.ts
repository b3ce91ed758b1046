/** What the page asks of whoever has the model: a server, an exported file, or a notebook. */

/** How often a category of a table was chosen, or where a number lies in the range of its column. */
export interface Cell {
  text: string;
  /** Place in the range of the column, 0 to 1. */
  at: number | null;
  /** Probability of the shown level. */
  p: number | null;
}

/** Pixels of a picture, row by row, channels last, 0 to 255 of the range of the fit. */
export interface PictureItem {
  pixels: Uint8Array;
}
/** One row of a table. */
export interface TableItem {
  cells: Cell[];
}
/** Features in their order; null where one is missing. */
export interface LineItem {
  values: (number | null)[];
}
export type Item = PictureItem | TableItem | LineItem;

export interface Column {
  name: string;
  kind: "number" | "category" | "date";
  unit: string | null;
  low: number | null;
  high: number | null;
  levels: string[] | null;
}

export type ItemKind =
  | { kind: "picture"; width: number; height: number; channels: 1 | 3; paper: boolean }
  | { kind: "table"; columns: Column[] }
  | { kind: "line"; names: string[] | null; low: number | null; high: number | null };

/** Something to colour by. */
export interface Field {
  key: string;
  name: string;
  group: "label" | "column" | "model";
  kind: "category" | "number";
  levels: string[] | null;
  low: number | null;
  high: number | null;
  unit: string | null;
  /** Computed when asked for. */
  slow: boolean;
  /** What to say beside the values. */
  note: string | null;
  /** Start and period of cyclic numbers. */
  cycle: [number, number] | null;
}

export interface Abilities {
  rows: boolean;
  decode: boolean;
  density: boolean;
  impute: boolean;
  score: boolean;
  encode: boolean;
  samples: boolean;
  path: boolean;
  selection: boolean;
  save: ("csv" | "parquet")[];
}

export interface Meta {
  name: string;
  model: string;
  version: string;
  /** Rows shown. */
  n: number;
  /** Rows of the data. */
  total: number;
  components: number;
  /** Components drawn at first: two, or three. */
  dims: number[];
  /** Rate of each component in nats. */
  rates: number[] | null;
  /** Which components tell anything of a row. */
  active: boolean[];
  /** Where codes lie along each component. */
  range?: { low: number[]; high: number[] };
  item: ItemKind;
  fields: Field[];
  can: Abilities;
  ids: boolean;
  notes: string[];
  runs: { name: string }[];
  islands: { label: string; x: number; y: number }[];
  /** Whether the rows of two runs are the same, in the same order. */
  linked?: boolean;
}

/** Log-density on a grid over two components, row by row along the second. */
export interface Density<Values = Float32Array, Hole = Uint8Array> {
  low: [number, number];
  high: [number, number];
  size: number;
  values: Values;
  hole: Hole;
  levels: number[];
}

/** Items at places of the map, with the log-density in nats there and whether the place is a hole. */
export interface Decoded {
  items: Item[];
  density: (number | null)[];
  hole: (boolean | null)[];
}
export interface Placed extends Decoded {
  z: number[][];
}

export interface Row {
  original: Item | null;
  reconstruction: Item | null;
  z: number[];
  label: string | null;
  id: string | null;
  /** Log-evidence in nats. */
  evidence: number | null;
  /** Share of rows with lower evidence, 0 to 100. */
  percentile: number | null;
  /** Columns without a value. */
  missing: number[];
  /** The nearest rows in data space. */
  neighbours: number[];
  /** Missing cells: the mean and the central 90 % of draws, or the likeliest category and its share of them. */
  imputed: { column: number; text: string; low: string | null; high: string | null; p: number | null }[];
}

export interface Selected {
  count: number;
  labels: { name: string; inside: number; outside: number; count: number }[];
  typical: number[];
  odd: number[];
  columns: {
    name: string;
    kind: "number" | "category" | "date";
    effect: number | null;
    q: number | null;
    inside: string;
    outside: string;
  }[];
}

export interface Found {
  rows: { i: number; text: string }[];
}

export interface Encoded {
  z: number[];
  item: Item;
  reconstruction: Item;
  evidence: number | null;
  percentile: number | null;
  unlike: boolean;
  why: string;
}

export interface Download {
  name: string;
  blob: Blob;
}

export type End = number | number[];

/** The index of a level that is missing. */
export const NO_LEVEL = 65535;

export interface Backend {
  meta(): Promise<Meta>;
  /** Posterior means of all components, n times d, row by row. */
  points(): Promise<Float32Array>;
  /** Numbers (NaN where missing), or indices of levels (`NO_LEVEL` where missing). */
  field(key: string): Promise<Float32Array | Uint16Array>;
  density(x: number, y: number): Promise<Density>;
  decode(z: number[][]): Promise<Decoded>;
  row(i: number): Promise<Row>;
  path(from: End, to: End, n: number, along: "straight" | "density"): Promise<Placed>;
  selection(rows: Uint32Array): Promise<Selected>;
  save(rows: Uint32Array, format: "csv" | "parquet", as: "rows" | "label"): Promise<Download>;
  search(query: string): Promise<Found>;
  nearest(i: number, k: number): Promise<{ rows: number[] }>;
  samples(n: number, seed: number): Promise<Placed>;
  encode(body: Blob | string): Promise<Encoded>;
  /** The run to compare with, where there is one. */
  other?: Backend;
  /** Told of every change of the selection; a notebook gives it back to Python. */
  selected?(rows: Uint32Array): void;
}

/** Why no answer came, in one line. */
export class BackendError extends Error {
  /** @param lost whether nobody answers any more, so that it is worth to try again. */
  constructor(
    message: string,
    readonly lost = false,
  ) {
    super(message);
  }
}
