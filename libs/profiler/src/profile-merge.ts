import { Function as PprofFunction, Label, Location, Mapping, Profile, Sample, StringTable, ValueType } from 'pprof-format';
import { numberIfExact } from './profile.js';

type Numeric = number | bigint;

export interface ProfilePart {
  readonly profile: Profile;
  /** Added to every sample of the profile, in place of labels of the same name. */
  readonly labels: Readonly<Record<string, string>>;
}

/**
 * One profile of all parts: functions, mappings and locations unified by content, samples with the same stack and labels summed. Time linear
 * in the size of the parts, which stay as they are. It starts when the first of them did and lasts as long as the longest: parts are thought
 * of as taken side by side. Throws RangeError without parts or when their sample types differ.
 */
export function mergeProfiles(parts: readonly ProfilePart[]): Profile {
  const merge = new Merge(sharedSampleTypes(parts.map(({ profile }) => profile)));
  for (const part of parts) merge.add(part);
  return merge.profile;
}

function sharedSampleTypes(profiles: readonly Profile[]): { type: string; unit: string }[] {
  const [first, ...others] = profiles;
  if (first === undefined) throw new RangeError('there is no profile to merge');
  const wanted = sampleTypeNames(first);
  for (const other of others) {
    const found = sampleTypeNames(other);
    if (found !== wanted) throw new RangeError(`profiles of different kinds cannot be merged: one has ${wanted}, another ${found}`);
  }
  return first.sampleType.map((type) => ({ type: stringOf(first, type.type), unit: stringOf(first, type.unit) }));
}

function sampleTypeNames(profile: Profile): string {
  return profile.sampleType.map(({ type, unit }) => `${stringOf(profile, type)}/${stringOf(profile, unit)}`).join(', ') || 'no sample types';
}

function stringOf(profile: Profile, index: Numeric): string {
  const found = profile.stringTable.strings[Number(index)];
  if (found === undefined) throw new RangeError(`the profile has no string ${index}`);
  return found;
}

class Merge {
  readonly profile: Profile;
  readonly #strings = new StringTable();
  readonly #mappings = new Map<string, Mapping>();
  readonly #functions = new Map<string, Numeric>();
  readonly #locations = new Map<string, Numeric>();
  readonly #samples = new Map<string, Sample>();

  constructor(sampleTypes: readonly { type: string; unit: string }[]) {
    const sampleType = sampleTypes.map(({ type, unit }) => new ValueType({ type: this.#strings.dedup(type), unit: this.#strings.dedup(unit) }));
    this.profile = new Profile({ sampleType, stringTable: this.#strings });
  }

  add({ profile, labels }: ProfilePart): void {
    const strings = profile.stringTable.strings.map((text) => this.#strings.dedup(text));
    const string = (index: Numeric): number => {
      const at = strings[Number(index)];
      if (at === undefined) throw new RangeError(`the profile has no string ${index}`);
      return at;
    };
    this.#addHead(profile, string);
    const mappings = new Map(profile.mapping.map((mapping) => [mapping.id, { from: mapping, to: this.#mapping(mapping, string) }]));
    const functions = new Map(profile.function.map((entry) => [entry.id, this.#function(entry, string)]));
    const locations = new Map(
      profile.location.map((location) => {
        const mapping = mappings.get(location.mappingId);
        // The same library lies at another address in every process: what counts is the place within it.
        const shift = mapping === undefined ? 0n : BigInt(mapping.to.memoryStart) - BigInt(mapping.from.memoryStart);
        const address = shift === 0n ? location.address : numberIfExact(BigInt.asUintN(64, BigInt(location.address) + shift));
        const lines = location.line.map(({ functionId, line, column }) => ({ functionId: known(functions, functionId, 'function'), line, column }));
        const { isFolded } = location;
        return [location.id, this.#location({ mappingId: mapping?.to.id ?? 0, address, line: lines, isFolded })];
      }),
    );
    const added = Object.entries(labels).map(([key, text]) => new Label({ key: this.#strings.dedup(key), str: this.#strings.dedup(text) }));
    for (const sample of profile.sample) this.#sample(sample, (id) => known(locations, id, 'location'), string, added);
  }

  #addHead(profile: Profile, string: (index: Numeric) => number): void {
    const merged = this.profile;
    const { timeNanos, durationNanos, period, periodType } = profile;
    if (timeNanos !== 0 && (merged.timeNanos === 0 || timeNanos < merged.timeNanos)) merged.timeNanos = timeNanos;
    if (durationNanos > merged.durationNanos) merged.durationNanos = durationNanos;
    if (period > merged.period) merged.period = period;
    if (periodType !== undefined) merged.periodType ??= new ValueType({ type: string(periodType.type), unit: string(periodType.unit) });
    merged.defaultSampleType ||= string(profile.defaultSampleType);
    merged.dropFrames ||= string(profile.dropFrames);
    merged.keepFrames ||= string(profile.keepFrames);
    merged.docUrl ||= string(profile.docUrl);
    merged.comment = [...new Set([...merged.comment, ...profile.comment.map(string)])];
  }

  #mapping(mapping: Mapping, string: (index: Numeric) => number): Mapping {
    const filename = string(mapping.filename);
    const buildId = string(mapping.buildId);
    const size = BigInt(mapping.memoryLimit) - BigInt(mapping.memoryStart);
    // Without a build id and a name it stands for no file at all, as in profiles of JavaScript: one for all.
    const key = buildId || filename ? `${size} ${mapping.fileOffset} ${buildId ? `b${buildId}` : `f${filename}`}` : '';
    let merged = this.#mappings.get(key);
    if (merged === undefined) {
      merged = new Mapping({ ...mapping, id: this.#mappings.size + 1, filename, buildId });
      this.#mappings.set(key, merged);
      this.profile.mapping.push(merged);
    }
    return merged;
  }

  #function(entry: PprofFunction, string: (index: Numeric) => number): Numeric {
    const [name, systemName, filename] = [string(entry.name), string(entry.systemName), string(entry.filename)];
    const key = `${name} ${systemName} ${filename} ${entry.startLine}`;
    let id = this.#functions.get(key);
    if (id === undefined) {
      id = this.#functions.size + 1;
      this.#functions.set(key, id);
      this.profile.function.push(new PprofFunction({ id, name, systemName, filename, startLine: entry.startLine }));
    }
    return id;
  }

  #location(location: { mappingId: Numeric; address: Numeric; line: { functionId: Numeric; line: Numeric; column: Numeric }[]; isFolded: boolean }): Numeric {
    const lines = location.line.map(({ functionId, line, column }) => `${functionId}:${line}:${column}`).join();
    const key = `${location.mappingId} ${location.address} ${location.isFolded} ${lines}`;
    let id = this.#locations.get(key);
    if (id === undefined) {
      id = this.#locations.size + 1;
      this.#locations.set(key, id);
      this.profile.location.push(new Location({ id, ...location }));
    }
    return id;
  }

  #sample(sample: Sample, location: (id: Numeric) => Numeric, string: (index: Numeric) => number, added: readonly Label[]): void {
    const locationId = sample.locationId.map(location);
    const own = sample.label.map(({ key, str, num, numUnit }) => new Label({ key: string(key), str: string(str), num, numUnit: string(numUnit) }));
    const label = [...own.filter(({ key }) => !added.some((other) => other.key === key)), ...added];
    const labelKeys = label.map(({ key, str, num, numUnit }) => `${key}=${str}=${num}=${numUnit}`);
    const identity = `${locationId.join()} ${labelKeys.sort().join()}`;
    const merged = this.#samples.get(identity);
    if (merged === undefined) {
      const created = new Sample({ locationId, value: [...sample.value], label });
      this.#samples.set(identity, created);
      this.profile.sample.push(created);
      return;
    }
    merged.value = merged.value.map((value, index) => sum(value, sample.value[index] ?? 0));
  }
}

function known(ids: ReadonlyMap<Numeric, Numeric>, id: Numeric, what: string): Numeric {
  const found = ids.get(id);
  if (found === undefined) throw new RangeError(`the profile has no ${what} ${id}`);
  return found;
}

function sum(a: Numeric, b: Numeric): Numeric {
  const plain = typeof a === 'number' && typeof b === 'number' ? a + b : NaN;
  return Number.isSafeInteger(plain) ? plain : numberIfExact(BigInt(a) + BigInt(b));
}
