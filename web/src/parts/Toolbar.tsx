import type { ComponentChildren } from "preact";
import type { MapController } from "../map/controller";
import type { Explorer, Tool } from "../state/explorer";
import { save } from "../save";

function Icon({ d }: { d: string }) {
  return (
    <svg viewBox="0 0 24 24" width="18" height="18" aria-hidden="true">
      <path d={d} />
    </svg>
  );
}

const ICONS = {
  explore: "M5 3l14 8-6 1.5L10 19z",
  lasso: "M12 4c5 0 8 2.5 8 5.5S17 15 12 15s-8-2.5-8-5.5S7 4 12 4zM8 14.5c-2 .5-2.5 3-.5 3.5s3 2 1 3",
  path: "M5 19a2 2 0 1 0 .01 0M19 5a2 2 0 1 0 .01 0M6.5 17.5C10 8 14 17 17.5 6.5",
  plus: "M12 5v14M5 12h14",
  minus: "M5 12h14",
  fit: "M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5",
  camera: "M4 8h3l2-3h6l2 3h3v11H4zM12 10.5a3 3 0 1 0 .01 0",
};

interface ButtonProps {
  label: string;
  icon?: string;
  pressed?: boolean;
  onClick: () => void;
  children?: ComponentChildren;
}

function Button({ label, icon, pressed, onClick, children }: ButtonProps) {
  return (
    <button type="button" class="tool" aria-label={label} title={label} aria-pressed={pressed} onClick={onClick}>
      {icon ? <Icon d={icon} /> : children}
    </button>
  );
}

const TOOLS: [Tool, string][] = [
  ["explore", "Explore: drag to move, press a point"],
  ["lasso", "Lasso: draw around points (L)"],
  ["path", "Path: choose two places (P)"],
];

/** What the pointer does, and how near the map is. */
export function Toolbar({ explorer, map }: { explorer: Explorer; map: MapController | null }) {
  const { first } = explorer;
  const tools = TOOLS.filter(([tool]) => (tool === "path" ? first.meta.can.path : tool === "lasso" ? first.n > 0 : true));
  const others = Array.from({ length: first.d }, (_, k) => k).filter((k) => !first.dims.value.includes(k));
  const third = others.find((k) => first.meta.active[k]) ?? others[0];
  const layers = explorer.layers.value;
  const toggle = (name: keyof typeof layers) => (explorer.layers.value = { ...layers, [name]: !layers[name] });
  return (
    <>
      <div class="tools card" role="toolbar" aria-label="Map">
        {tools.map(([tool, label]) => (
          <Button key={tool} label={label} icon={ICONS[tool]} pressed={explorer.tool.value === tool} onClick={() => (explorer.tool.value = tool)} />
        ))}
        <hr />
        <Button label="Nearer (+)" icon={ICONS.plus} onClick={() => map?.zoom(1.4)} />
        <Button label="Farther (−)" icon={ICONS.minus} onClick={() => map?.zoom(1 / 1.4)} />
        <Button label="Whole map (0)" icon={ICONS.fit} onClick={() => map?.fit()} />
        {first.d > 2 && (
          <Button
            label={first.spatial ? "Two dimensions" : "Three dimensions"}
            pressed={first.spatial}
            onClick={() => (first.dims.value = first.spatial ? first.dims.value.slice(0, 2) : [...first.dims.value, third])}
          >
            3D
          </Button>
        )}
        <hr />
        <Button
          label="Save the map as a picture"
          icon={ICONS.camera}
          onClick={async () => {
            const blob = await map?.picture(getComputedStyle(map.element).backgroundColor);
            if (blob) save({ name: `${first.meta.name}.png`, blob });
          }}
        />
      </div>
      <div class="layers card" role="group" aria-label="Layers">
        {first.meta.can.decode && <Toggle label="Live decode" on={layers.live} flip={() => toggle("live")} />}
        {first.meta.can.density && !first.spatial && <Toggle label="Density" on={layers.contours} flip={() => toggle("contours")} />}
        {first.meta.can.density && !first.spatial && <Toggle label="Holes" on={layers.holes} flip={() => toggle("holes")} />}
        {first.meta.islands.length > 0 && <Toggle label="Labels" on={layers.labels} flip={() => toggle("labels")} />}
      </div>
    </>
  );
}

function Toggle({ label, on, flip }: { label: string; on: boolean; flip: () => void }) {
  return (
    <label class="toggle">
      <input type="checkbox" checked={on} onChange={flip} />
      {label}
    </label>
  );
}
