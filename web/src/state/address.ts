import { effect, signal } from "@preact/signals";
import type { Pose } from "../map/camera";
import type { Explorer, Range, Tab, Theme } from "./explorer";

/** The view of the first map, kept in the address. */
export const pose = signal<Pose | null>(null);

const TABS: readonly string[] = ["place", "selection", "filters", "components", "new"];

/** Read the view from the part of the address after `#`, and write it there whenever it changes. */
export function keepInAddress(explorer: Explorer): () => void {
  read(explorer, new URLSearchParams(location.hash.slice(1)));
  let timer = 0;
  const stop = effect(() => {
    const text = write(explorer).toString();
    clearTimeout(timer);
    timer = window.setTimeout(() => history.replaceState(null, "", text ? `#${text}` : location.pathname + location.search), 250);
  });
  // Only the user changes the address so that this is told: show what it says, as a new page does.
  const follow = () => location.reload();
  window.addEventListener("hashchange", follow);
  return () => {
    stop();
    clearTimeout(timer);
    window.removeEventListener("hashchange", follow);
  };
}

const round = (value: number): string => String(Number(value.toPrecision(5)));

function write(explorer: Explorer): URLSearchParams {
  const out = new URLSearchParams();
  const { first } = explorer;
  const dims = first.dims.value;
  if (dims.join() !== first.meta.dims.join()) out.set("dims", dims.join());
  if (explorer.colour.value) out.set("colour", explorer.colour.value);
  if (explorer.tab.value !== "place") out.set("tab", explorer.tab.value);
  if (explorer.comparing.value) out.set("compare", "1");
  const { value: seen } = pose;
  if (seen) out.set("view", [...seen.at, seen.scale, seen.yaw, seen.pitch].map(round).join());
  const base = first.base.value;
  if (base.some((value, k) => value !== 0 && !dims.includes(k))) out.set("base", base.map(round).join());
  for (const [key, [low, high]] of explorer.ranges.value) out.append("range", `${round(low)},${round(high)},${key}`);
  for (const [key, levels] of explorer.hidden.value) out.append("hide", `${[...levels].join("-")},${key}`);
  const off = Object.entries(explorer.layers.value).map(([name, on]) => (on ? name : `-${name}`));
  if (off.join() !== "contours,-holes,labels,live") out.set("layers", off.join());
  return out;
}

function read(explorer: Explorer, from: URLSearchParams): void {
  const { first } = explorer;
  const numbers = (text: string | null): number[] => (text ?? "").split(",").map(Number).filter(Number.isFinite);
  const dims = numbers(from.get("dims"));
  if (from.get("dims") && dims.every((k) => Number.isInteger(k) && k >= 0 && k < first.d)) first.dims.value = dims.slice(0, 3);
  const colour = from.get("colour");
  if (colour && first.field(colour)) explorer.colour.value = colour;
  const tab = from.get("tab");
  if (tab && TABS.includes(tab)) explorer.tab.value = tab as Tab;
  const base = numbers(from.get("base"));
  if (from.get("base") && base.length === first.d) first.base.value = base;
  const view = numbers(from.get("view"));
  if (view.length === 6 && view[3] > 0) {
    pose.value = { at: [view[0], view[1], view[2]], scale: view[3], yaw: view[4], pitch: view[5] };
  }
  const ranges = new Map<string, Range>();
  for (const text of from.getAll("range")) {
    const [low, high, ...key] = text.split(",");
    if (first.field(key.join()) && Number(low) <= Number(high)) ranges.set(key.join(), [Number(low), Number(high)]);
  }
  const hidden = new Map<string, ReadonlySet<number>>();
  for (const text of from.getAll("hide")) {
    const [levels, ...key] = text.split(",");
    if (first.field(key.join())) hidden.set(key.join(), new Set(levels.split("-").map(Number)));
  }
  for (const key of [...ranges.keys(), ...hidden.keys()]) void explorer.need(key);
  if (ranges.size) explorer.ranges.value = ranges;
  if (hidden.size) explorer.hidden.value = hidden;
  const layers = from.get("layers")?.split(",") ?? [];
  if (layers.length) {
    const on = (name: string) => layers.includes(name);
    explorer.layers.value = { contours: on("contours"), holes: on("holes"), labels: on("labels"), live: on("live") };
  }
  if (from.get("compare") === "1") void explorer.compare(true);
}

/** Colours of the page: as the system says, or as chosen; the browser remembers the choice. */
export const theme = signal<Theme>("auto");
