import { WidgetBackend, type Model } from "./backends/widget";
import { mount } from "./mount";

/** Draw the map into the output of a notebook's cell; the function that comes back removes it. */
function render({ model, el }: { model: Model; el: HTMLElement }): () => void {
  const root = el.appendChild(document.createElement("div"));
  const backend = new WidgetBackend(model);
  const leave = mount(root, backend, { embedded: true });
  return () => {
    leave();
    backend.dispose();
    root.remove();
  };
}

export default { render };
