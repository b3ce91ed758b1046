import type { Explorer } from "../state/explorer";

export function Loading() {
  return (
    <main class="whole" aria-busy="true">
      <div class="pulse" aria-hidden="true">
        <i />
        <i />
        <i />
      </div>
      <p role="status">Loading the map …</p>
    </main>
  );
}

export function Broken({ text, retry }: { text: string; retry: () => void }) {
  return (
    <main class="whole">
      <h1>The map could not be loaded</h1>
      <p role="alert">{text}</p>
      <div class="actions">
        <button type="button" onClick={retry}>
          Try again
        </button>
      </div>
    </main>
  );
}

/** What went wrong last, with a way out. */
export function Problem({ explorer }: { explorer: Explorer }) {
  const problem = explorer.problem.value;
  if (!problem) return null;
  return (
    <div class={`problem${problem.lost ? " lost" : ""}`} role="alert" data-testid="problem">
      <p>{problem.text}</p>
      {problem.lost && (
        <button type="button" onClick={() => void explorer.retry()}>
          Try again
        </button>
      )}
      <button type="button" class="link" onClick={() => (explorer.problem.value = null)}>
        Dismiss
      </button>
    </div>
  );
}
