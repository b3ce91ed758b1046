import type { ComponentChildren } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";
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
  return (
    <Beside x={pointer.x} y={pointer.y} width={width} height={height}>
      <Items kind={kind} items={items} size={items.length > 1 ? 76 : 104} most={7} missing={hovered?.answer.missing} />
      {reading && <Density density={reading.density} hole={reading.hole} row={pointer.row !== null} />}
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
    </Beside>
  );
}

interface BesideProps {
  x: number;
  y: number;
  width: number;
  height: number;
  children: ComponentChildren;
}

/** A card beside the pointer, on the side with more room, within the map. */
function Beside({ x, y, width, height, children }: BesideProps) {
  const card = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => {
    const { offsetWidth, offsetHeight, style } = card.current!;
    const within = (at: number, size: number, most: number) => Math.max(6, Math.min(at, most - size - 6));
    style.left = `${within(x > width / 2 ? x - GAP - offsetWidth : x + GAP, offsetWidth, width)}px`;
    style.top = `${within(y > height / 2 ? y - GAP - offsetHeight : y + GAP, offsetHeight, height)}px`;
  });
  return (
    <div ref={card} class="card hover" data-testid="hover">
      {children}
    </div>
  );
}
