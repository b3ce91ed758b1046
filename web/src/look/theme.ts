import { computed, effect, signal } from "@preact/signals";
import { theme } from "../state/address";

const KEY = "latentmap-theme";
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const system = signal(dark.matches);
dark.addEventListener("change", () => (system.value = dark.matches));

/** Whether the page is dark. */
export const isDark = computed(() => (theme.value === "auto" ? system.value : theme.value === "dark"));

/** Colours of what is drawn on the map. */
export const ink = computed(() =>
  isDark.value
    ? { text: "#e8ecf1", halo: "rgba(17,21,26,.85)", line: "#e8ecf1", faint: "rgba(232,236,241,.20)", hole: "rgba(240,162,76,.28)", accent: "#7fb2ea", dim: [74, 84, 95] }
    : { text: "#17202a", halo: "rgba(255,255,255,.85)", line: "#17202a", faint: "rgba(23,32,42,.22)", hole: "rgba(180,83,9,.22)", accent: "#1c5d99", dim: [200, 206, 213] },
);

/** Put the choice on an element, for the style sheet. */
export function applyTheme(root: HTMLElement): () => void {
  try {
    const kept = localStorage.getItem(KEY);
    if (kept === "light" || kept === "dark") theme.value = kept;
  } catch {
    // Without storage the choice lasts as long as the page.
  }
  return effect(() => {
    root.dataset.theme = isDark.value ? "dark" : "light";
    try {
      if (theme.value === "auto") localStorage.removeItem(KEY);
      else localStorage.setItem(KEY, theme.value);
    } catch {
      // As above.
    }
  });
}
