import { useEffect, useState } from "preact/hooks";
import { component, number } from "../format";
import { Latest } from "../state/latest";
import { reading, type Explorer, type Reading } from "../state/explorer";
import type { Decoded } from "../backends/backend";
import { Density } from "./Facts";
import { Items } from "./Items";

/** All components: rate, which are on the axes, and the values of the others. */
export function ComponentsPanel({ explorer }: { explorer: Explorer }) {
  const { first } = explorer;
  const { meta } = first;
  const dims = first.dims.value;
  const z = explorer.pin.value?.session === first ? explorer.pin.value.z : first.base.value;
  const order = Array.from({ length: first.d }, (_, k) => k).sort((a, b) => (meta.rates ? meta.rates[b] - meta.rates[a] : a - b));
  const most = Math.max(...(meta.rates ?? [1]), 1e-9);
  const change = (k: number, value: number) => {
    const next = [...z];
    next[k] = value;
    first.base.value = first.base.value.map((old, j) => (j === k ? value : old));
    explorer.pinPlace(next, first);
  };
  return (
    <div class="stack" data-testid="components">
      <header class="row between">
        <h2>{first.d === 1 ? "One component" : `${first.d} components`}</h2>
        {z.some((value) => value !== 0) && (
          <button type="button" class="link" onClick={() => reset(explorer)}>
            All to 0
          </button>
        )}
      </header>
      {meta.can.decode && <Traversal explorer={explorer} z={z} />}
      <p class="quiet">
        {meta.rates ? "Rate: nats that a component tells of a row. " : ""}
        {first.d > 2 ? "Choose the two that the map shows; the sliders set the others." : ""}
      </p>
      <table class="components">
        <thead>
          <tr>
            <th scope="col">Component</th>
            {first.d > 2 && <th scope="col">Axes</th>}
            <th scope="col">Value</th>
          </tr>
        </thead>
        <tbody>
          {order.map((k) => {
            const [low, high] = first.ranges[k];
            const [from, to] = [Math.min(low, -3), Math.max(high, 3)];
            return (
              <tr key={k}>
                <th scope="row">
                  {component(k)}
                  {meta.rates && (
                    <>
                      <small class="quiet">{number(meta.rates[k], 0.01)} nats</small>
                      <span class="bar" aria-hidden="true">
                        <i style={{ width: `${(100 * Math.max(0, meta.rates[k])) / most}%` }} />
                      </span>
                    </>
                  )}
                </th>
                {first.d > 2 && (
                  <td class="axes">
                    {dims.map((_, axis) => (
                      <label key={axis} title={`Put ${component(k)} on the ${"xyz"[axis]} axis`}>
                        <input type="radio" name={`axis-${axis}`} checked={dims[axis] === k} onChange={() => (first.dims.value = put(dims, axis, k))} />
                        <span>{"xyz"[axis]}</span>
                      </label>
                    ))}
                  </td>
                )}
                <td class="slider">
                  <input
                    type="range"
                    min={from}
                    max={to}
                    step={(to - from) / 200}
                    value={z[k]}
                    aria-label={`Value of component ${k + 1}`}
                    data-testid={`slider-${k}`}
                    onInput={(event) => change(k, Number(event.currentTarget.value))}
                  />
                  <output>{number(z[k], 0.01)}</output>
                </td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}

function reset(explorer: Explorer): void {
  const zero = new Array(explorer.first.d).fill(0);
  explorer.first.base.value = zero;
  if (explorer.pin.value) explorer.pinPlace(zero);
}

/** Put a component on an axis; one that was on another axis changes places with it. */
function put(dims: number[], axis: number, k: number): number[] {
  const next = [...dims];
  const other = dims.indexOf(k);
  if (other >= 0) next[other] = dims[axis];
  next[axis] = k;
  return next;
}

/** The item at the values of the sliders, decoded while they move. */
function Traversal({ explorer, z }: { explorer: Explorer; z: number[] }) {
  const { first } = explorer;
  const [shown, setShown] = useState<Reading | null>(null);
  const [latest] = useState(
    () =>
      new Latest<number[], Decoded>(
        (code) => first.backend.decode([code]),
        (answer, code) => setShown(reading(code, answer)),
        (error) => explorer.fail(error),
      ),
  );
  useEffect(() => latest.next(z), [z.join()]);
  if (!shown) return null;
  return (
    <div class="traversal">
      <Items kind={first.meta.item} items={[{ title: "", item: shown.item }]} size={120} most={8} />
      <Density density={shown.density} hole={shown.hole} />
    </div>
  );
}
