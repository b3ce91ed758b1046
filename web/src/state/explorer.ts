import { batch, computed, effect, signal } from "@preact/signals";
import { BackendError, NO_LEVEL, type Backend, type Decoded, type Encoded, type Item, type Placed, type Row, type Selected } from "../backends/backend";
import { Latest } from "./latest";
import { Session, type Values } from "./session";

export type Tool = "explore" | "lasso" | "path";
export type Tab = "place" | "selection" | "filters" | "components" | "new";
export type Theme = "auto" | "light" | "dark";

/** Where the pointer is: a place on the map of a run, and the row there, if any. */
export interface Pointer {
  session: Session;
  z: number[];
  row: number | null;
  /** Pixels from the corner of the map. */
  x: number;
  y: number;
}

/** What the model says of a place. */
export interface Reading {
  z: number[];
  item: Item | null;
  density: number | null;
  hole: boolean | null;
}

/** What stays while the pointer moves on. */
export interface Pin {
  session: Session;
  z: number[];
  row: number | null;
}

export interface Marker {
  session: Session;
  z: number[];
  kind: "sample" | "new";
  item: Item;
  density: number | null;
  hole: boolean | null;
  encoded?: Encoded;
  name: string;
}

export interface Route {
  session: Session;
  from: Pin;
  to: Pin | null;
  along: "straight" | "density";
  steps: number;
  placed: Placed | null;
}

export type Range = [number, number];

/** The state of the page. */
export class Explorer {
  readonly second = signal<Session | null>(null);
  readonly comparing = signal(false);
  readonly colour = signal("");
  readonly hidden = signal<ReadonlyMap<string, ReadonlySet<number>>>(new Map());
  readonly ranges = signal<ReadonlyMap<string, Range>>(new Map());
  /** Values of the fields that filters and colours ask for, once they have come. */
  readonly loaded = signal<ReadonlyMap<string, Values>>(new Map());
  readonly loading = signal<ReadonlySet<string>>(new Set());
  readonly selection = signal<Uint32Array>(new Uint32Array(0));
  readonly selected = signal<Selected | null>(null);
  readonly pointer = signal<Pointer | null>(null);
  readonly reading = signal<Reading | null>(null);
  readonly hovered = signal<{ row: number; answer: Row } | null>(null);
  readonly pin = signal<Pin | null>(null);
  readonly pinned = signal<{ reading: Reading | null; row: Row | null }>({ reading: null, row: null });
  readonly markers = signal<Marker[]>([]);
  readonly route = signal<Route | null>(null);
  readonly tool = signal<Tool>("explore");
  readonly tab = signal<Tab>("place");
  readonly sheet = signal(false);
  readonly help = signal(false);
  readonly layers = signal({ contours: true, holes: false, labels: true, live: true });
  readonly problem = signal<{ text: string; lost: boolean } | null>(null);
  readonly notice = signal("");
  readonly renderer = signal("");
  /** Of the last answer to a moved pointer, in milliseconds. */
  readonly latency = signal<number | null>(null);

  readonly sessions = computed(() => (this.comparing.value && this.second.value ? [this.first, this.second.value] : [this.first]));
  /** Rows that all filters pass; null where there are none. */
  readonly mask = computed(() => this.passing());
  readonly shown = computed(() => this.mask.value?.reduce((sum, pass) => sum + pass, 0) ?? this.first.n);

  private asked = 0;
  private readonly decoding = new Latest<Pointer, Decoded>(
    (pointer) => {
      this.asked = performance.now();
      return pointer.session.backend.decode([pointer.z]);
    },
    (answer, pointer) => {
      this.latency.value = performance.now() - this.asked;
      if (this.pointer.value) this.reading.value = reading(pointer.z, answer);
    },
    (error) => {
      this.reading.value = null;
      this.fail(error);
    },
  );
  private readonly looking = new Latest<Pointer, Row>(
    (pointer) => pointer.session.row(pointer.row!),
    (answer, pointer) => {
      if (this.pointer.value?.row === pointer.row) this.hovered.value = { row: pointer.row!, answer };
    },
    (error) => this.fail(error),
  );
  private readonly describing = new Latest<Uint32Array, Selected | null>(
    (rows) => (rows.length && this.first.meta.can.selection ? this.first.backend.selection(rows) : Promise.resolve(null)),
    (answer) => (this.selected.value = answer),
    (error) => this.fail(error),
  );
  private readonly stops: (() => void)[] = [];

  constructor(
    readonly first: Session,
    readonly embedded: boolean,
  ) {
    const { fields } = first.meta;
    this.colour.value = (fields.find((field) => field.group === "label") ?? fields.find((field) => !field.slow))?.key ?? "";
    this.stops.push(
      effect(() => void (this.colour.value && this.need(this.colour.value))),
      effect(() => this.describe(this.selection.value)),
      effect(() => void this.measure(first, first.dims.value)),
      effect(() => void this.look(this.pin.value)),
    );
  }

  dispose(): void {
    for (const stop of this.stops) stop();
  }

  get can() {
    return this.first.meta.can;
  }

  /** Await an answer; a failure is shown, and the answer is undefined. */
  async ask<T>(answer: Promise<T>): Promise<T | undefined> {
    try {
      const value = await answer;
      if (this.problem.value?.lost) this.problem.value = null;
      return value;
    } catch (error) {
      this.fail(error);
      return undefined;
    }
  }

  fail(error: unknown): void {
    const text = error instanceof Error ? error.message : String(error);
    this.problem.value = { text, lost: error instanceof BackendError && error.lost };
  }

  /** Ask whether somebody answers again. */
  async retry(): Promise<void> {
    const { backend, meta } = this.first;
    const again = meta.can.decode ? backend.decode([new Array(meta.components).fill(0)]) : backend.search("0");
    try {
      await again;
      this.problem.value = null;
    } catch (error) {
      this.fail(error);
    }
  }

  /** Load a field for colours and filters. */
  async need(key: string): Promise<void> {
    if (this.loaded.peek().has(key) || this.loading.peek().has(key) || !this.first.field(key)) return;
    this.loading.value = new Set(this.loading.peek()).add(key);
    const values = await this.ask(this.first.load(key));
    batch(() => {
      const left = new Set(this.loading.peek());
      left.delete(key);
      this.loading.value = left;
      if (values) this.loaded.value = new Map(this.loaded.peek()).set(key, values);
    });
  }

  async compare(on: boolean): Promise<void> {
    const other = this.first.backend.other;
    if (on && !this.second.value && other) {
      const second = await this.ask(Session.open(other, 1));
      if (!second) return;
      this.second.value = second;
      this.stops.push(effect(() => void this.measure(second, second.dims.value)));
    }
    this.comparing.value = on && this.second.value !== null;
  }

  /** Whether the rows of both runs are the same, so that filters and selections hold for both. */
  shares(session: Session): boolean {
    return session === this.first || (session.n === this.first.n && (this.first.meta.linked ?? session.meta.linked ?? false));
  }

  // Filters

  hide(key: string, level: number, hidden: boolean): void {
    const levels = new Set(this.hidden.value.get(key));
    if (hidden) levels.add(level);
    else levels.delete(level);
    this.setHidden(key, levels);
  }

  setHidden(key: string, levels: ReadonlySet<number>): void {
    const all = new Map(this.hidden.value);
    if (levels.size) all.set(key, levels);
    else all.delete(key);
    this.hidden.value = all;
  }

  limit(key: string, range: Range | null): void {
    const all = new Map(this.ranges.value);
    if (range) all.set(key, range);
    else all.delete(key);
    this.ranges.value = all;
  }

  /** Rows that the filters pass, but for the one of a field. */
  passing(without?: string): Uint8Array | null {
    if (without !== undefined && !this.ranges.value.has(without) && !this.hidden.value.has(without)) return this.mask.value;
    const loaded = this.loaded.value;
    const ranges = [...this.ranges.value].filter(([key]) => key !== without && loaded.has(key));
    const hidden = [...this.hidden.value].filter(([key]) => key !== without && loaded.has(key));
    if (!ranges.length && !hidden.length) return null;
    const pass = new Uint8Array(this.first.n).fill(1);
    for (const [key, [low, high]] of ranges) {
      const values = loaded.get(key)!;
      for (let i = 0; i < pass.length; i++) if (!(values[i] >= low && values[i] <= high)) pass[i] = 0;
    }
    for (const [key, levels] of hidden) {
      const values = loaded.get(key)!;
      const off = new Uint8Array(NO_LEVEL + 1);
      for (const level of levels) off[level] = 1;
      for (let i = 0; i < pass.length; i++) if (off[values[i]]) pass[i] = 0;
    }
    return pass;
  }

  // Pointer, pin and selection

  point(pointer: Pointer | null): void {
    batch(() => {
      this.pointer.value = pointer;
      if (!pointer) {
        this.decoding.drop();
        this.reading.value = null;
        this.hovered.value = null;
        return;
      }
      if (pointer.session.meta.can.decode && this.layers.value.live) this.decoding.next(pointer);
      if (pointer.row === null) this.hovered.value = null;
      else if (pointer.session.meta.can.rows) this.looking.next(pointer);
    });
  }

  pinRow(row: number, session: Session = this.first): void {
    this.pin.value = { session, row, z: session.code(row) };
    this.tab.value = "place";
  }

  pinPlace(z: number[], session: Session = this.first): void {
    this.pin.value = { session, row: null, z };
  }

  private async look(pin: Pin | null): Promise<void> {
    if (!pin) {
      this.pinned.value = { reading: null, row: null };
      return;
    }
    const { can } = pin.session.meta;
    const [decoded, row] = await Promise.all([
      can.decode ? this.ask(pin.session.backend.decode([pin.z])) : undefined,
      pin.row !== null && can.rows ? this.ask(pin.session.row(pin.row)) : undefined,
    ]);
    if (this.pin.peek() === pin) this.pinned.value = { reading: decoded ? reading(pin.z, decoded) : null, row: row ?? null };
  }

  select(rows: Uint32Array): void {
    this.selection.value = rows;
    if (rows.length) this.tab.value = "selection";
  }

  private describe(rows: Uint32Array): void {
    this.selected.value = null;
    this.first.backend.selected?.(rows);
    this.describing.next(rows);
  }

  private async measure(session: Session, dims: number[]): Promise<void> {
    session.density.value = null;
    if (!session.meta.can.density || dims.length !== 2) return;
    const density = await this.ask(session.backend.density(dims[0], dims[1]));
    if (density && session.dims.peek() === dims) session.density.value = density;
  }

  // Ways between two places

  /** Set the first end of a way, or the second where the first stands. */
  walk(end: Pin): void {
    const route = this.route.value;
    if (!route || route.to || route.session !== end.session) {
      this.route.value = { session: end.session, from: end, to: null, along: "straight", steps: 12, placed: null };
    } else {
      this.route.value = { ...route, to: end };
      this.tool.value = "explore";
      void this.travel();
    }
  }

  async travel(change: Partial<Pick<Route, "along" | "steps">> = {}): Promise<void> {
    if (!this.route.value?.to) return;
    const route = { ...this.route.value, ...change };
    this.route.value = route;
    const [from, to] = [route.from, route.to!].map((end) => end.row ?? end.z);
    const placed = await this.ask(route.session.backend.path(from, to, route.steps, route.along));
    if (placed && this.route.value === route) this.route.value = { ...route, placed };
  }

  // New rows

  async draw(n: number, seed: number): Promise<void> {
    const placed = await this.ask(this.first.backend.samples(n, seed));
    if (!placed) return;
    const drawn = placed.z.map((z, i): Marker => {
      const { items, density, hole } = placed;
      return { session: this.first, z, kind: "sample", item: items[i], density: density[i], hole: hole[i], name: `Sample ${i + 1}` };
    });
    this.markers.value = [...this.markers.value.filter((marker) => marker.kind !== "sample"), ...drawn];
  }

  async encode(body: Blob | string, name: string): Promise<void> {
    this.tab.value = "new";
    this.notice.value = `Encoding ${name} …`;
    const encoded = await this.ask(this.first.backend.encode(body));
    this.notice.value = "";
    if (!encoded) return;
    const marker: Marker = { session: this.first, z: encoded.z, kind: "new", item: encoded.item, density: null, hole: null, encoded, name };
    this.markers.value = [...this.markers.value, marker];
    this.pinPlace(encoded.z);
  }

  /** Undo one step: the way, the tool, the pin, the selection. */
  escape(): void {
    if (this.help.value) this.help.value = false;
    else if (this.tool.value !== "explore") this.tool.value = "explore";
    else if (this.route.value) this.route.value = null;
    else if (this.pin.value) this.pin.value = null;
    else if (this.selection.value.length) this.select(new Uint32Array(0));
    else this.point(null);
  }
}

/** Open a run for the page. */
export async function explore(backend: Backend, embedded: boolean): Promise<Explorer> {
  return new Explorer(await Session.open(backend), embedded);
}

export function reading(z: number[], answer: Decoded): Reading {
  return { z, item: answer.items[0] ?? null, density: answer.density[0] ?? null, hole: answer.hole[0] ?? null };
}
