import { HttpBackend } from "./backends/http";
import { mount } from "./mount";

mount(document.getElementById("latentmap")!, new HttpBackend());
