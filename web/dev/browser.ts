/** The decoder for a test in a browser, as `decode(plan, codes)`. */
import { Decoder, type Plan } from "../src/decoder/decoder";

async function decode(plan: Plan, codes: number[][]): Promise<number[][]> {
  const decoder = await Decoder.open(plan);
  return codes.map((z) => Array.from(decoder.decode(z).values));
}

Object.assign(globalThis, { decode });
