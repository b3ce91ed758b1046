import { useMemo } from "preact/hooks";
import type { Field } from "../backends/backend";
import { count, inUnit } from "../format";
import { extent } from "../look/colours";
import { levels, MISSING } from "../look/palette";
import type { Explorer } from "../state/explorer";
import { NO_LEVEL } from "../backends/backend";
import type { Values } from "../state/session";

const GROUPS = { label: "Labels", column: "Columns", model: "From the model" } as const;

/** What colours mean: the field to colour by, and its levels, which a press hides. */
export function Legend({ explorer }: { explorer: Explorer }) {
  const { fields } = explorer.first.meta;
  if (!fields.length) return null;
  const key = explorer.colour.value;
  const field = explorer.first.field(key);
  const values = explorer.loaded.value.get(key);
  return (
    <section class="legend card" aria-label="Colours">
      <label class="row">
        <span>Colour</span>
        <select value={key} onChange={(event) => (explorer.colour.value = event.currentTarget.value)} data-testid="colour">
          {(["label", "column", "model"] as const).map((group) => {
            const own = fields.filter((entry) => entry.group === group);
            return (
              own.length > 0 && (
                <optgroup key={group} label={GROUPS[group]}>
                  {own.map((entry) => (
                    <option key={entry.key} value={entry.key}>
                      {entry.name}
                    </option>
                  ))}
                </optgroup>
              )
            );
          })}
        </select>
      </label>
      {explorer.loading.value.has(key) && <p class="quiet">{field?.slow ? "Computing …" : "Loading …"}</p>}
      {field?.note && <p class="quiet">{field.note}</p>}
      {field && values && (field.kind === "category" ? <Levels explorer={explorer} field={field} values={values} /> : <Scale field={field} values={values} />)}
    </section>
  );
}

/** Rows of each level; the last is of the rows without one. */
export function tally(field: Field, values: Values, mask: Uint8Array | null = null): number[] {
  const n = field.levels?.length ?? 0;
  const counts = new Array(n + 1).fill(0);
  for (let i = 0; i < values.length; i++) if (!mask || mask[i]) counts[values[i] === NO_LEVEL ? n : values[i]]++;
  return counts;
}

function Levels({ explorer, field, values }: { explorer: Explorer; field: Field; values: Values }) {
  const counts = useMemo(() => tally(field, values), [field, values]);
  const names = field.levels ?? [];
  const colours = levels(names.length);
  const hidden = explorer.hidden.value.get(field.key) ?? new Set<number>();
  const all = names.map((_, level) => level);
  const order = names.length > 12 ? [...all].sort((a, b) => counts[b] - counts[a]) : all;
  const only = (level: number) => {
    const others = all.filter((other) => other !== level);
    const alone = others.every((other) => hidden.has(other)) && !hidden.has(level);
    explorer.setHidden(field.key, new Set(alone ? [] : others));
  };
  return (
    <>
      <ul class="levels">
        {order.map((level) => (
          <li key={level}>
            <button
              type="button"
              class="level"
              aria-pressed={!hidden.has(level)}
              title={`${names[level]}: press to hide or show, double-press to show alone`}
              onClick={() => explorer.hide(field.key, level, !hidden.has(level))}
              onDblClick={() => only(level)}
            >
              <i class="swatch" style={{ background: colours[level] }} />
              <span class="text">{names[level]}</span>
              <span class="count">{count(counts[level])}</span>
            </button>
          </li>
        ))}
        {counts[names.length] > 0 && (
          <li>
            <Missing rows={counts[names.length]} />
          </li>
        )}
      </ul>
      {hidden.size > 0 && (
        <button type="button" class="link" onClick={() => explorer.setHidden(field.key, new Set())}>
          Show all {names.length}
        </button>
      )}
    </>
  );
}

function Scale({ field, values }: { field: Field; values: Values }) {
  const [low, high] = extent(field, values);
  const beyond = useMemo(() => {
    const found = { below: false, above: false, missing: 0 };
    for (const value of values) {
      if (Number.isNaN(value)) found.missing++;
      else if (value < low) found.below = true;
      else if (value > high) found.above = true;
    }
    return found;
  }, [values]);
  return (
    <div class="scale">
      <div class="viridis" />
      <div class="row between">
        <span>
          {beyond.below && "≤ "}
          {inUnit(field, low)}
        </span>
        <span>
          {beyond.above && "≥ "}
          {inUnit(field, high)}
        </span>
      </div>
      {beyond.missing > 0 && <Missing rows={beyond.missing} />}
    </div>
  );
}

/** The colour of rows without a value, and their number. */
function Missing({ rows }: { rows: number }) {
  return (
    <span class="level">
      <i class="swatch" style={{ background: MISSING }} />
      <span class="text quiet">missing</span>
      <span class="count">{count(rows)}</span>
    </span>
  );
}
