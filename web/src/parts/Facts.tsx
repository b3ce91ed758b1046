import { number } from "../format";

/** What the density says of a place, plainly; a row may be one of the few that lie where it is low. */
export function Density({ density, hole, row, live }: { density: number | null; hole: boolean | null; row?: boolean; live?: boolean }) {
  if (density === null && hole === null) return null;
  return (
    <p class={`density${hole ? " hole" : ""}`} aria-live={live ? "polite" : undefined}>
      {hole ? <strong>{row ? "A sparse place: 99 % of the rows lie denser." : "A hole: no rows lie here."}</strong> : hole === false ? <span>Rows lie around here.</span> : null}
      {density !== null && <span class="fact">log-density {number(density, 0.01)} nats</span>}
    </p>
  );
}

/** How well the model knows a row. */
export function Evidence({ evidence, percentile }: { evidence: number | null; percentile: number | null }) {
  if (evidence === null) return null;
  return (
    <p class="fact">
      log-evidence {number(evidence, 0.1)} nats
      {percentile !== null && <>, more than {number(percentile, percentile < 10 ? 0.1 : 1)} % of the rows</>}
    </p>
  );
}
