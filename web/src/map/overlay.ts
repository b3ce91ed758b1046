import type { Session } from "../state/session";
import type { Explorer } from "../state/explorer";
import type { MapCamera } from "./camera";
import { place } from "./labels";
import type { Shapes } from "./contours";

export interface Ink {
  text: string;
  halo: string;
  line: string;
  faint: string;
  hole: string;
  accent: string;
}

export interface Scene {
  explorer: Explorer;
  session: Session;
  camera: MapCamera;
  shapes: Shapes | null;
  islands: { label: string; place: [number, number, number] }[];
  /** Ranges of the axes. */
  frame: [number, number][];
  lasso: [number, number][];
  ink: Ink;
}

type Context = CanvasRenderingContext2D;

/** Draw all that lies over the points: density, ways, markers, neighbours, labels, and the line of a selection. */
export function drawOverlay(context: Context, scene: Scene): void {
  const { camera, explorer, ink } = scene;
  context.clearRect(0, 0, camera.width, camera.height);
  context.lineJoin = context.lineCap = "round";
  const layers = explorer.layers.value;
  if (scene.shapes && !camera.spatial) {
    if (layers.holes) hatch(context, scene);
    if (layers.contours) drawContours(context, scene);
  }
  if (camera.spatial) drawFrame(context, scene);
  drawNeighbours(context, scene);
  drawRoute(context, scene);
  drawMarkers(context, scene);
  if (layers.labels) drawLabels(context, scene);
  drawPins(context, scene);
  if (scene.lasso.length > 1) {
    line(context, scene.lasso, true);
    context.fillStyle = ink.faint;
    context.fill();
    context.strokeStyle = ink.accent;
    context.lineWidth = 1.5;
    context.stroke();
  }
}

function project(scene: Scene): (place: ArrayLike<number>) => [number, number, number] {
  const screen = scene.camera.screen();
  const out = [0, 0, 0];
  return (at) => {
    screen(at[0], at[1] ?? 0, at[2] ?? 0, out);
    return [out[0], out[1], out[2]];
  };
}

function line(context: Context, places: ArrayLike<number>[], closed = false): void {
  context.beginPath();
  places.forEach((at, k) => (k ? context.lineTo(at[0], at[1]) : context.moveTo(at[0], at[1])));
  if (closed) context.closePath();
}

/** The edges of a box around the points. */
function drawFrame(context: Context, scene: Scene): void {
  const at = project(scene);
  const corner = (k: number) => at(scene.frame.map((range, axis) => range[(k >> axis) & 1]));
  context.strokeStyle = scene.ink.faint;
  context.lineWidth = 1;
  for (let k = 0; k < 8; k++) {
    for (const axis of [1, 2, 4]) {
      if (k & axis) continue;
      line(context, [corner(k), corner(k | axis)]);
      context.stroke();
    }
  }
}

function drawContours(context: Context, scene: Scene): void {
  const at = project(scene);
  const { levels } = scene.shapes!;
  context.strokeStyle = scene.ink.line;
  context.lineWidth = 1;
  levels.forEach(({ lines }, k) => {
    context.globalAlpha = 0.16 + (0.3 * (k + 1)) / levels.length;
    for (const ring of lines) {
      line(context, ring.map(at), true);
      context.stroke();
    }
  });
  context.globalAlpha = 1;
}

/** Strokes over the places where no rows lie. */
function hatch(context: Context, scene: Scene): void {
  const { width, height } = scene.camera;
  const at = project(scene);
  const { low, high } = scene.shapes!;
  const [[left, bottom], [right, top]] = [at(low), at(high)];
  context.save();
  context.beginPath();
  context.rect(0, 0, width, height);
  context.rect(left, top, right - left, bottom - top);
  for (const ring of scene.shapes!.holes) {
    ring.forEach((place, k) => {
      const [x, y] = at(place);
      if (k) context.lineTo(x, y);
      else context.moveTo(x, y);
    });
    context.closePath();
  }
  context.clip("evenodd");
  context.beginPath();
  for (let x = -height; x < width; x += 9) {
    context.moveTo(x, height);
    context.lineTo(x + height, 0);
  }
  context.strokeStyle = scene.ink.hole;
  context.lineWidth = 1.2;
  context.stroke();
  context.restore();
}

function drawNeighbours(context: Context, scene: Scene): void {
  const { explorer, session, ink } = scene;
  const hovered = explorer.hovered.value;
  const pinned = explorer.pin.value;
  const shown = [
    hovered && explorer.pointer.value?.session === session ? { row: hovered.row, answer: hovered.answer } : null,
    pinned && pinned.session === session && pinned.row !== null ? { row: pinned.row, answer: explorer.pinned.value.row } : null,
  ];
  const at = project(scene);
  const positions = session.positions.value;
  const where = (i: number) => at(positions.subarray(3 * i, 3 * i + 3));
  for (const entry of shown) {
    if (!entry?.answer) continue;
    const from = where(entry.row);
    context.strokeStyle = ink.line;
    context.lineWidth = 1.2;
    context.globalAlpha = 0.65;
    for (const neighbour of entry.answer.neighbours) {
      line(context, [from, where(neighbour)]);
      context.stroke();
    }
    context.globalAlpha = 1;
    for (const neighbour of entry.answer.neighbours) ring(context, where(neighbour), 3.5, ink, 1.5);
  }
}

function ring(context: Context, [x, y]: ArrayLike<number> & Iterable<number>, radius: number, ink: Ink, width = 2): void {
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.strokeStyle = ink.halo;
  context.lineWidth = width + 2;
  context.stroke();
  context.strokeStyle = ink.line;
  context.lineWidth = width;
  context.stroke();
}

function drawRoute(context: Context, scene: Scene): void {
  const route = scene.explorer.route.value;
  if (!route || route.session !== scene.session) return;
  const at = project(scene);
  const where = (z: number[]) => at(scene.session.where(z));
  const ends = [route.from, ...(route.to ? [route.to] : [])].map((end) => where(end.z));
  const places = route.placed ? route.placed.z.map(where) : ends;
  context.setLineDash(route.placed ? [] : [5, 5]);
  line(context, places);
  context.strokeStyle = scene.ink.halo;
  context.lineWidth = 5;
  context.stroke();
  context.strokeStyle = scene.ink.accent;
  context.lineWidth = 2.5;
  context.stroke();
  context.setLineDash([]);
  route.placed?.z.forEach((z, k) => {
    const [x, y] = where(z);
    context.beginPath();
    context.arc(x, y, 3, 0, 2 * Math.PI);
    context.fillStyle = route.placed!.hole[k] ? scene.ink.halo : scene.ink.accent;
    context.fill();
    context.strokeStyle = scene.ink.accent;
    context.lineWidth = 1.5;
    context.stroke();
  });
  ends.forEach(([x, y], k) => badge(context, x, y, k ? "B" : "A", scene.ink));
}

function badge(context: Context, x: number, y: number, text: string, ink: Ink): void {
  context.beginPath();
  context.arc(x, y, 9, 0, 2 * Math.PI);
  context.fillStyle = ink.accent;
  context.fill();
  context.font = "600 11px system-ui, sans-serif";
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.fillStyle = ink.halo;
  context.fillText(text, x, y + 0.5);
}

function drawMarkers(context: Context, scene: Scene): void {
  const at = project(scene);
  for (const marker of scene.explorer.markers.value) {
    if (marker.session !== scene.session) continue;
    const [x, y, depth] = at(scene.session.where(marker.z));
    if (depth < 0) continue;
    const size = marker.kind === "new" ? 8 : 5;
    line(context, [[x, y - size], [x + size, y], [x, y + size], [x - size, y]], true);
    context.fillStyle = marker.kind === "new" ? scene.ink.accent : scene.ink.halo;
    context.fill();
    context.strokeStyle = marker.kind === "new" ? scene.ink.halo : scene.ink.line;
    context.lineWidth = 1.5;
    context.stroke();
  }
}

function drawLabels(context: Context, scene: Scene): void {
  const { camera, ink } = scene;
  const at = project(scene);
  const labels = scene.islands.map(({ label, place: where }) => {
    const [x, y] = at(where);
    return { text: label.length > 28 ? `${label.slice(0, 27)}…` : label, x, y };
  });
  context.font = "600 13px system-ui, sans-serif";
  context.textAlign = "left";
  context.textBaseline = "top";
  for (const box of place(labels, (text) => context.measureText(text).width, 15, camera.width, camera.height)) {
    context.lineWidth = 4;
    context.strokeStyle = ink.halo;
    context.strokeText(box.text, box.x, box.y);
    context.fillStyle = ink.text;
    context.fillText(box.text, box.x, box.y);
  }
}

/** A cross at the pointer, rings around the pinned place and around the row that is hovered in any of the maps. */
function drawPins(context: Context, scene: Scene): void {
  const { explorer, session, ink } = scene;
  const at = project(scene);
  const spot = (shown: { session: Session; row: number | null; z: number[] }): [number, number, number] | null => {
    if (shown.row === null) return shown.session === session ? at(session.where(shown.z)) : null;
    const own = shown.session === session || (explorer.shares(shown.session) && explorer.shares(session));
    return own ? at(session.positions.value.subarray(3 * shown.row, 3 * shown.row + 3)) : null;
  };
  const { value: pin } = explorer.pin;
  const pinned = pin && spot(pin);
  if (pinned) ring(context, pinned, 7, ink, 2);
  const { value: pointer } = explorer.pointer;
  if (!pointer) return;
  const row = pointer.row !== null && spot(pointer);
  if (row) ring(context, row, 5.5, ink, 1.8);
  if (pointer.session === session) cross(context, pointer.x, pointer.y, ink);
}

function cross(context: Context, x: number, y: number, ink: Ink): void {
  for (const [colour, width] of [[ink.halo, 3], [ink.line, 1.2]] as const) {
    context.strokeStyle = colour;
    context.lineWidth = width;
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      line(context, [[x + 4 * dx, y + 4 * dy], [x + 10 * dx, y + 10 * dy]]);
      context.stroke();
    }
  }
}
