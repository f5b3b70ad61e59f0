import type { Clock } from '@binnacle/cluster-state/clock';
import type { MetricEvent } from '../messages/metric-event.js';
import type { Filters } from '../series/filters.js';
import { normalName } from '../series/metric-name.js';
import type { SeriesIdentity, SetSeries } from '../series/series.js';
import type { SeriesStore } from '../series/series-store.js';
import { normalTags } from '../series/tags.js';
import { readEventLine, readServiceCheckLine } from './event-line.js';
import { KnownLines, type LineTarget } from './known-lines.js';
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
const sourcesMax = 65_536;

/** Takes lines in: counts what they say, and hands events and bad lines on. */
export class LineIntake {
  readonly #line = new MetricLine();
  readonly #known: KnownLines;
  /** Whose lines are being taken, and their number: one text for all would have to be compared for each line. */
  #address = '';
  #source = 0;
  readonly #sources = new Map<string, number>();
  /** Lines taken, bad ones not among them. */
  taken = 0;

  constructor(private readonly options: LineIntakeOptions) {
    this.#known = new KnownLines(options.knownLinesMax);
  }

  /** Lines from `start` to `end`, with a line feed between two and perhaps after the last; empty ones are nothing. */
  take(bytes: Buffer, start: number, end: number, address: string): void {
    const nowMs = this.options.clock.monotonicMs();
    if (address !== this.#address) this.#changeSender(address);
    for (let at = start; at < end; ) {
      let lineEnd = at;
      while (lineEnd < end && bytes[lineEnd] !== lineFeed) lineEnd++;
      const contentEnd = lineEnd > at && bytes[lineEnd - 1] === carriageReturn ? lineEnd - 1 : lineEnd;
      if (contentEnd > at) this.#takeLine(bytes, at, contentEnd, address, nowMs);
      at = lineEnd + 1;
    }
  }

  #changeSender(address: string): void {
    this.#address = address;
    // Where it is no part of the series it is the same for all of them.
    if (this.options.lineSource !== 'address') return;
    const known = this.#sources.get(address);
    if (known === undefined && this.#sources.size === sourcesMax) {
      this.#sources.clear();
      this.#known.forget();
    }
    this.#source = known ?? this.#sources.size;
    this.#sources.set(address, this.#source);
  }

  #takeLine(bytes: Buffer, start: number, end: number, address: string, nowMs: number): void {
    const bad = bytes[start] === underscore && this.#isSpecial(bytes, start, end) ? this.#takeSpecial(bytes.subarray(start, end), address) : this.#takeMetric(bytes, start, end, address, nowMs);
    if (bad === undefined) this.taken += 1;
    else this.options.onBadLine(bad, bytes.subarray(start, end));
  }

  /** `_e{` or `_sc|`: a metric's name may begin with an underscore, too. */
  #isSpecial(bytes: Buffer, start: number, end: number): boolean {
    const head = bytes.toString('latin1', start, Math.min(end, start + 4));
    return head.startsWith('_e{') || head === '_sc|';
  }

  #takeSpecial(line: Buffer, address: string): BadLine | undefined {
    const isEvent = line[1] === 0x65;
    const receipt = { source: this.options.lineSource === 'address' ? address : '', nowS: Math.floor(this.options.clock.nowMs() / 1000) };
    const event = isEvent ? readEventLine(line, receipt) : readServiceCheckLine(line, receipt);
    if (event === undefined) return isEvent ? 'event' : 'service-check';
    this.options.onEvent(event);
    return undefined;
  }

  #takeMetric(bytes: Buffer, start: number, end: number, address: string, nowMs: number): BadLine | undefined {
    const line = this.#line;
    const bad = readMetricLine(bytes, start, end, line);
    if (bad !== undefined) return bad;
    const { store } = this.options;
    const known = this.#known.find(bytes, line, this.#source, store.interval);
    if (known !== undefined && known !== 'dropped' && known.isOverflow) store.losses.overflowed += 1;
    const target = known ?? this.#lookUp(bytes, address);
    if (target === undefined) return 'no-name';
    if (target !== 'dropped') this.#count(target, bytes, nowMs);
    return undefined;
  }

  /** Undefined when nothing is left of its name. */
  #lookUp(bytes: Buffer, address: string): LineTarget | undefined {
    const identity = this.#identity(bytes, address);
    if (identity.name === '') return undefined;
    const { store, filters } = this.options;
    const filtered = filters.apply(identity);
    const target = filtered === undefined ? 'dropped' : store.series(filtered);
    // What overflows looks again in the next interval: there may be room by then.
    const interval = target !== 'dropped' && target.isOverflow ? store.interval : undefined;
    this.#known.remember(bytes, this.#line, this.#source, target, interval);
    return target;
  }

  #identity(bytes: Buffer, address: string): SeriesIdentity {
    const { kind, nameStart, nameEnd, tagsStart, tagsEnd } = this.#line;
    const name = normalName(bytes.toString('utf8', nameStart, nameEnd));
    const tags = tagsStart === tagsEnd ? [] : bytes.toString('utf8', tagsStart, tagsEnd).split(',');
    if (this.options.lineSource !== 'host-tag') return { kind, name, tags: normalTags(tags), source: this.options.lineSource === 'none' ? '' : address };
    const host = tags.find((tag) => tag.startsWith('host:'));
    return { kind, name, tags: normalTags(tags.filter((tag) => tag !== host)), source: host?.slice('host:'.length) ?? '' };
  }

  #count(series: Exclude<LineTarget, 'dropped'>, bytes: Buffer, nowMs: number): void {
    const line = this.#line;
    if (series.kind === 'set') this.#addMember(series, bytes, nowMs);
    else if (!line.isPacked) this.#countValue(series, line.value, line.isChange, nowMs);
    else eachValue(bytes, line, (value, isChange) => this.#countValue(series, value, isChange, nowMs));
  }

  #addMember(series: SetSeries, bytes: Buffer, nowMs: number): void {
    this.options.store.addMember(series, bytes.toString('utf8', this.#line.valuesStart, this.#line.valuesEnd), nowMs);
  }

  #countValue(series: Exclude<LineTarget, 'dropped' | SetSeries>, value: number, isChange: boolean, nowMs: number): void {
    const { store } = this.options;
    if (series.kind === 'counter') store.count(series, value / this.#line.sampleRate, nowMs);
    else if (series.kind === 'timer') store.time(series, value, 1 / this.#line.sampleRate, nowMs);
    else if (isChange) store.changeGauge(series, value, nowMs);
    else store.setGauge(series, value, nowMs);
  }
}
