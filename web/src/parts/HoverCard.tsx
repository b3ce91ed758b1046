import type { Explorer } from "../state/explorer";
import type { Session } from "../state/session";
import { count } from "../format";
import { Density, Evidence } from "./Facts";
import { Items, type Titled } from "./Items";

/** Pixels between the pointer and the card. */
const GAP = 18;

/** What lies under the pointer: the place decoded, and the row there beside its reconstruction. */
export function HoverCard({ explorer, session, width, height }: { explorer: Explorer; session: Session; width: number; height: number }) {
  const pointer = explorer.pointer.value;
  if (!pointer || pointer.session !== session) return null;
  const reading = explorer.layers.value.live ? explorer.reading.value : null;
  const hovered = explorer.hovered.value?.row === pointer.row ? explorer.hovered.value : null;
  if (!reading && !hovered) return null;
  const { item: kind } = session.meta;
  const items: Titled[] = reading?.item ? [{ title: "Here", item: reading.item }] : [];
  if (hovered) {
    if (hovered.answer.original) items.push({ title: "Row", item: hovered.answer.original });
    if (hovered.answer.reconstruction) items.push({ title: "Reconstruction", item: hovered.answer.reconstruction });
  }
  const { x, y } = pointer;
  const [left, top] = [x > width / 2, y > height / 2];
  const style = {
    left: left ? "auto" : `${x + GAP}px`,
    right: left ? `${width - x + GAP}px` : "auto",
    top: top ? "auto" : `${y + GAP}px`,
    bottom: top ? `${height - y + GAP}px` : "auto",
  };
  return (
    <div class="card hover" style={style} data-testid="hover">
      <Items kind={kind} items={items} size={items.length > 1 ? 76 : 104} most={7} missing={hovered?.answer.missing} />
      {reading && <Density density={reading.density} hole={reading.hole} />}
      {hovered && (
        <>
          <p class="name">
            Row {count(hovered.row)}
            {hovered.answer.id !== null && <> · {hovered.answer.id}</>}
            {hovered.answer.label !== null && <b> · {hovered.answer.label}</b>}
          </p>
          <Evidence evidence={hovered.answer.evidence} percentile={hovered.answer.percentile} />
        </>
      )}
    </div>
  );
}
