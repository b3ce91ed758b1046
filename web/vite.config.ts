import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { defineConfig, type BuildEnvironmentOptions } from "vite";
import { licenses } from "./licenses.ts";

/** Where `python -m tools.page` takes the build from. */
const OUT = resolve(import.meta.dirname, "dist");

/** One file without further requests: of `map.js`, a script for an exported page; of `widget.js`, a module for a notebook. */
function single(name: string, format: "iife" | "es"): BuildEnvironmentOptions {
  const entry = resolve(import.meta.dirname, `src/${name}.ts`);
  if (!existsSync(entry)) throw new Error(`${entry} is missing`);
  return {
    outDir: OUT,
    emptyOutDir: false,
    cssCodeSplit: false,
    lib: { entry, formats: [format], name: "latentmap", fileName: () => `${name}.js`, cssFileName: name },
    rolldownOptions: { output: { codeSplitting: false } },
  };
}

/** Three outputs: the served page (default), `--mode map` for exported files, `--mode widget` for notebooks. */
export default defineConfig(({ mode }) => ({
  base: "./",
  define: mode === "development" ? {} : { "process.env.NODE_ENV": '"production"' },
  plugins: [licenses(mode === "production" ? "licenses.txt" : `licenses-${mode}.txt`)],
  build:
    mode === "map" ? single("map", "iife")
    : mode === "widget" ? single("widget", "es")
    : { outDir: OUT, emptyOutDir: true, modulePreload: { polyfill: false }, chunkSizeWarningLimit: 2000 },
}));
