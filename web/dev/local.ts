/** Answers of an exported page for a test: reads {data, calls: [[method, ...arguments]]}, and writes the answers as JSON. */
import { readFileSync } from "node:fs";
import { LocalBackend } from "../src/backends/local";

const { data, calls } = JSON.parse(readFileSync(0, "utf8"));
const backend = new LocalBackend(data) as unknown as Record<string, (...given: unknown[]) => Promise<unknown>>;
const answers = [];
for (const [method, ...given] of calls) {
  const rows = method === "selection" || method === "save" ? [Uint32Array.from(given[0]), ...given.slice(1)] : given;
  try {
    answers.push(await plain(await backend[method](...rows)));
  } catch (error) {
    answers.push({ error: (error as Error).message });
  }
}
console.log(JSON.stringify(answers));

async function plain(value: unknown): Promise<unknown> {
  if (value instanceof Blob) return value.text();
  if (ArrayBuffer.isView(value)) return Array.from(value as Float32Array, (x) => (Number.isNaN(x) ? null : x));
  if (Array.isArray(value)) return Promise.all(value.map(plain));
  if (value === null || typeof value !== "object") return Number.isNaN(value) ? null : value;
  const entries = await Promise.all(Object.entries(value).map(async ([key, one]) => [key, await plain(one)]));
  return Object.fromEntries(entries);
}
