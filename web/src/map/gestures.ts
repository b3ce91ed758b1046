import type { MapController } from "./controller";

/** Movements by this many pixels are no clicks. */
const STILL = 4;

/** Follow mouse, touch and wheel over a map: drag to pan or turn, pinch and wheel to zoom, draw a line to select. */
export function followPointer(map: MapController): () => void {
  const { element, explorer } = map;
  const down = new Map<number, [number, number]>();
  let start: [number, number] | null = null;
  let moved = false;
  let turning = false;

  const at = (event: PointerEvent | WheelEvent): [number, number] => {
    const box = element.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const onMap = (event: Event) => event.target instanceof HTMLCanvasElement || event.target === element;

  const press = (event: PointerEvent) => {
    if (!onMap(event)) return;
    element.classList.add("by-pointer");
    element.focus({ preventScroll: true });
    element.setPointerCapture(event.pointerId);
    down.set(event.pointerId, at(event));
    start = at(event);
    moved = false;
    turning = map.camera.spatial && event.button === 0 && !event.ctrlKey && !event.metaKey;
    if (down.size === 1 && (explorer.tool.value === "lasso" || event.shiftKey)) map.lasso = [start];
    else map.lasso = [];
  };

  const move = (event: PointerEvent) => {
    const [x, y] = at(event);
    const last = down.get(event.pointerId);
    if (!last) {
      if (onMap(event) && event.pointerType !== "touch") map.hover(x, y);
      return;
    }
    if (start && Math.hypot(x - start[0], y - start[1]) > STILL) moved = true;
    if (map.lasso.length) {
      map.lasso.push([x, y]);
      map.touch();
    } else if (down.size === 2) {
      pinch(event.pointerId, [x, y]);
    } else if (moved) {
      if (event.pointerType === "touch") explorer.point(null);
      map.drag(x - last[0], y - last[1], turning);
    }
    down.set(event.pointerId, [x, y]);
  };

  const pinch = (id: number, now: [number, number]) => {
    const other = [...down].find(([key]) => key !== id)![1];
    const before = down.get(id)!;
    const middle: [number, number] = [(now[0] + other[0]) / 2, (now[1] + other[1]) / 2];
    const factor = Math.hypot(now[0] - other[0], now[1] - other[1]) / Math.max(1, Math.hypot(before[0] - other[0], before[1] - other[1]));
    map.drag((now[0] - before[0]) / 2, (now[1] - before[1]) / 2, false);
    map.zoom(factor, ...middle);
  };

  const release = (event: PointerEvent) => {
    if (!down.delete(event.pointerId)) return;
    if (map.lasso.length) {
      if (moved) map.closeLasso(event.altKey);
      else map.lasso = [];
    } else if (!moved && event.type === "pointerup" && down.size === 0) {
      map.hover(...at(event), event.pointerType === "touch" ? 16 : undefined);
      map.press();
    }
    start = null;
  };

  const leave = (event: PointerEvent) => {
    if (!down.size && event.pointerType !== "touch") explorer.point(null);
  };

  const wheel = (event: WheelEvent) => {
    if (!onMap(event)) return;
    event.preventDefault();
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1;
    map.zoom(Math.exp(-Math.max(-240, Math.min(240, event.deltaY * lines)) * 0.0022), ...at(event));
  };

  const none = (event: Event) => onMap(event) && event.preventDefault();

  element.addEventListener("pointerdown", press);
  element.addEventListener("pointermove", move);
  element.addEventListener("pointerup", release);
  element.addEventListener("pointercancel", release);
  element.addEventListener("pointerleave", leave);
  element.addEventListener("wheel", wheel, { passive: false });
  element.addEventListener("contextmenu", none);
  return () => {
    element.removeEventListener("pointerdown", press);
    element.removeEventListener("pointermove", move);
    element.removeEventListener("pointerup", release);
    element.removeEventListener("pointercancel", release);
    element.removeEventListener("pointerleave", leave);
    element.removeEventListener("wheel", wheel);
    element.removeEventListener("contextmenu", none);
  };
}

const STEPS: Record<string, [number, number]> = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** Use a map by keys: arrows move the pointer, with Alt the view; Enter uses the place; Space draws a line to select. */
export function followKeys(map: MapController): () => void {
  const { element, explorer } = map;
  const press = (event: KeyboardEvent) => {
    element.classList.remove("by-pointer");
    if (event.target !== element || event.ctrlKey || event.metaKey) return;
    const pointer = explorer.pointer.value;
    const [x, y] = pointer?.session === map.session ? [pointer.x, pointer.y] : [map.camera.width / 2, map.camera.height / 2];
    const step = STEPS[event.key];
    if (step && event.altKey) map.drag(-40 * step[0], -40 * step[1], map.camera.spatial);
    else if (step) {
      const size = event.shiftKey ? 2 : 12;
      const to = (value: number, most: number) => Math.max(0, Math.min(most, value));
      map.hover(to(x + size * step[0], map.camera.width), to(y + size * step[1], map.camera.height));
    } else if (event.key === "+" || event.key === "=") map.zoom(1.35, x, y);
    else if (event.key === "-") map.zoom(1 / 1.35, x, y);
    else if (event.key === "0") map.fit();
    else if (event.key === " " && explorer.tool.value === "lasso") {
      map.lasso = [...map.lasso, [x, y]];
      map.touch();
    } else if (event.key === "Enter") {
      if (map.lasso.length > 2) map.closeLasso(event.altKey);
      else map.press();
    } else return;
    event.preventDefault();
  };
  element.addEventListener("keydown", press);
  return () => element.removeEventListener("keydown", press);
}
