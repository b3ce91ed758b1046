import { useEffect, useRef, useState } from "preact/hooks";
import { component, number } from "../format";
import { MapController } from "../map/controller";
import { followKeys, followPointer } from "../map/gestures";
import type { Explorer } from "../state/explorer";
import type { Session } from "../state/session";
import { HoverCard } from "./HoverCard";

interface Props {
  explorer: Explorer;
  session: Session;
  ready: (map: MapController | null) => void;
}

/** One map with what lies under the pointer beside it. */
export function MapView({ explorer, session, ready }: Props) {
  const element = useRef<HTMLDivElement>(null);
  const [map, setMap] = useState<MapController | null>(null);
  useEffect(() => {
    const made = new MapController(element.current!, explorer, session);
    const stops = [followPointer(made), followKeys(made)];
    setMap(made);
    ready(made);
    return () => {
      ready(null);
      for (const stop of stops) stop();
      made.dispose();
    };
  }, [explorer, session]);
  const dims = session.dims.value;
  const { name } = session.meta;
  return (
    <div
      ref={element}
      class={`map tool-${explorer.tool.value}`}
      tabIndex={0}
      role="application"
      aria-label={`Map of ${name}: arrows move the pointer, Enter keeps a place, question mark lists all keys`}
      data-testid={`map-${session.index}`}
    >
      {explorer.comparing.value && <p class="title card">{name}</p>}
      {session.n === 0 && session.meta.can.rows && <p class="empty card">There are no rows to show.</p>}
      {map && <HoverCard explorer={explorer} session={session} width={map.camera.width} height={map.camera.height} />}
      <p class="axes-names" aria-hidden="true">
        {dims.map((k, axis) => (
          <span key={k}>
            {"→↑↗"[axis]} {component(k)}
            {!session.meta.active[k] && <small> not active,</small>}
            {session.meta.rates && <small> rate {number(session.meta.rates[k], 0.01)} nats</small>}
          </span>
        ))}
        {session.meta.components === 1 && <small>heights are random, so that points do not cover each other</small>}
      </p>
      {explorer.renderer.value === "canvas" && session.index === 0 && (
        <p class="fallback card" role="note">
          WebGL2 is missing here: points are drawn on a canvas, and of many only a sample while the map moves.
        </p>
      )}
    </div>
  );
}
