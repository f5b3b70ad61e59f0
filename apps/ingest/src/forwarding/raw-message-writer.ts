import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { eventPriorities, eventTypes, type MetricEvent } from '../messages/metric-event.js';
import type { CounterSeries, Series } from '../series/series.js';
import { exactField } from '../messages/raw-message.js';
import { tagsKey } from '../series/tags.js';

/** Of one message before it is compressed: far below what any receiver takes. */
const messageBytesMax = 512 * 1_024;
const fieldByKind = { counter: 1, gauge: 2, set: 3, timer: 4 } as const;

/** All series of one kind and name: of two entries of one name a receiver would keep the last. */
interface Group {
  readonly field: number;
  readonly name: string;
  readonly entries: Uint8Array[];
}

/**
 * For another Binnacle that goes on adding up: fractions of counters and changes of gauges are said as such. For gostatsd counters are whole numbers,
 * and what is left over goes with the next flush of the series.
 */
export type Receiver = 'binnacle' | 'gostatsd';

/** Writes what series came to since the last flush as `RawMessageV2`, in as many messages as it takes. */
export class RawMessageWriter {
  readonly #remainders = new WeakMap<CounterSeries, number>();
  #messages: Buffer[] = [];
  /** Of the message that is being made. */
  #groups = new Map<string, Group>();
  #bytes = 0;

  constructor(private readonly receiver: Receiver) {}

  /** Before the store closes the interval of the series. */
  add(series: Series): void {
    const { name, tags, source } = series.identity;
    const value = new BinaryWriter();
    for (const tag of tags) value.tag(1, WireType.LengthDelimited).string(tag);
    if (source !== '') value.tag(2, WireType.LengthDelimited).string(source);
    this.#writeValue(series, value);
    const entry = new BinaryWriter().tag(1, WireType.LengthDelimited).string(tagsKey(tags, source)).tag(2, WireType.LengthDelimited).bytes(value.finish()).finish();
    const field = fieldByKind[series.kind];
    const key = `${field} ${name}`;
    const group = this.#groups.get(key) ?? { field, name, entries: [] };
    this.#groups.set(key, group);
    group.entries.push(entry);
    this.#bytes += entry.length + name.length;
    if (this.#bytes >= messageBytesMax) this.#endMessage();
  }

  /** What was added since the last call. */
  take(): Buffer[] {
    if (this.#bytes > 0) this.#endMessage();
    const messages = this.#messages;
    this.#messages = [];
    return messages;
  }

  #endMessage(): void {
    const writer = new BinaryWriter();
    for (const { field, name, entries } of this.#groups.values()) {
      writer.tag(field, WireType.LengthDelimited).fork().tag(1, WireType.LengthDelimited).string(name).tag(2, WireType.LengthDelimited).fork();
      for (const entry of entries) writer.tag(1, WireType.LengthDelimited).bytes(entry);
      writer.join().join();
    }
    this.#messages.push(Buffer.from(writer.finish()));
    this.#groups = new Map();
    this.#bytes = 0;
  }

  #writeValue(series: Series, value: BinaryWriter): void {
    switch (series.kind) {
      case 'counter':
        if (this.receiver === 'gostatsd') value.tag(3, WireType.Varint).int64(this.#wholePart(series));
        else value.tag(exactField, WireType.Bit64).double(series.value);
        return;
      case 'gauge':
        value.tag(this.receiver === 'gostatsd' || series.wasSet ? 3 : exactField, WireType.Bit64).double(series.value);
        return;
      case 'set':
        for (const member of series.members) value.tag(3, WireType.LengthDelimited).string(member);
        return;
      case 'timer':
        value.tag(3, WireType.Bit64).double(series.sampledCount);
        value.tag(4, WireType.LengthDelimited).fork();
        for (const each of series.values.current()) value.double(each);
        value.join();
    }
  }

  #wholePart(series: CounterSeries): bigint {
    const total = series.value + (this.#remainders.get(series) ?? 0);
    // Tenths added up are not quite whole: 3 times 1/0.3 is 10, or very nearly.
    const whole = Math.abs(total - Math.round(total)) < 1e-9 ? Math.round(total) : Math.trunc(total);
    this.#remainders.set(series, total - whole);
    return BigInt.asIntN(64, BigInt(Math.max(-(2 ** 63), Math.min(whole, 2 ** 63 - 1_024))));
  }
}

/** One `EventV2`. A service check goes as an event. */
export function encodeEvent(event: MetricEvent): Buffer {
  const writer = new BinaryWriter();
  const text = (field: number, value: string): void => {
    if (value !== '') writer.tag(field, WireType.LengthDelimited).string(value);
  };
  text(1, event.title);
  text(2, event.text);
  writer.tag(3, WireType.Varint).int64(Math.trunc(event.happenedAtS));
  text(4, event.source);
  text(5, event.aggregationKey);
  text(6, event.sourceTypeName);
  for (const tag of event.tags) text(7, tag);
  writer.tag(9, WireType.Varint).int32(eventPriorities.indexOf(event.priority));
  writer.tag(10, WireType.Varint).int32(eventTypes.indexOf(event.type));
  return Buffer.from(writer.finish());
}
