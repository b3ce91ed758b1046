import { count } from "../format";
import { isDark } from "../look/theme";
import { theme } from "../state/address";
import type { Explorer } from "../state/explorer";
import { Search } from "./Search";

/** Which run this is, how many rows are shown, and what concerns the whole page. */
export function Header({ explorer, found }: { explorer: Explorer; found: (row: number) => void }) {
  const { meta, n } = explorer.first;
  const shown = explorer.shown.value;
  const other = meta.runs[1]?.name;
  return (
    <header class="bar-top">
      <h1 title={`${meta.name}, ${meta.model}`}>
        <span class="run">{meta.name}</span>
        <small>{meta.model}</small>
      </h1>
      <p class="counts" aria-live="polite">
        {n > 0 ? (
          <>
            {shown < n ? `${count(shown)} of ${count(n)}` : count(n)} rows
            {meta.total > n && <span class="quiet"> of {count(meta.total)} in the data</span>}
          </>
        ) : (
          "no rows"
        )}
      </p>
      {n > 0 && <Search explorer={explorer} found={found} />}
      <div class="ends">
        {explorer.first.backend.other && other !== undefined && (
          <button type="button" aria-pressed={explorer.comparing.value} onClick={() => void explorer.compare(!explorer.comparing.value)}>
            Compare with {other}
          </button>
        )}
        <button
          type="button"
          class="tool"
          aria-label={isDark.value ? "Light colours" : "Dark colours"}
          title={isDark.value ? "Light colours" : "Dark colours"}
          data-testid="theme"
          onClick={() => (theme.value = isDark.value ? "light" : "dark")}
        >
          <svg viewBox="0 0 24 24" width="18" height="18" aria-hidden="true">
            <path d={isDark.value ? "M12 8a4 4 0 1 0 .01 0M12 2v3M12 19v3M2 12h3M19 12h3M5 5l2 2M17 17l2 2M19 5l-2 2M7 17l-2 2" : "M20 14A8.5 8.5 0 0 1 10 4a8.5 8.5 0 1 0 10 10z"} />
          </svg>
        </button>
        <button type="button" class="tool" aria-label="Keys and help" title="Keys and help (?)" onClick={() => (explorer.help.value = true)}>
          ?
        </button>
      </div>
    </header>
  );
}
