import type { Row } from "../backends/backend";
import { component, count, number, percent } from "../format";
import type { Explorer, Pin } from "../state/explorer";
import { Density, Evidence } from "./Facts";
import { Items, type Titled } from "./Items";
import { Rows } from "./Rows";

/** The place or row that was pressed, whole. */
export function PlacePanel({ explorer }: { explorer: Explorer }) {
  const pin = explorer.pin.value;
  if (!pin) return <Invitation explorer={explorer} />;
  const { reading, row } = explorer.pinned.value;
  const items: Titled[] = [];
  if (row?.original) items.push({ title: "Row", item: row.original });
  if (row?.reconstruction) items.push({ title: "Reconstruction", item: row.reconstruction });
  if (!items.length && reading?.item) items.push({ title: "Decoded here", item: reading.item });
  const { meta } = pin.session;
  return (
    <div class="stack" data-testid="place">
      <header class="row between">
        <h2>{pin.row === null ? "A place on the map" : `Row ${count(pin.row)}`}</h2>
        <button type="button" class="link" onClick={() => (explorer.pin.value = null)}>
          Close
        </button>
      </header>
      {row && (row.label !== null || row.id !== null) && (
        <p class="name">
          {row.label !== null && <b>{row.label}</b>}
          {row.id !== null && <span class="quiet"> {row.id}</span>}
        </p>
      )}
      <Items kind={meta.item} items={items} size={items.length > 1 ? 140 : 180} missing={row?.missing} />
      {reading && <Density density={reading.density} hole={reading.hole} row={pin.row !== null} live />}
      {row && <Evidence evidence={row.evidence} percentile={row.percentile} />}
      {row && row.imputed.length > 0 && meta.item.kind === "table" && (
        <section>
          <h3>Missing cells, filled</h3>
          <table class="cells">
            <thead>
              <tr>
                <th scope="col">Column</th>
                <th scope="col">Mean or likeliest</th>
                <th scope="col">Draws</th>
              </tr>
            </thead>
            <tbody>
              {row.imputed.map((cell) => (
                <tr key={cell.column}>
                  <th scope="row">{meta.item.kind === "table" && meta.item.columns[cell.column]?.name}</th>
                  <td>{cell.text}</td>
                  <td>{spread(cell)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </section>
      )}
      {row && row.neighbours.length > 0 && (
        <section>
          <h3>Nearest rows in the data</h3>
          <Rows explorer={explorer} session={pin.session} rows={row.neighbours} />
        </section>
      )}
      <Code pin={pin} />
      <div class="actions">
        {meta.can.path && (
          <button type="button" onClick={() => startWay(explorer, pin)}>
            Path from here
          </button>
        )}
        {row && row.neighbours.length > 0 && explorer.shares(pin.session) && (
          <button type="button" onClick={() => void selectNearest(explorer, pin)}>
            Select the {NEAREST} nearest
          </button>
        )}
      </div>
    </div>
  );
}

/** How far the draws of a missing cell lie apart. */
function spread({ low, high, p }: Row["imputed"][number]): string {
  if (p !== null) return `${percent(p)} of them`;
  return low === high ? `90 % are ${low}` : `90 % from ${low} to ${high}`;
}

/** Rows that are selected around one. */
const NEAREST = 20;

async function selectNearest(explorer: Explorer, pin: Pin): Promise<void> {
  const found = await explorer.ask(pin.session.backend.nearest(pin.row!, NEAREST));
  if (found) explorer.select(Uint32Array.from([pin.row!, ...found.rows]).sort());
}

function startWay(explorer: Explorer, pin: Pin): void {
  explorer.route.value = null;
  explorer.walk(pin);
  explorer.tool.value = "path";
}

function Code({ pin }: { pin: Pin }) {
  return (
    <p class="code quiet">
      {pin.z.slice(0, 8).map((value, k) => (
        <span key={k}>
          {component(k)} = {number(value, 0.01)}
        </span>
      ))}
      {pin.z.length > 8 && <span>… {pin.z.length} components</span>}
    </p>
  );
}

function Invitation({ explorer }: { explorer: Explorer }) {
  const { meta, n } = explorer.first;
  return (
    <div class="stack">
      <h2>{n ? `${count(n)} rows on ${meta.components} ${meta.components === 1 ? "component" : "components"}` : "The latent space alone"}</h2>
      {meta.notes.map((note) => (
        <p key={note} class="note">
          {note}
        </p>
      ))}
      <ul class="hints">
        {meta.can.decode && (
          <li>Move over the map: the model decodes the place under the pointer, and says how likely it is and whether it is a hole.</li>
        )}
        {n > 0 && <li>Press a point to keep its row here, beside its reconstruction, with the nearest rows in the data.</li>}
        {meta.can.selection && <li>Hold Shift and draw around points to learn what tells them apart.</li>}
        {meta.can.encode && <li>{meta.item.kind === "picture" ? "Drop an image anywhere" : "Paste a row anywhere"} to place it on the map.</li>}
        <li>
          Press <kbd>?</kbd> for all keys.
        </li>
      </ul>
    </div>
  );
}
