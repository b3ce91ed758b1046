import type { Explorer, Tab } from "../state/explorer";
import { brief } from "../format";
import { ComponentsPanel } from "./ComponentsPanel";
import { FilterPanel } from "./FilterPanel";
import { NewPanel } from "./NewPanel";
import { PlacePanel } from "./PlacePanel";
import { SelectionPanel } from "./SelectionPanel";

/** The tabs that make sense for a run. */
export function tabs(explorer: Explorer): { tab: Tab; name: string; mark?: string }[] {
  const { can, components } = explorer.first.meta;
  const { length } = explorer.selection.value;
  const filters = explorer.ranges.value.size + explorer.hidden.value.size;
  return [
    { tab: "place", name: "Place" },
    ...(can.rows ? [{ tab: "selection" as const, name: "Selection", mark: length ? brief(length) : undefined }] : []),
    ...(can.rows ? [{ tab: "filters" as const, name: "Filters", mark: filters ? String(filters) : undefined }] : []),
    ...(can.decode || components > 2 ? [{ tab: "components" as const, name: "Sliders" }] : []),
    ...(can.samples || can.encode ? [{ tab: "new" as const, name: "New rows" }] : []),
  ];
}

const CONTENT = { place: PlacePanel, selection: SelectionPanel, filters: FilterPanel, components: ComponentsPanel, new: NewPanel };

/** The panel beside the map; on a phone a sheet that rises from below. */
export function Panel({ explorer }: { explorer: Explorer }) {
  const all = tabs(explorer);
  const now = all.some(({ tab }) => tab === explorer.tab.value) ? explorer.tab.value : "place";
  const Content = CONTENT[now];
  const open = explorer.sheet.value;
  const press = (event: KeyboardEvent) => {
    const step = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
    if (!step) return;
    const next = all[(all.findIndex(({ tab }) => tab === now) + step + all.length) % all.length];
    explorer.tab.value = next.tab;
    document.getElementById(`tab-${next.tab}`)?.focus();
    event.preventDefault();
  };
  return (
    <aside class={`panel${open ? " open" : ""}`} aria-label="Details">
      <button type="button" class="handle" aria-expanded={open} aria-label={open ? "Lower the panel" : "Raise the panel"} onClick={() => (explorer.sheet.value = !open)} />
      <div class="tabs" role="tablist" aria-label="Panel" onKeyDown={press}>
        {all.map(({ tab, name, mark }) => (
          <button
            key={tab}
            id={`tab-${tab}`}
            type="button"
            role="tab"
            aria-selected={tab === now}
            aria-controls="panel"
            tabIndex={tab === now ? 0 : -1}
            onClick={() => {
              explorer.point(null);
              explorer.sheet.value = tab !== now || !open;
              explorer.tab.value = tab;
            }}
          >
            {name}
            {mark && <span class="mark">{mark}</span>}
          </button>
        ))}
      </div>
      <div id="panel" class="content" role="tabpanel" aria-labelledby={`tab-${now}`} tabIndex={0}>
        <Content explorer={explorer} />
      </div>
    </aside>
  );
}
