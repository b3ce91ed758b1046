import { useEffect, useRef, useState } from "preact/hooks";
import type { Found } from "../backends/backend";
import { many } from "../format";
import { Latest } from "../state/latest";
import type { Explorer } from "../state/explorer";

/** Find rows by number, id, label or text; the chosen one is pinned. */
export function Search({ explorer, found }: { explorer: Explorer; found: (row: number) => void }) {
  const [text, setText] = useState("");
  const [answer, setAnswer] = useState<Found | null>(null);
  const [at, setAt] = useState(0);
  const [open, setOpen] = useState(false);
  const box = useRef<HTMLDivElement>(null);
  const [latest] = useState(
    () =>
      new Latest<string, Found>(
        (query) => explorer.first.backend.search(query),
        (result) => {
          setAnswer(result);
          setAt(0);
        },
        (error) => explorer.fail(error),
      ),
  );
  useEffect(() => {
    const close = (event: PointerEvent) => box.current?.contains(event.target as Node) || setOpen(false);
    document.addEventListener("pointerdown", close);
    return () => document.removeEventListener("pointerdown", close);
  }, []);
  const choose = (row: number) => {
    setOpen(false);
    found(row);
  };
  const press = (event: KeyboardEvent) => {
    const rows = answer?.rows ?? [];
    if (event.key === "Escape") {
      setOpen(false);
      (event.currentTarget as HTMLElement).blur();
    } else if (event.key === "ArrowDown") setAt(Math.min(at + 1, rows.length - 1));
    else if (event.key === "ArrowUp") setAt(Math.max(at - 1, 0));
    else if (event.key === "Enter" && rows[at]) choose(rows[at].i);
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  const shown = open && text.trim() !== "" && answer !== null;
  return (
    <div class="search" ref={box}>
      <input
        type="text"
        enterkeyhint="search"
        autocomplete="off"
        placeholder={explorer.first.meta.ids ? "Search rows, ids, text" : "Search rows, text"}
        aria-label="Search rows"
        role="combobox"
        aria-expanded={shown}
        aria-controls="found"
        aria-autocomplete="list"
        aria-activedescendant={shown && answer.rows.length ? `found-${at}` : undefined}
        value={text}
        onInput={(event) => {
          const next = event.currentTarget.value;
          setText(next);
          setOpen(true);
          if (next.trim()) latest.next(next.trim());
        }}
        onFocus={() => setOpen(true)}
        onKeyDown={press}
      />
      {shown && (
        <div class="found card">
          <ul id="found" role="listbox" aria-label="Rows found">
            {answer.rows.map(({ i, text: line }, k) => (
              <li key={i} id={`found-${k}`} role="option" aria-selected={k === at} onPointerDown={(event) => event.preventDefault()} onClick={() => choose(i)}>
                {line}
              </li>
            ))}
          </ul>
          {answer.rows.length === 0 ? (
            <p class="quiet">No row matches.</p>
          ) : (
            <button type="button" class="link" onClick={() => (setOpen(false), explorer.select(Uint32Array.from(answer.rows, ({ i }) => i).sort()))}>
              Select {many(answer.rows.length, "row")}
            </button>
          )}
        </div>
      )}
    </div>
  );
}
