/** A step of a unit: from `from` of the profile's unit on, values are shown as `value / from` of it. */
interface Step {
  readonly from: number;
  readonly name: string;
}

const times: readonly Step[] = [
  { from: 3.6e12, name: 'h' },
  { from: 6e10, name: 'min' },
  { from: 1e9, name: 's' },
  { from: 1e6, name: 'ms' },
  { from: 1e3, name: 'µs' },
  { from: 1, name: 'ns' },
];

const sizes: readonly Step[] = [
  { from: 2 ** 40, name: 'TiB' },
  { from: 2 ** 30, name: 'GiB' },
  { from: 2 ** 20, name: 'MiB' },
  { from: 2 ** 10, name: 'KiB' },
  { from: 1, name: 'B' },
];

const nanosOf: Readonly<Record<string, number>> = { nanoseconds: 1, microseconds: 1e3, milliseconds: 1e6, seconds: 1e9 };
const bytesOf: Readonly<Record<string, number>> = { bytes: 1, kilobytes: 2 ** 10, megabytes: 2 ** 20 };

/** A value of a pprof unit for people: `1.25 s`, `13.4 MiB`, `1,234`. Units that it does not know are named as they are. */
export function humanValue(value: number, unit: string): string {
  const time = nanosOf[unit];
  if (time !== undefined) return scaled(value * time, times);
  const size = bytesOf[unit];
  if (size !== undefined) return scaled(value * size, sizes);
  const grouped = value.toLocaleString('en-US');
  return unit === 'count' || unit === '' ? grouped : `${grouped} ${unit}`;
}

function scaled(value: number, steps: readonly Step[]): string {
  if (value === 0) return '0';
  const { from, name } = steps.find((step) => Math.abs(value) >= step.from) ?? steps.at(-1)!;
  const shown = value / from;
  const digits = Number.isInteger(shown) || Math.abs(shown) >= 100 ? 0 : Math.abs(shown) >= 10 ? 1 : 2;
  return `${shown.toFixed(digits)} ${name}`;
}
