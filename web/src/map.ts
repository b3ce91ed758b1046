import { LocalBackend } from "./backends/local";
import { mount } from "./mount";

const data = JSON.parse(document.getElementById("latentmap-data")!.textContent!);
/** Within a report the address belongs to the page around the map. */
const embedded = window.top !== window;
mount(document.getElementById("latentmap")!, new LocalBackend(data), { embedded });
