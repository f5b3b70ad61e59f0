import { addressName, grown, noSampleType, sampleTypeIndex, type CallTreeBuilder, type Column, type SampleChoice, type SampleType } from './call-tree.js';
import { Cursor, readNumbers, wireDelimited, wireVarint } from './protobuf-cursor.js';
import { UnreadableProfile } from './unreadable-profile.js';

/*
 * Reads the protobuf message of a pprof profile straight into a call tree: no object per sample, and none per location. pprof-format makes
 * several of each, which costs more than all the rest of a rendering. The format: google/pprof, proto/profile.proto.
 */

/** Where ids are larger than this many times their count, a map keeps them instead of an array. */
const sparseness = 8;

/** What a first pass over the message finds; samples, locations and functions only as the places where they start and end. */
interface Sections {
  readonly strings: number[];
  readonly samples: number[];
  readonly locations: number[];
  readonly functions: number[];
  readonly types: { type: number; unit: number }[];
  defaultSampleType: number;
  durationNanos: number;
}

/**
 * Adds the samples of a profile (plain bytes, not gzipped) to `builder`. Throws UnreadableProfile when the bytes are truncated, name things that
 * are not in them or are no pprof at all, and RangeError for a sample type that the profile does not have.
 */
export function readCallTree(bytes: Uint8Array, builder: CallTreeBuilder, { column, sampleType, rootLabel }: SampleChoice): { readonly type: SampleType; readonly durationNanos: number } {
  const cursor = new Cursor(bytes);
  const sections = readSections(cursor);
  if (sections.strings.length === 0) throw new UnreadableProfile('it has no table of strings, so it is no pprof');
  const text = readStrings(bytes, sections.strings);
  const types = sections.types.map(({ type, unit }) => ({ type: text(type), unit: text(unit) }));
  const index = sampleTypeIndex(types, text(sections.defaultSampleType), sampleType);
  // A frame of a stack takes two bytes or so, and half of them are shared with other stacks.
  builder.reserve(Math.ceil(bytes.length / 4));
  const raw = readLocations(cursor, sections.locations);
  const frameOfFunction = readFunctions(cursor, sections.functions, raw.firstLines, text, builder);
  const locations = framesOf(raw, frameOfFunction, builder);
  const labels = rootLabel === undefined ? undefined : new RootLabels(rootLabel, text, builder);
  addSamples(cursor, sections.samples, new Stack(locations, labels), { builder, column, index, typeCount: types.length });
  return { type: types[index] ?? noSampleType, durationNanos: sections.durationNanos };
}

function readSections(cursor: Cursor): Sections {
  const sections: Sections = { strings: [], samples: [], locations: [], functions: [], types: [], defaultSampleType: 0, durationNanos: 0 };
  const placesOf = [undefined, undefined, sections.samples, undefined, sections.locations, sections.functions, sections.strings];
  while (cursor.next()) {
    const places = placesOf[cursor.field];
    if (places !== undefined) {
      const end = cursor.message();
      places.push(cursor.at, end);
      cursor.at = end;
    } else if (cursor.field === 1) sections.types.push(readValueType(cursor));
    else if (cursor.field === 10 && cursor.wire === wireVarint) sections.durationNanos = cursor.varint();
    else if (cursor.field === 14 && cursor.wire === wireVarint) sections.defaultSampleType = cursor.varint();
    else cursor.skip();
  }
  return sections;
}

function readValueType(cursor: Cursor): { type: number; unit: number } {
  const [type = 0, unit = 0] = readNumbers(cursor, cursor.message(), 2);
  return { type, unit };
}

/** Strings become JavaScript's when they are asked for: most profiles hold many that no rendering shows. */
function readStrings(bytes: Uint8Array, places: readonly number[]): (index: number) => string {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const count = places.length / 2;
  return (index) => {
    if (index < 0 || index >= count) throw new UnreadableProfile(`it has no string ${index}`);
    return buffer.toString('utf8', places[2 * index], places[2 * index + 1]);
  };
}

/** Numbers by id. */
interface Ids {
  get(id: number): number | undefined;
}

/** pprof ids are arbitrary, but mostly count from 1: then an array does. */
function idsOf(ids: readonly number[]): Ids {
  const highest = ids.reduce((most, id) => Math.max(most, id), 0);
  if (highest > sparseness * ids.length + 1024) return new Map(ids.map((id, index) => [id, index]));
  const dense = new Int32Array(highest + 1).fill(-1);
  ids.forEach((id, index) => (dense[id] = index));
  return { get: (id) => (dense[id] === -1 ? undefined : dense[id]) };
}

/** Frame numbers by function id. A function that does not say where it starts is named by the first of its lines in the profile. */
function readFunctions(cursor: Cursor, places: readonly number[], firstLines: ReadonlyMap<number, number>, text: (index: number) => string, builder: CallTreeBuilder): (id: number) => number {
  const ids: number[] = [];
  const frames: number[] = [];
  for (let place = 0; place < places.length; place += 2) {
    cursor.at = places[place]!;
    const [id = 0, name = 0, systemName = 0, fileName = 0, line = 0] = readNumbers(cursor, places[place + 1]!, 5);
    requireId(id, 'function');
    ids.push(id);
    frames.push(builder.frame(text(name) || text(systemName), text(fileName), line || (firstLines.get(id) ?? 0)));
  }
  const numbers = idsOf(ids);
  return (id) => {
    const number = numbers.get(id);
    if (number === undefined) throw new UnreadableProfile(`it has no function ${id}`);
    return frames[number]!;
  };
}

function requireId(id: number, what: string): void {
  if (id <= 0 || !Number.isSafeInteger(id)) throw new UnreadableProfile(`it has a ${what} with the id ${id}`);
}

/** The frames of location number n, innermost first, are `frames[starts[n]]` up to `frames[starts[n + 1]]`. */
interface Locations {
  readonly ids: Ids;
  readonly starts: Uint32Array;
  readonly frames: Uint32Array;
  /** By id, the frame of a location that has just one, else -1. Nearly every look-up ends here. */
  readonly onlyFrame: Int32Array;
}

/** Locations as they stand in the message: functions still by id, and the lowest line of each. */
interface RawLocations {
  readonly ids: number[];
  readonly addresses: number[];
  readonly starts: number[];
  readonly functionIds: number[];
  readonly firstLines: Map<number, number>;
}

function readLocations(cursor: Cursor, places: readonly number[]): RawLocations {
  const raw: RawLocations = { ids: [], addresses: [], starts: [0], functionIds: [], firstLines: new Map() };
  const outer = cursor.end;
  for (let place = 0; place < places.length; place += 2) {
    let id = 0;
    let address = 0;
    cursor.at = places[place]!;
    cursor.end = places[place + 1]!;
    while (cursor.next()) {
      if (cursor.field === 1 && cursor.wire === wireVarint) id = cursor.varint();
      else if (cursor.field === 3 && cursor.wire === wireVarint) address = cursor.varint();
      else if (cursor.field === 4) {
        const [functionId = 0, line = 0] = readNumbers(cursor, cursor.message(), 2);
        raw.functionIds.push(functionId);
        raw.firstLines.set(functionId, Math.min(line, raw.firstLines.get(functionId) ?? line));
      } else cursor.skip();
    }
    requireId(id, 'location');
    raw.ids.push(id);
    raw.addresses.push(address);
    raw.starts.push(raw.functionIds.length);
  }
  cursor.end = outer;
  return raw;
}

function framesOf({ ids, addresses, starts, functionIds }: RawLocations, frameOfFunction: (id: number) => number, builder: CallTreeBuilder): Locations {
  const frames: number[] = [];
  const frameStarts = new Uint32Array(ids.length + 1);
  const onlyFrame = new Int32Array(sparseness * ids.length).fill(-1);
  ids.forEach((id, index) => {
    const [start, end] = [starts[index]!, starts[index + 1]!];
    for (let at = start; at < end; at++) frames.push(frameOfFunction(functionIds[at]!));
    if (start === end) frames.push(builder.frame(addressName(addresses[index]!), '', 0));
    frameStarts[index + 1] = frames.length;
    if (id < onlyFrame.length && frames.length === frameStarts[index]! + 1) onlyFrame[id] = frames.at(-1)!;
  });
  return { ids: idsOf(ids), starts: frameStarts, frames: Uint32Array.from(frames), onlyFrame };
}

interface Target {
  readonly builder: CallTreeBuilder;
  readonly column: Column;
  /** Which of a sample's values counts. */
  readonly index: number;
  readonly typeCount: number;
}

function addSamples(cursor: Cursor, places: readonly number[], stack: Stack, { builder, column, index, typeCount }: Target): void {
  const values = new Float64Array(typeCount);
  for (let place = 0; place < places.length; place += 2) {
    cursor.at = places[place]!;
    cursor.end = places[place + 1]!;
    stack.clear();
    const valueCount = readSample(cursor, stack, values);
    if (valueCount !== typeCount) throw new UnreadableProfile(`a sample has ${valueCount} values instead of ${typeCount}`);
    stack.pushRoot();
    builder.add(stack.frames, stack.depth, values[index] ?? 0, column);
  }
}

/** Frames for the values of one label. */
class RootLabels {
  readonly #key: string;
  readonly #text: (index: number) => string;
  readonly #builder: CallTreeBuilder;
  /** By number of the string. */
  readonly #isKey = new Map<number, boolean>();
  readonly #frames = new Map<number, number>();

  constructor(key: string, text: (index: number) => string, builder: CallTreeBuilder) {
    this.#key = key;
    this.#text = text;
    this.#builder = builder;
  }

  /** The frame for the label message that starts here, -1 when it is another label. */
  frameOf(cursor: Cursor): number {
    const end = cursor.message();
    const [key = 0, value = 0] = readNumbers(cursor, end, 2);
    let isKey = this.#isKey.get(key);
    if (isKey === undefined) this.#isKey.set(key, (isKey = this.#text(key) === this.#key));
    if (!isKey) return -1;
    let frame = this.#frames.get(value);
    if (frame === undefined) this.#frames.set(value, (frame = this.#builder.labelFrame(this.#key, this.#text(value))));
    return frame;
  }
}

/** The frames of the sample at hand, leaf first. */
class Stack {
  readonly #locations: Locations;
  readonly #labels: RootLabels | undefined;
  #root = -1;
  frames = new Uint32Array(1024);
  depth = 0;

  constructor(locations: Locations, labels: RootLabels | undefined) {
    this.#locations = locations;
    this.#labels = labels;
  }

  clear(): void {
    this.depth = 0;
    this.#root = -1;
  }

  /** Reads a label of the sample and keeps the frame that it may ask for until the sample is read. */
  label(cursor: Cursor): void {
    if (this.#labels === undefined) cursor.skip();
    else this.#root = Math.max(this.#root, this.#labels.frameOf(cursor));
  }

  pushRoot(): void {
    if (this.#root >= 0) this.#pushFrame(this.#root);
  }

  push(id: number): void {
    const { onlyFrame } = this.#locations;
    const frame = id >= 0 && id < onlyFrame.length ? onlyFrame[id]! : -1;
    if (frame < 0) this.#pushAll(id);
    else this.#pushFrame(frame);
  }

  #pushAll(id: number): void {
    const { ids, starts, frames } = this.#locations;
    const location = ids.get(id);
    if (location === undefined) throw new UnreadableProfile(`it has no location ${id}`);
    for (let at = starts[location]!; at < starts[location + 1]!; at++) this.#pushFrame(frames[at]!);
  }

  #pushFrame(frame: number): void {
    if (this.depth === this.frames.length) this.frames = grown(this.frames, new Uint32Array(2 * this.depth));
    this.frames[this.depth++] = frame;
  }
}

/** Reads one sample into `stack` and `values` and returns how many values there were. Repeated numbers come packed in one field or one by one. */
function readSample(cursor: Cursor, stack: Stack, values: Float64Array): number {
  let valueCount = 0;
  while (cursor.next()) {
    const { field } = cursor;
    if (field !== 1 && field !== 2) {
      if (field === 3) stack.label(cursor);
      else cursor.skip();
      continue;
    }
    const packed = cursor.wire === wireDelimited;
    const end = packed ? cursor.delimited() : cursor.at + 1;
    if (field === 1) while (cursor.at < end) stack.push(cursor.varint());
    else while (cursor.at < end) values[valueCount++] = cursor.varint();
    if (packed && cursor.at !== end) throw new UnreadableProfile('a list of numbers in it ends within a number');
  }
  return valueCount;
}
