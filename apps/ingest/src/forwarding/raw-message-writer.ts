import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { eventPriorities, eventTypes, type MetricEvent } from '../messages/metric-event.js';
import type { CounterSeries, Series, TimerSeries } from '../series/series.js';
import { exactField } from '../messages/raw-message.js';
import { tagsKey } from '../series/tags.js';

/** Of one message before it is compressed: far below what any receiver takes. */
const messageBytesMax = 512 * 1_024;
/** Of one series in a message: one with more values or members is in several, which its receiver adds up. */
const valuesMax = 32_768;
const memberCharactersMax = 256 * 1_024;
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
    let isFirst = true;
    for (const write of this.#pieces(series)) {
      // Of two entries of one series in a message a receiver may keep the last.
      if (!isFirst && this.#bytes > 0) this.#endMessage();
      isFirst = false;
      this.#addEntry(series, write);
    }
  }

  #addEntry(series: Series, write: (value: BinaryWriter) => void): void {
    const { name, tags, source } = series.identity;
    const value = new BinaryWriter();
    for (const tag of tags) value.tag(1, WireType.LengthDelimited).string(tag);
    if (source !== '') value.tag(2, WireType.LengthDelimited).string(source);
    write(value);
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

  *#pieces(series: Series): Generator<(value: BinaryWriter) => void> {
    switch (series.kind) {
      case 'counter':
        yield (value) => {
          if (this.receiver === 'gostatsd') value.tag(3, WireType.Varint).int64(this.#wholePart(series));
          else value.tag(exactField, WireType.Bit64).double(series.value);
        };
        return;
      case 'gauge':
        yield (value) => value.tag(this.receiver === 'gostatsd' || series.wasSet ? 3 : exactField, WireType.Bit64).double(series.value);
        return;
      case 'set':
        for (const members of pieces(series.members)) {
          yield (value) => {
            for (const member of members) value.tag(3, WireType.LengthDelimited).string(member);
          };
        }
        return;
      case 'timer':
        yield* timerPieces(series);
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

/** How many values there would be without sampling is said once. */
function* timerPieces({ values, sampledCount }: TimerSeries): Generator<(value: BinaryWriter) => void> {
  const all = values.current();
  for (let from = 0; from === 0 || from < all.length; from += valuesMax) {
    yield (value) => {
      value.tag(3, WireType.Bit64).double(from === 0 ? sampledCount : 0);
      value.tag(4, WireType.LengthDelimited).fork();
      for (const each of all.subarray(from, from + valuesMax)) value.double(each);
      value.join();
    };
  }
}

function* pieces(members: ReadonlySet<string>): Generator<readonly string[]> {
  let piece: string[] = [];
  let characters = 0;
  for (const member of members) {
    if (characters >= memberCharactersMax) {
      yield piece;
      piece = [];
      characters = 0;
    }
    piece.push(member);
    characters += member.length;
  }
  yield piece;
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
