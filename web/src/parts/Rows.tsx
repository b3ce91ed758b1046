import { useEffect, useState } from "preact/hooks";
import type { Item, Row } from "../backends/backend";
import { count } from "../format";
import type { Explorer } from "../state/explorer";
import type { Session } from "../state/session";
import { Picture } from "./Items";

/** Rows as small buttons, with their pictures where they have some. */
export function Rows({ explorer, session, rows }: { explorer: Explorer; session: Session; rows: number[] }) {
  return (
    <ul class="rows">
      {rows.map((row) => (
        <li key={row}>
          <RowButton explorer={explorer} session={session} row={row} />
        </li>
      ))}
    </ul>
  );
}

function RowButton({ explorer, session, row }: { explorer: Explorer; session: Session; row: number }) {
  const [answer, setAnswer] = useState<Row | null>(null);
  useEffect(() => {
    let gone = false;
    setAnswer(null);
    session.row(row).then(
      (found) => gone || setAnswer(found),
      () => undefined,
    );
    return () => {
      gone = true;
    };
  }, [session, row]);
  const name = answer?.label ?? answer?.id ?? "";
  return (
    <button type="button" class="thumb" title={`Row ${count(row)}${name ? `, ${name}` : ""}`} onClick={() => explorer.pinRow(row, session)}>
      <Thumb session={session} item={answer?.original ?? answer?.reconstruction ?? null} name={`Row ${row}`} />
      <span>
        {name && <b>{name} </b>}
        {count(row)}
      </span>
    </button>
  );
}

export function Thumb({ session, item, name }: { session: Session; item: Item | null; name: string }) {
  const { item: kind } = session.meta;
  return kind.kind === "picture" ? <Picture kind={kind} item={item} size={44} title={name} /> : null;
}
