import { HttpBackend } from "./http";

/** What anywidget gives a widget of its Python side. */
export interface Model {
  set(name: string, value: unknown): void;
  save_changes(): void;
  send(content: unknown, callbacks?: unknown, buffers?: ArrayBuffer[]): void;
  on(event: "msg:custom", callback: (content: Answer, buffers: DataView[]) => void): void;
  off(event: "msg:custom", callback: (content: Answer, buffers: DataView[]) => void): void;
}

interface Answer {
  id: string;
  status: number;
  type: string;
}

/** The requests of the served page, sent to Python by the messages of a notebook. */
export class WidgetBackend extends HttpBackend {
  private readonly waiting = new Map<string, (answer: Response) => void>();
  /** Several views of one widget hear all answers. */
  private readonly name = crypto.getRandomValues(new Uint32Array(2)).join("-");
  private sent = 0;

  constructor(private readonly model: Model) {
    super();
    model.on("msg:custom", this.hear);
  }

  dispose(): void {
    this.model.off("msg:custom", this.hear);
  }

  selected(rows: Uint32Array): void {
    this.model.set("selection", new DataView(rows.slice().buffer));
    this.model.save_changes();
  }

  protected override async send(name: string, query: URLSearchParams, request: RequestInit): Promise<Response> {
    const { method = "GET", body, headers } = request;
    const id = `${this.name}-${this.sent++}`;
    const content = body instanceof Blob ? await body.arrayBuffer() : (body as string | ArrayBuffer | undefined);
    const bytes = typeof content === "string" ? new TextEncoder().encode(content).buffer : content;
    const type = (headers as Record<string, string> | undefined)?.["content-type"] ?? "";
    const answer = new Promise<Response>((resolve) => this.waiting.set(id, resolve));
    this.model.send({ id, method, name, query: String(query), type }, undefined, bytes ? [bytes] : []);
    return answer;
  }

  private readonly hear = ({ id, status, type }: Answer, [body]: DataView[]): void => {
    const resolve = this.waiting.get(id);
    this.waiting.delete(id);
    const bytes = body ? new Uint8Array(body.buffer, body.byteOffset, body.byteLength).slice() : null;
    resolve?.(new Response(bytes, { status, headers: type ? { "content-type": type } : {} }));
  };
}
