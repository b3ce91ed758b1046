import { render } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { Backend } from "./backends/backend";
import { applyTheme } from "./look/theme";
import type { MapController } from "./map/controller";
import { Header } from "./parts/Header";
import { Help } from "./parts/Help";
import { Legend } from "./parts/Legend";
import { MapView } from "./parts/MapView";
import { Panel, tabs } from "./parts/Panel";
import { Ask, PathStrip } from "./parts/PathStrip";
import { Broken, Loading, Problem } from "./parts/States";
import { Toolbar } from "./parts/Toolbar";
import { keepInAddress } from "./state/address";
import { explore, type Explorer } from "./state/explorer";
import "./styles/index.css";

export interface Options {
  /** Whether other content stands around the map, as in a report or a notebook: the address is left alone. */
  embedded?: boolean;
}

/** Draw the map of a backend into an element; the function that comes back removes it. */
export function mount(root: HTMLElement, backend: Backend, options: Options = {}): () => void {
  const embedded = options.embedded ?? false;
  root.classList.add("latentmap");
  root.classList.toggle("embedded", embedded);
  const stop = applyTheme(root);
  render(<App backend={backend} embedded={embedded} />, root);
  return () => {
    stop();
    render(null, root);
  };
}

type Opened = { explorer: Explorer } | { error: string } | null;

function App({ backend, embedded }: { backend: Backend; embedded: boolean }) {
  const [opened, setOpened] = useState<Opened>(null);
  const [attempt, setAttempt] = useState(0);
  useEffect(() => {
    let gone = false;
    let stop = () => {};
    explore(backend, embedded).then(
      (explorer) => {
        if (gone) return;
        const leave = embedded ? () => {} : keepInAddress(explorer);
        stop = () => {
          leave();
          explorer.dispose();
        };
        if (!embedded) document.title = `${explorer.first.meta.name} · latentmap`;
        setOpened({ explorer });
      },
      (error: unknown) => gone || setOpened({ error: error instanceof Error ? error.message : String(error) }),
    );
    return () => {
      gone = true;
      stop();
    };
  }, [backend, attempt]);
  if (!opened) return <Loading />;
  if ("error" in opened) {
    const retry = () => {
      setOpened(null);
      setAttempt(attempt + 1);
    };
    return <Broken text={opened.error} retry={retry} />;
  }
  return <Page explorer={opened.explorer} />;
}

function Page({ explorer }: { explorer: Explorer }) {
  const whole = useRef<HTMLDivElement>(null);
  const [map, setMap] = useState<MapController | null>(null);
  const [over, setOver] = useState(false);
  useEffect(() => followPage(whole.current!, explorer, setOver), [explorer]);
  const found = (row: number) => {
    explorer.pinRow(row);
    map?.centre(explorer.first.code(row));
    map?.element.focus();
  };
  return (
    <div class={`page${explorer.comparing.value ? " comparing" : ""}`} ref={whole}>
      <Header explorer={explorer} found={found} />
      <main class="stage">
        <div class="maps">
          {explorer.sessions.value.map((session, k) => (
            <MapView key={session.index} explorer={explorer} session={session} ready={k === 0 ? setMap : () => {}} />
          ))}
          <Legend explorer={explorer} />
          <Toolbar explorer={explorer} map={map} />
          <Ask explorer={explorer} />
          <Problem explorer={explorer} />
          {over && <p class="drop">Drop to place it on the map</p>}
        </div>
        <PathStrip explorer={explorer} />
      </main>
      <Panel explorer={explorer} />
      <Help explorer={explorer} />
    </div>
  );
}

const typing = (target: EventTarget | null): boolean => target instanceof HTMLElement && /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName);

/** Keys that work everywhere on the page, and files and text that are dropped or pasted. */
function followPage(whole: HTMLElement, explorer: Explorer, setOver: (over: boolean) => void): () => void {
  const scope: HTMLElement | Document = explorer.embedded ? whole : document;
  const keys = (event: KeyboardEvent) => {
    if (event.ctrlKey || event.metaKey || event.altKey || explorer.help.value) return;
    if (event.key === "Escape") return explorer.escape();
    if (typing(event.target) && (event.target as HTMLInputElement).type !== "checkbox") return;
    const tab = tabs(explorer)[Number(event.key) - 1];
    if (event.key === "/") whole.querySelector<HTMLInputElement>(".search input")?.focus();
    else if (event.key === "?") explorer.help.value = true;
    else if (event.key === "l" && explorer.first.n) explorer.tool.value = explorer.tool.value === "lasso" ? "explore" : "lasso";
    else if (event.key === "p" && explorer.can.path) explorer.tool.value = explorer.tool.value === "path" ? "explore" : "path";
    else if (tab) explorer.tab.value = tab.tab;
    else return;
    event.preventDefault();
  };
  const drag = (event: DragEvent) => {
    if (!explorer.can.encode) return;
    event.preventDefault();
    setOver(event.type === "dragover");
  };
  const drop = (event: DragEvent) => {
    setOver(false);
    if (!explorer.can.encode || !event.dataTransfer) return;
    event.preventDefault();
    give(explorer, event.dataTransfer);
  };
  const paste = (event: ClipboardEvent) => {
    if (typing(event.target) || !explorer.can.encode || !event.clipboardData) return;
    give(explorer, event.clipboardData);
  };
  const all: [string, (event: never) => void][] = [["keydown", keys], ["dragover", drag], ["dragleave", drag], ["drop", drop], ["paste", paste]];
  for (const [name, follow] of all) scope.addEventListener(name, follow as EventListener);
  return () => {
    for (const [name, follow] of all) scope.removeEventListener(name, follow as EventListener);
  };
}

/** Encode what was dropped or pasted: an image, a text file, or text. */
function give(explorer: Explorer, data: DataTransfer): void {
  const file = [...data.files].find(({ type }) => type.startsWith("image/")) ?? data.files[0];
  const text = data.getData("text/plain");
  if (file?.type.startsWith("image/")) void explorer.encode(file, file.name || "pasted image");
  else if (file) void file.text().then((content) => explorer.encode(content, file.name));
  else if (text.trim()) void explorer.encode(text, "pasted row");
}
