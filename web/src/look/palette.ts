/** Colours that those with a colour-vision deficiency tell apart. */

type Rgb = [number, number, number];

/** The set of Okabe and Ito (2008), with grey in place of black, which is lost on a dark page. */
const OKABE_ITO = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#f0e442", "#8c8c8c"];

const VIRIDIS = ["#440154", "#482878", "#3e4a89", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6dcd59", "#b4de2c", "#fde725"];

/** What has no value. */
export const MISSING = "#9aa3ad";

export function rgb(hex: string): Rgb {
  const value = parseInt(hex.slice(1), 16);
  return [value >> 16, (value >> 8) & 255, value & 255];
}

const hex = (colour: Rgb): string => `#${colour.map((part) => Math.round(part).toString(16).padStart(2, "0")).join("")}`;

const generated = new Map<number, string[]>();

/** One colour for each level: the set of Okabe and Ito for up to eight, else one that is generated. */
export function levels(n: number): string[] {
  if (n <= OKABE_ITO.length) return OKABE_ITO.slice(0, n);
  const known = generated.get(n);
  if (known) return known;
  const colours = distinct(Math.min(n, 64));
  const all = Array.from({ length: n }, (_, i) => colours[i % colours.length]);
  generated.set(n, all);
  return all;
}

/** The place 0 to 1 on viridis. */
function ramp(at: number): Rgb {
  const place = Math.min(Math.max(at, 0), 1) * (VIRIDIS.length - 1);
  const low = Math.min(Math.floor(place), VIRIDIS.length - 2);
  const [from, to] = [rgb(VIRIDIS[low]), rgb(VIRIDIS[low + 1])];
  return from.map((part, i) => part + (place - low) * (to[i] - part)) as Rgb;
}

/** Viridis as a table of 256 colours. */
export const VIRIDIS_TABLE = Uint8Array.from({ length: 256 * 3 }, (_, i) => ramp(Math.floor(i / 3) / 255)[i % 3]);

/** Add to the known set, one by one, the colour whose nearest neighbour is farthest, seen with all or with fewer cones. */
function distinct(n: number): string[] {
  const candidates: Rgb[] = [];
  for (let r = 30; r <= 240; r += 30)
    for (let g = 30; g <= 240; g += 30)
      for (let b = 30; b <= 240; b += 30) {
        const light = oklab([r, g, b])[0];
        if (light > 0.42 && light < 0.82) candidates.push([r, g, b]);
      }
  const seen = candidates.map(views);
  const chosen = OKABE_ITO.slice(0, 6).map(rgb);
  const nearest = new Float64Array(candidates.length).fill(Infinity);
  const add = (colour: Rgb) => {
    const own = views(colour);
    for (let i = 0; i < seen.length; i++) nearest[i] = Math.min(nearest[i], distance(seen[i], own));
  };
  chosen.forEach(add);
  while (chosen.length < n) {
    const next = candidates[nearest.indexOf(nearest.reduce((a, b) => Math.max(a, b)))];
    chosen.push(next);
    add(next);
  }
  return chosen.map(hex);
}

/** Simulated deuteranopia and protanopia (Machado et al. 2009), on linear light. */
const DEUTAN = [0.367322, 0.860646, -0.227968, 0.280085, 0.672501, 0.047413, -0.01182, 0.04294, 0.968881];
const PROTAN = [0.152286, 1.052583, -0.204868, 0.114503, 0.786281, 0.099216, -0.003882, -0.048116, 1.051998];

const linear = (part: number): number => (part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4);

function times(m: number[], [r, g, b]: Rgb): Rgb {
  return [0, 3, 6].map((row) => Math.max(0, m[row] * r + m[row + 1] * g + m[row + 2] * b)) as Rgb;
}

/** OKLab (Ottosson 2020) of linear light. */
function lab([r, g, b]: Rgb): Rgb {
  const l = Math.cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b);
  const m = Math.cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b);
  const s = Math.cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b);
  return [
    0.2104542553 * l + 0.793617785 * m - 0.0040720468 * s,
    1.9779984951 * l - 2.428592205 * m + 0.4505937099 * s,
    0.0259040371 * l + 0.7827717662 * m - 0.808675766 * s,
  ];
}

const oklab = (colour: Rgb): Rgb => lab(colour.map(linear) as Rgb);

function views(colour: Rgb): Rgb[] {
  const light = colour.map(linear) as Rgb;
  return [lab(light), lab(times(DEUTAN, light)), lab(times(PROTAN, light))];
}

/** Mostly as all see it, and partly as those see it who tell apart least. */
function distance(a: Rgb[], b: Rgb[]): number {
  const apart = a.map((own, i) => Math.hypot(own[0] - b[i][0], own[1] - b[i][1], own[2] - b[i][2]));
  return 0.5 * apart[0] + 0.5 * Math.min(apart[1], apart[2]);
}
