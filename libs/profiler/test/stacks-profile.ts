import { Function as PprofFunction, Label, Location, Profile, Sample, StringTable } from 'pprof-format';

interface StacksProfileOptions {
  readonly sampleType?: string;
  readonly unit?: string;
  /** A file of every function; by default `file:///app/NAME.ts`. */
  readonly fileName?: (name: string) => string;
  readonly labels?: Readonly<Record<string, string>>;
  /** The id of the first function and location; the others follow. */
  readonly firstId?: number;
}

/** A profile of folded stacks (`root;caller;leaf`) with their values, of one sample type (`cpu` in `nanoseconds`). */
export function profileOf(stacks: Readonly<Record<string, number>>, options: StacksProfileOptions = {}): Profile {
  const { sampleType = 'cpu', unit = 'nanoseconds', fileName = (name) => `file:///app/${name}.ts`, labels = {}, firstId = 1 } = options;
  const stringTable = new StringTable();
  const ids = new Map<string, number>();
  const functions: PprofFunction[] = [];
  const idOf = (name: string): number => {
    const known = ids.get(name);
    if (known !== undefined) return known;
    const id = firstId + ids.size;
    ids.set(name, id);
    functions.push(new PprofFunction({ id, name: stringTable.dedup(name), filename: stringTable.dedup(fileName(name)), startLine: 10 + ids.size }));
    return id;
  };
  const label = Object.entries(labels).map(([key, text]) => new Label({ key: stringTable.dedup(key), str: stringTable.dedup(text) }));
  const sample = Object.entries(stacks).map(([stack, value]) => new Sample({ locationId: stack.split(';').map(idOf).reverse(), value: [value], label }));
  const location = functions.map(({ id, startLine }) => new Location({ id, line: [{ functionId: id, line: startLine }] }));
  const type = { type: stringTable.dedup(sampleType), unit: stringTable.dedup(unit) };
  return new Profile({ sampleType: [type], periodType: type, period: 10_000_000, sample, location, function: functions, stringTable, durationNanos: 10e9 });
}
