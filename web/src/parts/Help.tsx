import { useEffect, useRef } from "preact/hooks";
import type { Explorer } from "../state/explorer";

const KEYS: [string[], string][] = [
  [["←", "→", "↑", "↓"], "move the pointer over the map (Shift: finely, Alt: move the map)"],
  [["Enter"], "keep the place or the point under the pointer"],
  [["+", "−", "0"], "nearer, farther, whole map"],
  [["L"], "lasso: drag around points, or Space at each corner and Enter"],
  [["P"], "path between two places"],
  [["/"], "search"],
  [["1", "…", "5"], "tabs of the panel"],
  [["Esc"], "back: tool, path, pin, selection"],
  [["?"], "this list"],
];

/** Keys and gestures. */
export function Help({ explorer }: { explorer: Explorer }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const open = explorer.help.value;
  useEffect(() => {
    if (open) dialog.current?.showModal();
    else dialog.current?.close();
  }, [open]);
  const { meta } = explorer.first;
  return (
    <dialog ref={dialog} class="help" aria-labelledby="help-title" onClose={() => (explorer.help.value = false)} onClick={(event) => event.target === dialog.current && dialog.current?.close()}>
      <header class="row between">
        <h2 id="help-title">Keys</h2>
        <button type="button" class="link" onClick={() => dialog.current?.close()}>
          Close
        </button>
      </header>
      <dl>
        {KEYS.map(([keys, text]) => (
          <div key={text}>
            <dt>
              {keys.map((key) => (
                <kbd key={key}>{key}</kbd>
              ))}
            </dt>
            <dd>{text}</dd>
          </div>
        ))}
      </dl>
      <p class="quiet small">
        latentmap {meta.version} · points drawn with {explorer.renderer.value}
        {explorer.latency.value !== null && <> · last decode in {Math.round(explorer.latency.value)} ms</>}
      </p>
    </dialog>
  );
}
