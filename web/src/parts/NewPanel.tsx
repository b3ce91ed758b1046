import { useRef, useState } from "preact/hooks";
import type { Explorer, Marker } from "../state/explorer";
import { Density, Evidence } from "./Facts";
import { Items } from "./Items";
import { Thumb } from "./Rows";

/** Rows that are no rows of the data: drawn from the model, or given by the user. */
export function NewPanel({ explorer }: { explorer: Explorer }) {
  const { can } = explorer;
  const { item } = explorer.first.meta;
  const markers = explorer.markers.value;
  const samples = markers.filter((marker) => marker.kind === "sample");
  const given = markers.filter((marker) => marker.kind === "new").reverse();
  const [seed, setSeed] = useState(1);
  return (
    <div class="stack" data-testid="new">
      {can.encode && <Give explorer={explorer} />}
      {explorer.notice.value && <p class="quiet">{explorer.notice.value}</p>}
      {given.map((marker, k) => (
        <Given key={given.length - k} explorer={explorer} marker={marker} />
      ))}
      {can.samples && (
        <section>
          <h2>Samples</h2>
          <p class="quiet">New rows drawn from the model, placed on the map as diamonds.</p>
          <div class="actions">
            <button
              type="button"
              onClick={() => {
                void explorer.draw(16, seed);
                setSeed(seed + 1);
              }}
            >
              {samples.length ? "Draw 16 others" : "Draw 16"}
            </button>
            {samples.length > 0 && (
              <button type="button" class="link" onClick={() => (explorer.markers.value = markers.filter((marker) => marker.kind !== "sample"))}>
                Remove
              </button>
            )}
          </div>
          <ul class="rows">
            {samples.map((marker) => (
              <li key={marker.name}>
                <button type="button" class="thumb" title={marker.name} onClick={() => explorer.pinPlace(marker.z)}>
                  <Thumb session={explorer.first} item={marker.item} name={marker.name} />
                  <span>
                    {marker.name.replace("Sample ", "")}
                    {marker.hole && " hole"}
                  </span>
                </button>
              </li>
            ))}
          </ul>
          {samples.length > 0 && item.kind !== "picture" && <Items kind={item} items={samples.slice(0, 3).map(({ name, item }) => ({ title: name, item }))} size={100} />}
        </section>
      )}
      {!can.encode && !can.samples && <p class="quiet">This map can neither encode rows nor draw new ones.</p>}
    </div>
  );
}

function Give({ explorer }: { explorer: Explorer }) {
  const file = useRef<HTMLInputElement>(null);
  const [text, setText] = useState("");
  const picture = explorer.first.meta.item.kind === "picture";
  return (
    <section>
      <h2>{picture ? "Place an image" : "Place a row"}</h2>
      {picture ? (
        <>
          <p class="quiet">Drop an image anywhere on the page, paste one, or choose a file. It is encoded, placed and scored.</p>
          <div class="actions">
            <button type="button" onClick={() => file.current?.click()}>
              Choose an image …
            </button>
            <input
              ref={file}
              class="away"
              type="file"
              accept="image/*"
              aria-label="Image to place"
              tabIndex={-1}
              onChange={(event) => {
                const [chosen] = event.currentTarget.files ?? [];
                if (chosen) void explorer.encode(chosen, chosen.name);
                event.currentTarget.value = "";
              }}
            />
          </div>
        </>
      ) : (
        <form
          onSubmit={(event) => {
            event.preventDefault();
            if (text.trim()) void explorer.encode(text, "the row");
          }}
        >
          <label class="quiet" for="given">
            A line of CSV in the order of the columns, with a header if you like, or a JSON object.
          </label>
          <textarea id="given" rows={3} value={text} data-testid="given" onInput={(event) => setText(event.currentTarget.value)} />
          <div class="actions">
            <button type="submit" disabled={!text.trim()}>
              Place on the map
            </button>
          </div>
        </form>
      )}
    </section>
  );
}

function Given({ explorer, marker }: { explorer: Explorer; marker: Marker }) {
  const encoded = marker.encoded!;
  return (
    <section class="given" data-testid="encoded">
      <header class="row between">
        <h3>{marker.name}</h3>
        <button type="button" class="link" onClick={() => (explorer.markers.value = explorer.markers.value.filter((other) => other !== marker))}>
          Remove
        </button>
      </header>
      {encoded.unlike && (
        <p class="warning">
          <strong>Unlike the rows of the fit.</strong> {encoded.why}
        </p>
      )}
      <Items
        kind={explorer.first.meta.item}
        items={[
          { title: "Given", item: encoded.item },
          { title: "Reconstruction", item: encoded.reconstruction },
        ]}
        size={110}
      />
      <Evidence evidence={encoded.evidence} percentile={encoded.percentile} />
      <Density density={marker.density} hole={marker.hole} />
      <div class="actions">
        <button type="button" onClick={() => explorer.pinPlace(marker.z)}>
          Show on the map
        </button>
      </div>
    </section>
  );
}
