import { render } from "preact";
import type { Backend } from "./backends/backend";

export interface Options {
  /** Whether other content stands around the map, as in a report or a notebook: the address is left alone. */
  embedded?: boolean;
}

/** Draw the map of a backend into an element; the function that comes back removes it. */
export function mount(root: HTMLElement, backend: Backend, options: Options = {}): () => void {
  render(<App backend={backend} options={options} />, root);
  return () => render(null, root);
}

function App({ options }: { backend: Backend; options: Options }) {
  return <main>{options.embedded ? "" : "latentmap"}</main>;
}
