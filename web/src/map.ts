import { LocalBackend } from "./backends/local";
import { mount } from "./mount";

/** A page of its own, or a place in a report. */
const page = document.getElementById("latentmap");
const root = page ?? document.getElementById("latentmap-embedded")!;
const data = JSON.parse(document.getElementById("latentmap-data")!.textContent!);
mount(root, new LocalBackend(data), { embedded: !page });
