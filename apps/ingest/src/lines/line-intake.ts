import type { Clock } from '@binnacle/cluster-state/clock';
import type { MetricEvent } from '../messages/metric-event.js';
import type { Filters } from '../series/filters.js';
import { normalName } from '../series/metric-name.js';
import { finite } from '../series/finite.js';
import { memberBytesMax } from '../series/identity-limits.js';
import type { Series, SeriesIdentity, SetSeries } from '../series/series.js';
import type { SeriesStore } from '../series/series-store.js';
import { normalTags } from '../series/tags.js';
import { isSign, readDecimal } from './decimal.js';
import { readEventLine, readServiceCheckLine } from './event-line.js';
import { KnownLines, type LineTarget } from './known-lines.js';
import { LineWords } from './line-words.js';
import { type BadLine, eachValue, MetricLine, readMetricLine } from './metric-line.js';

/** What becomes the source of a series. */
export const lineSources = ['address', 'host-tag', 'none'] as const;
export type LineSource = (typeof lineSources)[number];

export interface LineIntakeOptions {
  readonly store: SeriesStore;
  readonly filters: Filters;
  readonly clock: Clock;
  readonly lineSource: LineSource;
  /** Spellings of series remembered. Formula: a few for each series. */
  readonly knownLinesMax: number;
  readonly onEvent: (event: MetricEvent) => void;
  /** The line is only valid during the call. */
  readonly onBadLine: (reason: BadLine, line: Buffer) => void;
}

const lineFeed = 0x0a;
const carriageReturn = 0x0d;
const underscore = 0x5f;
/** Senders told apart by a number; then it begins anew. */
const sendersMax = 65_536;

/** Takes lines in: counts what they say, and hands events and bad lines on. */
export class LineIntake {
  readonly #words = new LineWords();
  readonly #line = new MetricLine();
  readonly #known: KnownLines;
  #bytes: Buffer = Buffer.alloc(0);
  #view: DataView = new DataView(new ArrayBuffer(0));
  /** Whose lines are being taken, and their number: one text for all would have to be compared for each line. */
  #address = '';
  #sender = 0;
  readonly #senders = new Map<string, number>();
  /** Lines taken, bad ones not among them. */
  taken = 0;

  constructor(private readonly options: LineIntakeOptions) {
    this.#known = new KnownLines(options.knownLinesMax);
    this.#changeSender('');
  }

  /** Lines from `start` to `end`, with a line feed between two and perhaps after the last; empty ones are nothing. */
  take(bytes: Buffer, start: number, end: number, address: string): void {
    if (address !== this.#address) this.#changeSender(address);
    if (bytes !== this.#bytes) {
      this.#bytes = bytes;
      this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    }
    const words = this.#words;
    for (let at = start; at < end; ) {
      // Most lines are such as came before, but for a number.
      const entry = words.read(this.#view, at, end, this.#sender) ? this.#known.find(words) : -1;
      if (entry >= 0 && this.#tally(bytes, entry)) {
        at = words.nextStart;
        continue;
      }
      const known = entry < 0 ? undefined : this.#known.target(entry, this.options.store.interval);
      if (known !== undefined && this.#countUsual(bytes, known, this.#known.sampleRate(entry))) at = words.nextStart;
      else at = this.#takeUnusual(bytes, at, end, known);
    }
  }

  /** False if its series is neither counter nor gauge, or has got nothing in this interval yet, or if it has not one value alone. */
  #tally(bytes: Buffer, entry: number): boolean {
    const known = this.#known;
    const { values, open } = this.options.store.tallies;
    const place = known.place(entry);
    if (open[place] !== known.series(entry)) return false;
    const { valueStart, valueEnd } = this.#words;
    const value = readDecimal(bytes, valueStart, valueEnd);
    if (Number.isNaN(value)) return false;
    if (!known.isGauge(entry)) values[place] = finite((values[place] as number) + value / known.sampleRate(entry));
    else values[place] = isSign(bytes[valueStart]) ? finite((values[place] as number) + value) : value;
    this.taken += 1;
    return true;
  }

  #changeSender(address: string): void {
    this.#address = address;
    // Where it is no part of the series it is the same for all of them.
    if (this.options.lineSource !== 'address') return;
    const known = this.#senders.get(address);
    if (known === undefined && this.#senders.size === sendersMax) {
      this.#senders.clear();
      this.#known.forget();
    }
    this.#sender = known ?? this.#senders.size;
    this.#senders.set(address, this.#sender);
  }

  /** False if it has not one value alone. */
  #countUsual(bytes: Buffer, target: LineTarget, sampleRate: number): boolean {
    const { store } = this.options;
    const { valueStart, valueEnd } = this.#words;
    if (target?.kind === 'set') {
      if (valueStart === valueEnd || valueEnd - valueStart > memberBytesMax) return false;
      store.addMember(target, bytes.toString('utf8', valueStart, valueEnd));
    } else {
      const value = readDecimal(bytes, valueStart, valueEnd);
      if (Number.isNaN(value)) return false;
      if (target !== null) this.#countValue(target, value, sampleRate, isSign(bytes[valueStart]));
    }
    if (target?.isOverflow === true) store.losses.overflowed += 1;
    this.taken += 1;
    return true;
  }

  /** Returns where the next line begins. */
  #takeUnusual(bytes: Buffer, start: number, end: number, known: LineTarget | undefined): number {
    let lineEnd = start;
    while (lineEnd < end && bytes[lineEnd] !== lineFeed) lineEnd++;
    const contentEnd = lineEnd > start && bytes[lineEnd - 1] === carriageReturn ? lineEnd - 1 : lineEnd;
    if (contentEnd === start) return lineEnd + 1;
    const bad = bytes[start] === underscore && this.#isSpecial(bytes, start, contentEnd) ? this.#takeSpecial(bytes.subarray(start, contentEnd)) : this.#takeMetric(bytes, start, contentEnd, known);
    if (bad === undefined) this.taken += 1;
    else this.options.onBadLine(bad, bytes.subarray(start, contentEnd));
    return lineEnd + 1;
  }

  /** `_e{` or `_sc|`: a metric's name may begin with an underscore, too. */
  #isSpecial(bytes: Buffer, start: number, end: number): boolean {
    const head = bytes.toString('latin1', start, Math.min(end, start + 4));
    return head.startsWith('_e{') || head === '_sc|';
  }

  #takeSpecial(line: Buffer): BadLine | undefined {
    const isEvent = line[1] === 0x65;
    const receipt = { source: this.options.lineSource === 'address' ? this.#address : '', nowS: Math.floor(this.options.clock.nowMs() / 1000) };
    const event = isEvent ? readEventLine(line, receipt) : readServiceCheckLine(line, receipt);
    if (event === undefined) return isEvent ? 'event' : 'service-check';
    this.options.onEvent(event);
    return undefined;
  }

  #takeMetric(bytes: Buffer, start: number, end: number, known: LineTarget | undefined): BadLine | undefined {
    const line = this.#line;
    const bad = readMetricLine(bytes, start, end, line);
    if (bad !== undefined) return bad;
    if (known?.isOverflow === true) this.options.store.losses.overflowed += 1;
    const target = known === undefined ? this.#lookUp(bytes) : known;
    if (target === undefined) return 'no-name';
    if (target?.kind === 'set') this.options.store.addMember(target, bytes.toString('utf8', line.valuesStart, line.valuesEnd));
    else if (target !== null) eachValue(bytes, line, (value, isSigned) => this.#countValue(target, value, line.sampleRate, isSigned));
    return undefined;
  }

  /** Undefined when nothing is left of its name. */
  #lookUp(bytes: Buffer): LineTarget | undefined {
    const identity = this.#identity(bytes);
    if (identity.name === '') return undefined;
    const { store, filters } = this.options;
    const filtered = filters.apply(identity);
    const target = filtered === undefined ? null : store.series(filtered);
    // What overflows looks again in the next interval: there may be room by then.
    const interval = target?.isOverflow === true ? store.interval : undefined;
    if (!this.#line.hasTime) this.#known.remember(this.#words, target, this.#line.sampleRate, interval);
    return target;
  }

  #identity(bytes: Buffer): SeriesIdentity {
    const { kind, nameStart, nameEnd, tagsStart, tagsEnd } = this.#line;
    const name = normalName(bytes.toString('utf8', nameStart, nameEnd));
    const tags = tagsStart === tagsEnd ? [] : bytes.toString('utf8', tagsStart, tagsEnd).split(',');
    if (this.options.lineSource !== 'host-tag') return { kind, name, tags: normalTags(tags), source: this.options.lineSource === 'none' ? '' : this.#address };
    const host = tags.find((tag) => tag.startsWith('host:'));
    return { kind, name, tags: normalTags(tags.filter((tag) => tag !== host)), source: host?.slice('host:'.length) ?? '' };
  }

  /** @param isSigned of a gauge: it changes it instead of setting it */
  #countValue(series: Exclude<Series, SetSeries>, value: number, sampleRate: number, isSigned: boolean): void {
    const { store } = this.options;
    if (series.kind === 'counter') store.count(series, value / sampleRate);
    else if (series.kind === 'timer') store.time(series, value, 1 / sampleRate);
    else if (isSigned) store.changeGauge(series, value);
    else store.setGauge(series, value);
  }
}
