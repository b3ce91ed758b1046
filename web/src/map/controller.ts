import { effect, signal } from "@preact/signals";
import { paint } from "../look/colours";
import { ink } from "../look/theme";
import { pose } from "../state/address";
import type { Explorer } from "../state/explorer";
import type { Session, Values } from "../state/session";
import { MapCamera, type Place } from "./camera";
import { CanvasRenderer } from "./canvas";
import { shapes, type Shapes } from "./contours";
import { drawOverlay } from "./overlay";
import { Picker } from "./pick";
import type { Renderer } from "./renderer";
import { WebGlRenderer } from "./webgl";

/** Milliseconds without movement after which all points are drawn. */
const REST = 140;
/** Pixels from a point within which it is meant. */
const REACH = 9;

/** One map: its renderer, its camera, and what lies over the points. */
export class MapController {
  readonly camera: MapCamera;
  readonly overlay = document.createElement("canvas");
  /** Pixels of the line that is being drawn around points. */
  lasso: [number, number][] = [];
  private renderer: Renderer;
  private picker: Picker;
  private shapes: Shapes | null = null;
  private islands: { label: string; place: Place }[] = [];
  private readonly values = signal<Values | undefined>(undefined);
  private frame = 0;
  private rest = 0;
  private sorting = 0;
  private moving = false;
  private dirty = true;
  private fitted = false;
  /** Whether the whole map is shown, as far as nobody has moved it. */
  private untouched = false;
  private readonly stops: (() => void)[] = [];
  private readonly observer: ResizeObserver;

  constructor(
    readonly element: HTMLElement,
    readonly explorer: Explorer,
    readonly session: Session,
  ) {
    this.camera = new MapCamera(session.spatial);
    this.renderer = this.create();
    this.picker = new Picker(session.positions.value, session.spatial);
    this.overlay.className = "overlay";
    element.prepend(this.renderer.canvas, this.overlay);
    this.observer = new ResizeObserver(() => this.resize());
    this.observer.observe(element);
    this.resize();
    this.listen();
  }

  dispose(): void {
    for (const stop of this.stops) stop();
    this.observer.disconnect();
    cancelAnimationFrame(this.frame);
    clearTimeout(this.rest);
    clearTimeout(this.sorting);
    this.renderer.dispose();
    this.renderer.canvas.remove();
    this.overlay.remove();
  }

  private create(plain = new URLSearchParams(location.hash.slice(1)).get("renderer") === "canvas"): Renderer {
    let renderer: Renderer;
    try {
      if (plain) throw new Error("a canvas is asked for");
      renderer = new WebGlRenderer(this.session.n, () => this.fallBack());
    } catch {
      renderer = new CanvasRenderer(this.session.n);
    }
    renderer.canvas.className = "points";
    this.explorer.renderer.value = renderer.name;
    return renderer;
  }

  /** The browser has lost WebGL: go on with a canvas. */
  private fallBack(): void {
    this.renderer.canvas.remove();
    this.renderer = this.create(true);
    this.element.prepend(this.renderer.canvas);
    this.renderer.setPositions(this.session.positions.value);
    this.dirty = true;
    this.resize();
  }

  /** Follow the state. */
  private listen(): void {
    const { explorer, session } = this;
    this.stops.push(
      effect(() => this.arrange(session.positions.value)),
      effect(() => {
        this.shapes = session.density.value ? shapes(session.density.value) : null;
        this.touch();
      }),
      effect(() => void this.load(explorer.colour.value, explorer.loaded.value)),
      effect(() => {
        void [this.values.value, explorer.mask.value, explorer.selection.value, ink.value];
        this.dirty = true;
        this.touch();
      }),
      effect(() => {
        void [explorer.pointer.value, explorer.hovered.value, explorer.pin.value, explorer.pinned.value];
        void [explorer.markers.value, explorer.route.value, explorer.layers.value, explorer.hidden.value];
        this.touch();
      }),
      effect(() => {
        if (explorer.tool.value !== "lasso") this.lasso = [];
        this.touch();
      }),
    );
  }

  private arrange(positions: Float32Array): void {
    const { session, camera } = this;
    camera.spatial = session.spatial;
    this.picker = new Picker(positions, session.spatial);
    clearTimeout(this.sorting);
    const { picker } = this;
    this.sorting = window.setTimeout(() => picker.prepare(), session.n > 100_000 ? 400 : 0);
    this.renderer.setPositions(positions);
    this.islands = this.centres();
    const kept = session.index === 0 && !this.fitted ? pose.peek() : null;
    if (kept) camera.pose = { ...kept, at: [...kept.at] };
    else this.fit(!this.fitted);
    this.fitted = true;
    this.touch();
  }

  private async load(key: string, loaded: ReadonlyMap<string, Values>): Promise<void> {
    if (this.session === this.explorer.first) this.values.value = loaded.get(key);
    else if (this.session.field(key)) this.values.value = await this.explorer.ask(this.session.load(key));
    else this.values.value = undefined;
  }

  /** The labels of the run at the middles of their rows, on the axes of the run; none on others. */
  private centres(): { label: string; place: Place }[] {
    const { meta, dims } = this.session;
    const [x, y] = dims.value;
    if (x !== meta.dims[0] || y !== meta.dims[1] || this.session.spatial) return [];
    return meta.islands.map(({ label, x, y }) => ({ label, place: [x, y, 0] }));
  }

  // Drawing

  /** Draw at the next frame. */
  touch(moving = false): void {
    this.moving ||= moving;
    if (moving) clearTimeout(this.rest);
    this.frame ||= requestAnimationFrame(() => this.draw());
  }

  /** Draw all points once nothing moves any more; a slow frame is no rest. */
  private settle(): void {
    clearTimeout(this.rest);
    this.rest = window.setTimeout(
      () => {
        this.moving = false;
        this.keep();
        this.touch();
      },
      this.session.n > 100_000 ? 3 * REST : REST,
    );
  }

  private keep(): void {
    if (this.session.index === 0) pose.value = { ...this.camera.pose, at: [...this.camera.pose.at] };
  }

  private draw(): void {
    this.frame = 0;
    const { explorer, session, camera } = this;
    if (this.dirty) {
      const shared = explorer.shares(session);
      const mask = shared ? explorer.mask.peek() : null;
      const selection = shared ? explorer.selection.peek() : new Uint32Array(0);
      const field = session.field(explorer.colour.peek());
      this.renderer.setColours(paint(session.n, field, this.values.peek(), mask, selection, ink.peek().dim));
      this.dirty = false;
    }
    this.renderer.draw(camera, this.diameter(), this.moving);
    if (this.moving) this.settle();
    const context = this.overlay.getContext("2d")!;
    const ratio = this.overlay.width / Math.max(1, camera.width);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    const hidden = this.hiddenLabels();
    const islands = hidden.size ? this.islands.filter(({ label }) => !hidden.has(label)) : this.islands;
    drawOverlay(context, { explorer, session, camera, shapes: this.shapes, islands, frame: this.axes(), lasso: this.lasso, ink: ink.peek() });
    this.element.dataset.frames = String(Number(this.element.dataset.frames ?? 0) + 1);
  }

  private hiddenLabels(): Set<string> {
    const names = new Set<string>();
    for (const [key, levels] of this.explorer.hidden.peek()) {
      const field = this.session.field(key);
      if (field?.group === "label") for (const level of levels) names.add(field.levels?.[level] ?? "");
    }
    return names;
  }

  /** Fewer points are larger, and grow a little with the zoom. */
  private diameter(): number {
    const n = Math.max(1, this.explorer.shares(this.session) ? this.explorer.shown.peek() : this.session.n);
    const usual = Math.max(1.6, Math.min(8, 30 / n ** 0.22));
    const closer = this.camera.pose.scale / this.home();
    return Math.max(1.5, Math.min(14, usual * Math.max(0.7, Math.min(2.2, closer ** 0.3))));
  }

  private home(): number {
    const ranges = this.axes();
    return 0.86 * Math.min(this.camera.width / Math.max(ranges[0][1] - ranges[0][0], 1e-6), this.camera.height / Math.max(1e-6, ranges[1][1] - ranges[1][0]));
  }

  /** Pixels that the legend covers at the left and the tools at the right; a narrow map has no room to leave. */
  private covered(): [number, number] {
    if (this.session.index !== 0) return [0, 0];
    const width = (name: string) => this.element.parentElement?.querySelector(name)?.getBoundingClientRect().width ?? 0;
    const [left, right] = [width(".legend"), width(".tools")];
    return left < 0.36 * this.camera.width ? [left + 14, right + 14] : [0, 0];
  }

  private axes(): [number, number][] {
    const { session } = this;
    const [low, high] = session.ranges[session.dims.value[0]] ?? [-3, 3];
    const ranges = session.dims.value.map((k) => session.ranges[k] ?? [-3, 3]);
    return ranges.length > 1 ? ranges : [[low, high], [-0.3 * (high - low), 0.3 * (high - low)]];
  }

  private resize(): void {
    const { width, height } = this.element.getBoundingClientRect();
    if (!width || !height) return;
    const { camera } = this;
    camera.width = width;
    camera.height = height;
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    this.renderer.resize(width, height, ratio);
    this.overlay.width = Math.round(width * ratio);
    this.overlay.height = Math.round(height * ratio);
    if (this.untouched) this.camera.fit(this.axes(), this.covered());
    this.touch();
  }

  // The view

  fit(first = false): void {
    this.untouched = true;
    this.camera.fit(this.axes(), this.covered());
    this.touch(!first);
  }

  zoom(factor: number, x?: number, y?: number): void {
    this.untouched = false;
    this.camera.zoom(factor, x, y);
    this.touch(true);
  }

  drag(right: number, down: number, turn: boolean): void {
    this.untouched = false;
    if (turn) this.camera.orbit(right, down);
    else this.camera.pan(right, down);
    this.touch(true);
  }

  /** Put a place in the middle, unless it is well in sight. */
  centre(z: number[]): void {
    const place = this.session.where(z);
    const at = [0, 0, 0];
    this.camera.screen()(...place, at);
    const { width, height } = this.camera;
    if (at[0] > 0.1 * width && at[0] < 0.9 * width && at[1] > 0.1 * height && at[1] < 0.9 * height) return;
    this.untouched = false;
    this.camera.pose.at = place;
    this.touch(true);
  }

  // The pointer

  private shown(): (i: number) => boolean {
    const mask = this.explorer.shares(this.session) ? this.explorer.mask.value : null;
    return (i) => !mask || mask[i] === 1;
  }

  hover(x: number, y: number, reach = REACH): void {
    const row = this.picker.nearest(this.camera, x, y, reach, this.shown());
    const { session } = this;
    // Among three components only a point tells how deep the pointer is.
    const z = session.spatial && row !== null ? session.code(row) : session.at(this.camera.place(x, y));
    this.explorer.point({ session, z, row, x, y });
  }

  /** Use the place under the pointer: an end of a way, or what the panel shows. */
  press(): void {
    const { explorer } = this;
    const pointer = explorer.pointer.value;
    if (!pointer) return;
    const { session, row } = pointer;
    const z = row === null ? pointer.z : session.code(row);
    if (explorer.tool.value === "path") explorer.walk({ session, row, z });
    else if (row !== null) explorer.pinRow(row, session);
    else if (session.meta.can.decode) {
      explorer.pinPlace(z, session);
      explorer.tab.value = "place";
    }
  }

  /** Select what lies within the line that was drawn. */
  closeLasso(add: boolean): void {
    const line = this.lasso;
    this.lasso = [];
    this.touch();
    if (line.length < 3 || !this.explorer.shares(this.session)) return;
    const rows = this.picker.within(this.camera, line, this.shown());
    const known = add ? this.explorer.selection.value : [];
    this.explorer.select(Uint32Array.from(new Set([...known, ...rows])).sort());
    this.explorer.tool.value = "explore";
  }

  /** The map as it is seen. */
  picture(background: string): Promise<Blob | null> {
    this.draw();
    const whole = document.createElement("canvas");
    whole.width = this.overlay.width;
    whole.height = this.overlay.height;
    const context = whole.getContext("2d")!;
    context.fillStyle = background;
    context.fillRect(0, 0, whole.width, whole.height);
    context.drawImage(this.renderer.canvas, 0, 0, whole.width, whole.height);
    context.drawImage(this.overlay, 0, 0);
    return new Promise((done) => whole.toBlob(done));
  }
}
