import { fromBase64 } from "../bytes";
import { BackendError, type Backend, type Decoded, type Density, type Encoded, type Item, type Placed, type Row } from "./backend";
import type { Download, End, Found, Meta, Selected } from "./backend";

type Body = BodyInit | object | undefined;

/** The server that `latentmap explore` starts, relative to the page that it serves. */
export class HttpBackend implements Backend {
  other?: Backend;
  private meta_: Promise<Meta> | null = null;

  constructor(private readonly run = 0) {}

  /** Add the run to compare with, where the server has one. */
  private addOther(meta: Meta): Meta {
    if (this.run === 0 && meta.runs.length > 1) this.other = new HttpBackend(1);
    return meta;
  }

  meta(): Promise<Meta> {
    this.meta_ ??= this.json<Meta>("meta").then((meta) => this.addOther(meta));
    this.meta_.catch(() => (this.meta_ = null));
    return this.meta_;
  }

  async points(): Promise<Float32Array> {
    return new Float32Array(await (await this.fetch("points")).arrayBuffer());
  }

  async field(key: string): Promise<Float32Array | Uint16Array> {
    const { fields } = await this.meta();
    const bytes = await (await this.fetch("field", { key })).arrayBuffer();
    const category = fields.find((field) => field.key === key)?.kind === "category";
    return category ? new Uint16Array(bytes) : new Float32Array(bytes);
  }

  async density(x: number, y: number): Promise<Density> {
    const { values, hole, ...grid } = await this.json<Density<string, string>>("density", { x, y });
    return { ...grid, values: new Float32Array(fromBase64(values).buffer), hole: fromBase64(hole) };
  }

  async decode(z: number[][]): Promise<Decoded> {
    return withItems(await this.json<Decoded>("decode", {}, { z }));
  }

  async row(i: number): Promise<Row> {
    const row = await this.json<Row>("row", { i });
    return { ...row, original: read(row.original), reconstruction: read(row.reconstruction) };
  }

  async path(from: End, to: End, n: number, along: "straight" | "density"): Promise<Placed> {
    return withItems(await this.json<Placed>("path", {}, { from, to, n, along }));
  }

  selection(rows: Uint32Array): Promise<Selected> {
    return this.json("selection", {}, bytes(rows));
  }

  async save(rows: Uint32Array, format: "csv" | "parquet", as: "rows" | "label"): Promise<Download> {
    const answer = await this.fetch("save", { format, as }, bytes(rows));
    const name = /filename="?([^";]+)/.exec(answer.headers.get("content-disposition") ?? "")?.[1];
    return { name: name ?? `selection.${format}`, blob: await answer.blob() };
  }

  search(query: string): Promise<Found> {
    return this.json("search", { q: query });
  }

  nearest(i: number, k: number): Promise<{ rows: number[] }> {
    return this.json("nearest", { i, k });
  }

  async samples(n: number, seed: number): Promise<Placed> {
    return withItems(await this.json<Placed>("samples", {}, { n, seed }));
  }

  async encode(body: Blob | string): Promise<Encoded> {
    const answer = await this.json<Encoded>("encode", {}, typeof body === "string" ? new Blob([body], { type: "text/plain" }) : body);
    return { ...answer, item: read(answer.item)!, reconstruction: read(answer.reconstruction)! };
  }

  /** Send a request; a notebook has its own way. */
  protected send(name: string, query: URLSearchParams, request: RequestInit): Promise<Response> {
    return fetch(new URL(`api/${name}?${query}`, document.baseURI), request);
  }

  private async json<T>(name: string, query: Record<string, string | number> = {}, body?: Body): Promise<T> {
    return (await (await this.fetch(name, query, body)).json()) as T;
  }

  private async fetch(name: string, query: Record<string, string | number> = {}, body?: Body): Promise<Response> {
    const parameters = new URLSearchParams(Object.entries({ ...query, run: this.run }).map(([key, value]) => [key, String(value)]));
    let answer: Response;
    try {
      answer = await this.send(name, parameters, request(body));
    } catch {
      throw new BackendError("The explorer does not answer: its command has ended, or the connection is lost.", true);
    }
    if (!answer.ok) throw new BackendError(await reason(answer));
    return answer;
  }
}

function request(body: Body): RequestInit {
  if (body === undefined) return {};
  if (body instanceof Blob) return { method: "POST", body, headers: { "content-type": body.type } };
  if (body instanceof ArrayBuffer) {
    return { method: "POST", body, headers: { "content-type": "application/octet-stream" } };
  }
  return { method: "POST", body: JSON.stringify(body), headers: { "content-type": "application/json" } };
}

async function reason(answer: Response): Promise<string> {
  try {
    return (await answer.json()).error ?? `The explorer answered ${answer.status}.`;
  } catch {
    return `The explorer answered ${answer.status}.`;
  }
}

function bytes(rows: Uint32Array): ArrayBuffer {
  return rows.slice().buffer as ArrayBuffer;
}

/** Pixels arrive in base64. */
function read(item: Item | null): Item | null {
  return item && "pixels" in item ? { pixels: fromBase64(item.pixels as unknown as string) } : item;
}

function withItems<T extends Decoded>(answer: T): T {
  return { ...answer, items: answer.items.map((item) => read(item)!) };
}
