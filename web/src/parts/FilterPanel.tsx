import { useMemo, useRef, useState } from "preact/hooks";
import type { Field } from "../backends/backend";
import { count, day, DAYS, days, inUnit, typed } from "../format";
import { levels as palette } from "../look/palette";
import type { Explorer, Range } from "../state/explorer";
import type { Values } from "../state/session";
import { tally } from "./Legend";

const BINS = 32;
const WIDTH = 288;
const HEIGHT = 44;

/** Histograms of fields: a range that is dragged over one filters the map and the other histograms. */
export function FilterPanel({ explorer }: { explorer: Explorer }) {
  const { fields } = explorer.first.meta;
  const usual = useMemo(() => fields.filter((field) => !field.slow).slice(0, 6).map((field) => field.key), [fields]);
  const [keys, setKeys] = useState(usual);
  const active = [...explorer.ranges.value.keys(), ...explorer.hidden.value.keys()];
  const shown = [...new Set([...keys, ...active])];
  const left = fields.filter((field) => !shown.includes(field.key));
  const clear = () => {
    explorer.ranges.value = new Map();
    explorer.hidden.value = new Map();
  };
  return (
    <div class="stack" data-testid="filters">
      <header class="row between">
        <h2>
          {count(explorer.shown.value)} <small class="quiet">of {count(explorer.first.n)} rows shown</small>
        </h2>
        {active.length > 0 && (
          <button type="button" class="link" onClick={clear}>
            Clear filters
          </button>
        )}
      </header>
      {!fields.length && <p class="quiet">There is nothing to filter by: the run has no labels and no columns.</p>}
      {fields.length > 0 && !active.length && <p class="quiet">Drag over a histogram to keep a range; press a bar of names to hide it.</p>}
      {shown.map((key) => (
        <FieldFilter key={key} explorer={explorer} field={explorer.first.field(key)!} />
      ))}
      {left.length > 0 && (
        <label class="row">
          <span>Add</span>
          <select value="" onChange={(event) => setKeys([...keys, event.currentTarget.value])}>
            <option value="">a field …</option>
            {left.map((field) => (
              <option key={field.key} value={field.key}>
                {field.name}
              </option>
            ))}
          </select>
        </label>
      )}
    </div>
  );
}

function FieldFilter({ explorer, field }: { explorer: Explorer; field: Field }) {
  const values = explorer.loaded.value.get(field.key);
  if (!values) void explorer.need(field.key);
  return (
    <section class="filter" aria-label={field.name}>
      <h3>{field.name}</h3>
      {!values ? (
        <p class="quiet">{field.slow ? "Computing …" : "Loading …"}</p>
      ) : field.kind === "number" ? (
        <Histogram explorer={explorer} field={field} values={values} />
      ) : (
        <Bars explorer={explorer} field={field} values={values} />
      )}
    </section>
  );
}

function limits(field: Field, values: Values): Range {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return low <= high ? [low, high] : [field.low ?? 0, field.high ?? 1];
}

function bins(values: Values, [low, high]: Range, mask: Uint8Array | null): number[] {
  const out = new Array(BINS).fill(0);
  const scale = high > low ? BINS / (high - low) : 0;
  for (let i = 0; i < values.length; i++) {
    if (mask && !mask[i]) continue;
    const k = Math.min(BINS - 1, Math.floor((values[i] - low) * scale));
    if (k >= 0) out[k]++;
  }
  return out;
}

function Histogram({ explorer, field, values }: { explorer: Explorer; field: Field; values: Values }) {
  const range = useMemo(() => limits(field, values), [field, values]);
  const all = useMemo(() => bins(values, range, null), [values, range]);
  const { ranges, hidden, loaded } = explorer;
  const now = useMemo(() => bins(values, range, explorer.passing(field.key)), [values, range, ranges.value, hidden.value, loaded.value]);
  const most = Math.max(...all, 1);
  const chosen = ranges.value.get(field.key) ?? null;
  const box = useRef<SVGSVGElement>(null);
  const from = useRef<number | null>(null);
  const at = (x: number) => range[0] + (Math.min(WIDTH, Math.max(0, x)) / WIDTH) * (range[1] - range[0]);
  const pixel = (value: number) => ((value - range[0]) / (range[1] - range[0] || 1)) * WIDTH;
  const x = (event: PointerEvent) => {
    const frame = box.current!.getBoundingClientRect();
    return ((event.clientX - frame.left) / frame.width) * WIDTH;
  };
  const drag = (event: PointerEvent) => {
    if (from.current === null) return;
    const ends = [from.current, x(event)].sort((a, b) => a - b);
    if (ends[1] - ends[0] > 3) explorer.limit(field.key, [at(ends[0]), at(ends[1])]);
  };
  const bar = (counts: number[], name: string) =>
    counts.map((n, k) => {
      const height = n ? Math.max(1, (n / most) * HEIGHT) : 0;
      return <rect key={k} class={name} x={(k * WIDTH) / BINS} width={WIDTH / BINS - 1} y={HEIGHT - height} height={height} />;
    });
  return (
    <div class="histogram">
      <svg
        ref={box}
        viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
        preserveAspectRatio="none"
        data-testid={`histogram-${field.key}`}
        role="img"
        aria-label={`Histogram of ${field.name}, ${inUnit(field, range[0])} to ${inUnit(field, range[1])}`}
        onPointerDown={(event) => {
          event.currentTarget.setPointerCapture(event.pointerId);
          from.current = x(event);
        }}
        onPointerMove={drag}
        onPointerUp={(event) => {
          const start = from.current;
          from.current = null;
          if (start !== null && Math.abs(x(event) - start) <= 3) explorer.limit(field.key, null);
        }}
      >
        {bar(all, "all")}
        {bar(now, "now")}
        {chosen && <rect class="brush" x={pixel(chosen[0])} width={Math.max(1, pixel(chosen[1]) - pixel(chosen[0]))} y={0} height={HEIGHT} />}
      </svg>
      <div class="ends">
        <End explorer={explorer} field={field} range={range} chosen={chosen} which={0} />
        <End explorer={explorer} field={field} range={range} chosen={chosen} which={1} />
        {field.unit && field.unit !== DAYS && <span class="quiet">{field.unit}</span>}
      </div>
    </div>
  );
}

interface EndProps {
  explorer: Explorer;
  field: Field;
  range: Range;
  chosen: Range | null;
  which: 0 | 1;
}

/** One end of a range, to type. */
function End({ explorer, field, range, chosen, which }: EndProps) {
  const step = (range[1] - range[0]) / 500 || 1;
  const dated = field.unit === DAYS;
  const end = (chosen ?? range)[which];
  const change = (text: string) => {
    const value = dated ? days(text) : Number(text);
    if (text === "" || !Number.isFinite(value)) return;
    const next: Range = [...(chosen ?? range)];
    next[which] = value;
    explorer.limit(field.key, next[0] <= range[0] && next[1] >= range[1] ? null : next);
  };
  return (
    <input
      type={dated ? "date" : "number"}
      step={dated ? undefined : "any"}
      aria-label={`${field.name}, ${which ? "at most" : "at least"}`}
      value={dated ? day(end) : typed(end, step)}
      onChange={(event) => change(event.currentTarget.value)}
    />
  );
}

function Bars({ explorer, field, values }: { explorer: Explorer; field: Field; values: Values }) {
  const { ranges, hidden, loaded } = explorer;
  const all = useMemo(() => tally(field, values), [field, values]);
  const now = useMemo(() => tally(field, values, explorer.passing(field.key)), [field, values, ranges.value, hidden.value, loaded.value]);
  const names = field.levels ?? [];
  const colours = palette(names.length);
  const most = Math.max(...all, 1);
  const off = hidden.value.get(field.key) ?? new Set<number>();
  const order = names.map((_, level) => level).sort((a, b) => (names.length > 10 ? all[b] - all[a] : a - b));
  return (
    <>
      <ul class="bars">
        {order.slice(0, 12).map((level) => (
          <li key={level}>
            <button type="button" aria-pressed={!off.has(level)} onClick={() => explorer.hide(field.key, level, !off.has(level))}>
              <span class="bar behind" aria-hidden="true">
                <i class="all" style={{ width: `${(100 * all[level]) / most}%` }} />
                <i style={{ width: `${(100 * now[level]) / most}%`, background: explorer.colour.value === field.key ? colours[level] : "" }} />
              </span>
              <span class="text">{names[level]}</span>
              <span class="count">{count(now[level])}</span>
            </button>
          </li>
        ))}
      </ul>
      {order.length > 12 && <p class="more">and {order.length - 12} more levels</p>}
    </>
  );
}
