import { Fragment } from "preact";
import { useEffect, useRef } from "preact/hooks";
import type { Cell, Column, Item, ItemKind } from "../backends/backend";
import { number } from "../format";

export interface Titled {
  title: string;
  item: Item | null;
}

interface Props {
  kind: ItemKind;
  items: Titled[];
  /** Pixels of the longer side of a picture. */
  size: number;
  /** Of a table at most so many columns. */
  most?: number;
  missing?: number[];
}

/** Items beside each other: pictures, rows of a table with bars, or lines over each other. */
export function Items({ kind, items, size, most = Infinity, missing = [] }: Props) {
  if (kind.kind === "picture") {
    return (
      <div class="pictures">
        {items.map(({ title, item }) => (
          <figure key={title}>
            <Picture kind={kind} item={item} size={size} title={title} />
            {title && <figcaption>{title}</figcaption>}
          </figure>
        ))}
      </div>
    );
  }
  if (kind.kind === "table") return <Cells columns={kind.columns} items={items} most={most} missing={missing} />;
  return <Lines kind={kind} items={items} size={size} />;
}

type PictureKind = Extract<ItemKind, { kind: "picture" }>;

/** Red, green, blue and opacity of a picture. */
export function image(kind: PictureKind, pixels: Uint8Array): ImageData {
  const { width, height, channels, paper } = kind;
  const data = new ImageData(width, height);
  for (let i = 0; i < width * height; i++) {
    for (let c = 0; c < 3; c++) {
      const value = pixels[i * channels + (channels === 3 ? c : 0)];
      data.data[4 * i + c] = paper ? 255 - value : value;
    }
    data.data[4 * i + 3] = 255;
  }
  return data;
}

export function Picture({ kind, item, size, title }: { kind: PictureKind; item: Item | null; size: number; title: string }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    const context = canvas.current?.getContext("2d");
    if (!context) return;
    if (item && "pixels" in item) context.putImageData(image(kind, item.pixels), 0, 0);
    else context.clearRect(0, 0, kind.width, kind.height);
  }, [item]);
  const scale = size / Math.max(kind.width, kind.height);
  const style = { width: `${Math.round(kind.width * scale)}px`, height: `${Math.round(kind.height * scale)}px` };
  return (
    <canvas ref={canvas} class={`picture${item ? "" : " empty"}`} width={kind.width} height={kind.height} style={style} role="img" aria-label={title || "Picture"} />
  );
}

/** A name that may break after its underscores. */
export function Name({ text }: { text: string }) {
  return (
    <>
      {text.split(/(?<=[_./-])/).map((part, k) => (
        <Fragment key={k}>
          {k > 0 && <wbr />}
          {part}
        </Fragment>
      ))}
    </>
  );
}

function Cells({ columns, items, most, missing }: { columns: Column[]; items: Titled[]; most: number; missing: number[] }) {
  const all = columns.map((column, k) => ({ column, k }));
  const shown = (all.length > most ? all.filter(({ column }) => varies(column)) : all).slice(0, most);
  return (
    <>
      <table class="cells">
        {items.length > 1 && (
          <thead>
            <tr>
              <th scope="col">Column</th>
              {items.map(({ title }) => (
                <th scope="col" key={title}>
                  {title}
                </th>
              ))}
            </tr>
          </thead>
        )}
        <tbody>
          {shown.map(({ column, k }) => (
            <tr key={column.name}>
              <th scope="row" title={column.name}>
                <Name text={column.name} />
              </th>
              {items.map(({ title, item }) => {
                const cell = item && "cells" in item ? item.cells[k] : null;
                const gone = missing.includes(k) && (title === "Row" || title === "Given");
                return <td key={title}>{gone ? <em class="quiet">missing</em> : <CellBar cell={cell} bar={varies(column)} chance={column.kind === "category" ? (cell?.p ?? null) : null} />}</td>;
              })}
            </tr>
          ))}
        </tbody>
      </table>
      {columns.length > shown.length && <p class="more">and {columns.length - shown.length} more columns</p>}
    </>
  );
}

/** Whether not all values of a column are the same. */
const varies = ({ levels, low, high }: Column): boolean => (levels ? levels.length > 1 : low === null || low !== high);

/** A value with a bar: how probable its level is, or where it lies in the range of its column. */
function CellBar({ cell, bar, chance }: { cell: Cell | null; bar: boolean; chance: number | null }) {
  const share = chance ?? cell?.at ?? null;
  return (
    <span class={`cell${chance !== null ? " chance" : ""}`}>
      <span class="value">
        {cell?.text || "–"}
        {chance !== null && <small> {Math.round(100 * chance)} %</small>}
      </span>
      {bar && (
        <span class="bar" aria-hidden="true">
          {share !== null && <i style={{ width: `${Math.round(100 * Math.min(1, Math.max(0, share)))}%` }} />}
        </span>
      )}
    </span>
  );
}

type LineKind = Extract<ItemKind, { kind: "line" }>;

function Lines({ kind, items, size }: { kind: LineKind; items: Titled[]; size: number }) {
  const lines = items.map(({ item }) => (item && "values" in item ? item.values : []));
  const all = lines.flat().filter((value) => value !== null);
  const low = Math.min(kind.low ?? Infinity, ...all);
  const high = Math.max(kind.high ?? -Infinity, ...all);
  const [width, height] = [Math.max(180, size * 2.4), Math.max(70, size)];
  const path = (values: (number | null)[]) =>
    values
      .map((value, k) => {
        if (value === null) return "";
        const pen = k === 0 || values[k - 1] === null ? "M" : "L";
        const [x, y] = [(k / Math.max(1, values.length - 1)) * width, height - 3 - ((value - low) / (high - low || 1)) * (height - 6)];
        return `${pen}${x.toFixed(1)} ${y.toFixed(1)}`;
      })
      .join("");
  return (
    <figure class="lines">
      <svg viewBox={`0 0 ${width} ${height}`} width={width} height={height} role="img" aria-label={items.map(({ title }) => title).join(" and ")}>
        {lines.map((values, k) => values.length > 0 && <path key={k} class={`line-${k}`} d={path(values)} />)}
      </svg>
      <figcaption>
        {items.length > 1 && items.map(({ title }, k) => <span key={title} class={`key line-${k}`}>{title}</span>)}
        <span>
          {lines[0]?.length ?? 0} values, {number(low, (high - low) / 100)} to {number(high, (high - low) / 100)}
        </span>
      </figcaption>
    </figure>
  );
}
