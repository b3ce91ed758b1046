/** Decodes codes for a test: reads {plan, codes} from standard input, and writes rows and probabilities as JSON. */
import { readFileSync } from "node:fs";
import { Decoder } from "../src/decoder/decoder";

const { plan, codes } = JSON.parse(readFileSync(0, "utf8"));
const decoder = await Decoder.open(plan);
const start = performance.now();
const rows = (codes as number[][]).map((z) => decoder.decode(z));
const each = (performance.now() - start) / rows.length;
const plain = (values: Float64Array) => Array.from(values, (x) => (Number.isNaN(x) ? null : x));
console.log(
  JSON.stringify({ each, values: rows.map((r) => plain(r.values)), probability: rows.map((r) => plain(r.probability)) }),
);
