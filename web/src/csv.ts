/** Return a table as CSV, in quotes where a cell needs them. */
export function asCsv(head: string[], rows: Iterable<string[]>): string {
  const line = (cells: string[]) => cells.map((cell) => (/[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell)).join(",");
  return [head, ...rows].map((cells) => `${line(cells)}\n`).join("");
}
