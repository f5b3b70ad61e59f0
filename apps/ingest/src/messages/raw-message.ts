import { WireType } from '@bufbuild/protobuf/wire';
import { FieldReader } from './field-reader.js';

/** Binnacle's own, of counters and gauges: see the schema. */
export const exactField = 1_000;

/** What a message says of one series. The tags are as they were sent. */
export interface RawSeries {
  readonly name: string;
  readonly tags: readonly string[];
  readonly source: string;
}

/** Numbers come as they were sent, also those that are not finite. */
export interface RawMessageSink {
  counter(series: RawSeries, value: number): void;
  gauge(series: RawSeries, value: number): void;
  gaugeChange(series: RawSeries, change: number): void;
  set(series: RawSeries, members: readonly string[]): void;
  /** @param sampleCount how many values there would be without sampling */
  timer(series: RawSeries, values: readonly number[], sampleCount: number): void;
}

export type RawMessageReader = (bytes: Uint8Array, sink: RawMessageSink) => void;

/**
 * Reads `RawMessageV2` of `schema/gostatsd.proto` and hands its series to the sink as they come: a message of any size takes the memory of one
 * series. A series that stands twice in it is handed over twice. Throws `BadMessage`; the sink may have got some by then.
 */
export function readRawMessage(bytes: Uint8Array, sink: RawMessageSink): void {
  const reader = new FieldReader(bytes);
  reader.readWhole((number, type) => {
    if (number > 4 || type !== WireType.LengthDelimited) return false;
    readNamed(reader, number, sink);
    return true;
  });
}

/** Reads it for its form alone: what passes here is taken whole. */
export function checkRawMessage(bytes: Uint8Array, read: RawMessageReader = readRawMessage): void {
  const nothing = (): void => {};
  read(bytes, { counter: nothing, gauge: nothing, gaugeChange: nothing, set: nothing, timer: nothing });
}

/** An entry of the outer map: a name, and a message that is a map itself. */
function readNamed(reader: FieldReader, kind: number, sink: RawMessageSink): void {
  const name = reader.peekKey();
  reader.readMessage((number, type) => {
    if (number !== 2 || type !== WireType.LengthDelimited) return false;
    reader.readMessage((inner, innerType) => {
      if (inner !== 1 || innerType !== WireType.LengthDelimited) return false;
      handOver(name, kind, readTagged(reader, kind), sink);
      return true;
    });
    return true;
  });
}

class RawValue {
  readonly tags: string[] = [];
  source = '';
  /** Of a counter and a gauge the value, of a timer the sample count. */
  number = 0;
  /** Of a gauge, how it changes. */
  change: number | undefined;
  readonly members: string[] = [];
  readonly values: number[] = [];
}

const counterKind = 1;
const gaugeKind = 2;
const timerKind = 4;
const setKind = 3;

/** An entry of the inner map. Its key says again what the value says: tags and source. */
function readTagged(reader: FieldReader, kind: number): RawValue {
  const value = new RawValue();
  reader.readMessage((number, type) => {
    if (number !== 2 || type !== WireType.LengthDelimited) return false;
    reader.readMessage((field, fieldType) => readValue(reader, kind, field, fieldType, value));
    return true;
  });
  return value;
}

function readValue(reader: FieldReader, kind: number, field: number, type: WireType, value: RawValue): boolean {
  const isText = type === WireType.LengthDelimited;
  if (field === 1 && isText) value.tags.push(reader.string());
  else if (field === 2 && isText) value.source = reader.string();
  else if (field === 3 && kind === setKind && isText) value.members.push(reader.string());
  else if (field === 3 && kind === counterKind && type === WireType.Varint) value.number = reader.int64();
  else if (field === 3 && (kind === gaugeKind || kind === timerKind) && type === WireType.Bit64) value.number = reader.double();
  else if (field === exactField && kind === counterKind && type === WireType.Bit64) value.number = reader.double();
  else if (field === exactField && kind === gaugeKind && type === WireType.Bit64) value.change = reader.double();
  else if (field === 4 && kind === timerKind) return reader.doubles(type, (each) => value.values.push(each));
  else return false;
  return true;
}

function handOver(name: string, kind: number, { tags, source, number, change, members, values }: RawValue, sink: RawMessageSink): void {
  const series = { name, tags, source };
  if (kind === counterKind) sink.counter(series, number);
  else if (kind === gaugeKind && change !== undefined) sink.gaugeChange(series, change);
  else if (kind === gaugeKind) sink.gauge(series, number);
  else if (kind === setKind) sink.set(series, members);
  else sink.timer(series, values, number);
}
