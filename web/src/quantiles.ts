/** The values at two shares of the sorted ones, of at most 20,000; undefined where none is finite. */
export function quantiles(n: number, value: (i: number) => number, low: number, high: number): [number | undefined, number | undefined] {
  const step = Math.max(1, Math.floor(n / 20_000));
  const values: number[] = [];
  for (let i = 0; i < n; i += step) if (Number.isFinite(value(i))) values.push(value(i));
  values.sort((a, b) => a - b);
  return [values[Math.floor(low * (values.length - 1))], values[Math.ceil(high * (values.length - 1))]];
}
