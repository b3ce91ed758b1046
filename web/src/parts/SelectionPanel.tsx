import type { Selected } from "../backends/backend";
import { count, many, number, percent } from "../format";
import { save } from "../save";
import type { Explorer } from "../state/explorer";
import { Name } from "./Items";
import { Rows } from "./Rows";

/** The selected rows: how many, of which labels, what tells them apart from the others, and how to keep them. */
export function SelectionPanel({ explorer }: { explorer: Explorer }) {
  const rows = explorer.selection.value;
  const { first } = explorer;
  if (!rows.length) {
    return (
      <div class="stack">
        <h2>No rows selected</h2>
        <p class="quiet">
          Draw around points with the lasso (<kbd>L</kbd>), or hold Shift and drag. With Alt the rows are added to those that are selected.
        </p>
        {explorer.mask.value && (
          <div class="actions">
            <button type="button" onClick={() => explorer.select(passing(explorer.mask.value!))}>
              Select the {count(explorer.shown.value)} rows that the filters pass
            </button>
          </div>
        )}
      </div>
    );
  }
  const about = explorer.selected.value;
  return (
    <div class="stack" data-testid="selection">
      <header class="row between">
        <h2>
          {many(rows.length, "row")} <small class="quiet">{percent(rows.length / first.n)} of all</small>
        </h2>
        <button type="button" class="link" onClick={() => (explorer.selection.value = new Uint32Array(0))}>
          Clear
        </button>
      </header>
      {explorer.can.save.length > 0 && (
        <div class="actions">
          {explorer.can.save.map((format) => (
            <button key={format} type="button" onClick={() => keep(explorer, format, "rows")}>
              Save rows ({format})
            </button>
          ))}
          <button type="button" onClick={() => keep(explorer, "csv", "label")}>
            As a label column
          </button>
        </div>
      )}
      {about ? <Description explorer={explorer} about={about} /> : explorer.can.selection && <p class="quiet">Comparing with the other rows …</p>}
    </div>
  );
}

function passing(mask: Uint8Array): Uint32Array {
  const rows: number[] = [];
  mask.forEach((pass, i) => pass && rows.push(i));
  return Uint32Array.from(rows);
}

async function keep(explorer: Explorer, format: "csv" | "parquet", as: "rows" | "label"): Promise<void> {
  const file = await explorer.ask(explorer.first.backend.save(explorer.selection.value, format, as));
  if (file) save(file);
}

function Description({ explorer, about }: { explorer: Explorer; about: Selected }) {
  const inside = about.labels.filter((label) => label.count > 0);
  const [labels, absent] = [inside.slice(0, 12), about.labels.length - inside.length];
  return (
    <>
      {about.labels.length > 0 && (
        <section>
          <h3>Labels</h3>
          <table class="mix">
            <thead>
              <tr>
                <th scope="col">Label</th>
                <th scope="col" class="number">Rows</th>
                <th scope="col" class="number">Inside</th>
                <th scope="col" class="number">Outside</th>
              </tr>
            </thead>
            <tbody>
              {labels.map((label) => (
                <tr key={label.name}>
                  <th scope="row">
                    <span class="bar behind" aria-hidden="true">
                      <i style={{ width: `${100 * label.inside}%` }} />
                    </span>
                    {label.name}
                  </th>
                  <td class="number">{count(label.count)}</td>
                  <td class="number">{percent(label.inside)}</td>
                  <td class="number quiet">{percent(label.outside)}</td>
                </tr>
              ))}
            </tbody>
          </table>
          {inside.length > labels.length && <p class="more">and {many(inside.length - labels.length, "more label")}</p>}
          {absent > 0 && <p class="more">{many(absent, "label")} without a row here</p>}
        </section>
      )}
      {about.columns.length > 0 && (
        <section>
          <h3>What tells them apart</h3>
          <table class="mix">
            <thead>
              <tr>
                <th scope="col">Column</th>
                <th scope="col">Inside</th>
                <th scope="col">Outside</th>
                <th scope="col" class="number" title="Standardised difference of means, or Cramér's V of a category">
                  Effect
                </th>
              </tr>
            </thead>
            <tbody>
              {about.columns.slice(0, 12).map((column) => (
                <tr key={column.name} class={column.q === null || column.q > 0.05 ? "quiet" : ""} title={column.q === null ? "not tested" : `q = ${number(column.q)}`}>
                  <th scope="row">
                    <Name text={column.name} />
                  </th>
                  <td>{column.inside}</td>
                  <td>{column.outside}</td>
                  <td class="number">{column.effect === null ? "" : number(column.effect, 0.01)}</td>
                </tr>
              ))}
            </tbody>
          </table>
          <p class="quiet small">Effect: difference of means in standard deviations, or Cramér's V. Grey: not tested, or not significant at 5 % after Benjamini and Hochberg.</p>
        </section>
      )}
      {about.typical.length > 0 && (
        <section>
          <h3>Typical</h3>
          <Rows explorer={explorer} session={explorer.first} rows={about.typical} />
        </section>
      )}
      {about.odd.length > 0 && (
        <section>
          <h3>Odd</h3>
          <Rows explorer={explorer} session={explorer.first} rows={about.odd} />
        </section>
      )}
    </>
  );
}
