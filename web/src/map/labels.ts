export interface Label {
  text: string;
  /** Pixels of the middle. */
  x: number;
  y: number;
}

export interface Box {
  text: string;
  x: number;
  y: number;
  width: number;
  height: number;
}

/** Offsets that are tried, in heights of a line, nearest first. */
const OFFSETS = [[0, 0], [0, -1], [0, 1], [0.8, -0.7], [-0.8, -0.7], [0.8, 0.7], [-0.8, 0.7], [0, -2], [0, 2], [1.6, 0], [-1.6, 0], [0, -3], [0, 3]];

/** Place labels, the first ones first, so that none covers another; those that find no place within the frame are left out. */
export function place(labels: Label[], measure: (text: string) => number, height: number, width: number, down: number): Box[] {
  const placed: Box[] = [];
  for (const label of labels) {
    const half = measure(label.text) / 2;
    if (label.x < -half || label.x > width + half || label.y < 0 || label.y > down) continue;
    for (const [right, below] of OFFSETS) {
      const x = label.x - half + right * height * (half / height);
      const y = label.y - height / 2 + below * height;
      const box = { text: label.text, x, y, width: 2 * half, height };
      const free = x >= 2 && y >= 2 && x + box.width <= width - 2 && y + height <= down - 2;
      if (free && !placed.some((other) => overlap(other, box))) {
        placed.push(box);
        break;
      }
    }
  }
  return placed;
}

const GAP = 3;

function overlap(a: Box, b: Box): boolean {
  return a.x < b.x + b.width + GAP && b.x < a.x + a.width + GAP && a.y < b.y + b.height + GAP && b.y < a.y + a.height + GAP;
}
