import { useEffect, useRef } from "preact/hooks";
import { asCsv } from "../csv";
import { number } from "../format";
import { film, save, strip } from "../save";
import type { Explorer, Route } from "../state/explorer";
import { Items } from "./Items";

/** What lies between two places, step by step. */
export function PathStrip({ explorer }: { explorer: Explorer }) {
  const route = explorer.route.value;
  if (!route?.to) return null;
  const kind = route.session.meta.item;
  const name = `${route.session.meta.name}-path`;
  return (
    <section class="strip" aria-label="Path" data-testid="path">
      <header class="row between">
        <h2>Path</h2>
        <div class="choice" role="radiogroup" aria-label="Along">
          {(["straight", "density"] as const).map((along) => (
            <label key={along}>
              <input type="radio" name="along" checked={route.along === along} onChange={() => void explorer.travel({ along })} />
              {along === "straight" ? "Straight" : "Along the density"}
            </label>
          ))}
        </div>
        <label class="steps">
          <span>Steps</span>
          <input type="number" min={2} max={64} value={route.steps} onChange={(event) => void explorer.travel({ steps: limit(Number(event.currentTarget.value)) })} />
        </label>
        <span class="spring" />
        {kind.kind === "picture" && route.placed && (
          <>
            <button type="button" onClick={async () => keep(`${name}.png`, await strip(kind, route.placed!))}>
              Save PNG
            </button>
            <button type="button" onClick={() => keep(`${name}.gif`, film(kind, route.placed!))}>
              Save GIF
            </button>
          </>
        )}
        {kind.kind !== "picture" && route.placed && (
          <button type="button" onClick={() => keep(`${name}.csv`, table(route))}>
            Save CSV
          </button>
        )}
        <button type="button" class="link" onClick={() => (explorer.route.value = null)}>
          Close
        </button>
      </header>
      {route.placed ? <Steps route={route} explorer={explorer} /> : <p class="quiet">Decoding …</p>}
    </section>
  );
}

/** What a path waits for. */
export function Ask({ explorer }: { explorer: Explorer }) {
  const route = explorer.route.value;
  const second = route !== null && route.to === null;
  if (!second && (route || explorer.tool.value !== "path")) return null;
  const cancel = () => {
    explorer.route.value = null;
    explorer.tool.value = "explore";
  };
  return (
    <div class="ask card" role="status">
      <p>{second ? "Press the second place or point." : "Press the first place or point."}</p>
      <button type="button" class="link" onClick={cancel}>
        Cancel
      </button>
    </div>
  );
}

const limit = (steps: number): number => Math.min(64, Math.max(2, Math.round(steps) || 12));

function keep(name: string, blob: Blob | null): void {
  if (blob) save({ name, blob });
}

function Steps({ route, explorer }: { route: Route; explorer: Explorer }) {
  const { placed, session } = route;
  const list = useRef<HTMLOListElement>(null);
  useEffect(() => void list.current?.scrollTo({ left: 0 }), [placed]);
  if (!placed) return null;
  const holes = placed.hole.filter(Boolean).length;
  return (
    <>
      <ol class="film" ref={list} tabIndex={0} aria-label="Steps of the path">
        {placed.items.map((item, k) => (
          <li key={k} class={placed.hole[k] ? "hole" : ""}>
            <button type="button" aria-label={`Step ${k + 1} of ${placed.items.length}`} onClick={() => explorer.pinPlace(placed.z[k], session)}>
              <Items kind={session.meta.item} items={[{ title: "", item }]} size={58} most={5} />
              <span>{placed.hole[k] ? "hole" : number(placed.density[k], 0.1)}</span>
            </button>
          </li>
        ))}
      </ol>
      <p class="quiet small">
        {placed.density.some((value) => value !== null) && "Below each step: log-density in nats. "}
        {holes > 0 ? `${holes} of ${placed.items.length} steps lie in holes, where no rows are.` : placed.hole.some((hole) => hole !== null) ? "No step lies in a hole." : ""}
      </p>
    </>
  );
}

/** Steps of a way as CSV: features, log-density, and whether the place is a hole. */
function table(route: Route): Blob {
  const { placed, session } = route;
  const { item: kind } = session.meta;
  const names = kind.kind === "table" ? kind.columns.map((column) => column.name) : [];
  const rows = placed!.items.map((item, k) => {
    const values = "cells" in item ? item.cells.map((cell) => cell.text) : "values" in item ? item.values.map((value) => String(value ?? "")) : [];
    return [String(k + 1), ...values, String(placed!.density[k] ?? ""), String(placed!.hole[k] ?? "")];
  });
  const head = ["step", ...(names.length ? names : rows[0].slice(1, -2).map((_, k) => (kind.kind === "line" && kind.names?.[k]) || `x${k + 1}`)), "log-density", "hole"];
  return new Blob([asCsv(head, rows)], { type: "text/csv" });
}
