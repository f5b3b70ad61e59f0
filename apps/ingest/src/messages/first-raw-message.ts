import { WireType } from '@bufbuild/protobuf/wire';
import { FieldReader } from './field-reader.js';
import type { RawMessageSink } from './raw-message.js';

/** Which of the messages a metric holds: the field's number is its kind. */
const counterKind = 12;
const gaugeKind = 13;
const setKind = 14;
const timerKind = 15;

class FirstRawMetric {
  name = '';
  readonly tags: string[] = [];
  source = '';
  /** 0: none, and then it is passed over. */
  kind = 0;
  value = 0;
  member = '';
  /** Of a timer: the share of the values that were sent, of which this is one. */
  rate = 1;
}

/**
 * Reads `RawMessageV1` of `schema/gostatsd.proto`, which version 1 of the protocol sends: every value by itself, nothing added up. Hands over as
 * `readRawMessage` does, and throws `BadMessage` as it does.
 */
export function readFirstRawMessage(bytes: Uint8Array, sink: RawMessageSink): void {
  const reader = new FieldReader(bytes);
  reader.readWhole((number, type) => {
    if (number !== 1 || type !== WireType.LengthDelimited) return false;
    const metric = new FirstRawMetric();
    reader.readMessage((field, fieldType) => readMetric(reader, field, fieldType, metric));
    handOver(metric, sink);
    return true;
  });
}

function readMetric(reader: FieldReader, field: number, type: WireType, metric: FirstRawMetric): boolean {
  if (type !== WireType.LengthDelimited) return false;
  if (field === 1) metric.name = reader.string();
  else if (field === 2) metric.tags.push(reader.string());
  else if (field === 3) metric.source = reader.string();
  else if (field >= counterKind && field <= timerKind) {
    // Of several the last one counts, as everywhere in protobuf, and nothing of those before it.
    Object.assign(metric, { kind: field, value: 0, member: '', rate: 1 });
    reader.readMessage((inner, innerType) => readValue(reader, inner, innerType, metric));
  } else return false;
  return true;
}

function readValue(reader: FieldReader, field: number, type: WireType, metric: FirstRawMetric): boolean {
  if (field === 1 && metric.kind === setKind && type === WireType.LengthDelimited) metric.member = reader.string();
  else if (field === 1 && metric.kind !== setKind && type === WireType.Bit64) metric.value = reader.double();
  else if (field === 2 && metric.kind === timerKind && type === WireType.Bit64) metric.rate = reader.double();
  else return false;
  return true;
}

function handOver({ name, tags, source, kind, value, member, rate }: FirstRawMetric, sink: RawMessageSink): void {
  const series = { name, tags, source };
  if (kind === counterKind) sink.counter(series, value);
  else if (kind === gaugeKind) sink.gauge(series, value);
  else if (kind === setKind) sink.set(series, [member]);
  else if (kind === timerKind) sink.timer(series, [value], 1 / rate);
}
