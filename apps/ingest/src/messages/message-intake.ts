import { identityBytesMax, memberBytesMax } from '../series/identity-limits.js';
import type { Filters } from '../series/filters.js';
import type { MetricKind } from '../series/metric-kind.js';
import { normalName } from '../series/metric-name.js';
import type { CounterSeries, GaugeSeries, Series, SetSeries, TimerSeries } from '../series/series.js';
import type { SeriesStore } from '../series/series-store.js';
import { normalTags } from '../series/tags.js';
import { type RawMessageReader, type RawMessageSink, type RawSeries, readRawMessage } from './raw-message.js';

/** Counts what checked messages say. */
export class MessageIntake implements RawMessageSink {
  /** Series in messages, since the start. */
  taken = 0;
  /** Series whose name and tags are too long, members of sets that are, and numbers that are not finite. */
  refused = 0;

  /** @param filters absent where what comes has been through them, and through the limit of its length, which they may have made it pass */
  constructor(
    private readonly store: SeriesStore,
    private readonly filters: Filters | undefined,
  ) {}

  /** Of a message that `checkRawMessage` let pass: one that breaks half way would be counted half. */
  take(message: Uint8Array, read: RawMessageReader = readRawMessage): void {
    read(message, this);
  }

  counter(raw: RawSeries, value: number): void {
    const series = this.#isFinite(value) ? this.#series('counter', raw) : undefined;
    if (series !== undefined) this.store.count(series as CounterSeries, value);
  }

  gauge(raw: RawSeries, value: number): void {
    const series = this.#isFinite(value) ? this.#series('gauge', raw) : undefined;
    if (series !== undefined) this.store.setGauge(series as GaugeSeries, value);
  }

  gaugeChange(raw: RawSeries, change: number): void {
    const series = this.#isFinite(change) ? this.#series('gauge', raw) : undefined;
    if (series !== undefined) this.store.changeGauge(series as GaugeSeries, change);
  }

  set(raw: RawSeries, members: readonly string[]): void {
    const series = this.#series('set', raw);
    if (series === undefined) return;
    for (const member of members) {
      if (member.length <= memberBytesMax) this.store.addMember(series as SetSeries, member);
      else this.refused += 1;
    }
  }

  /** The sample count is of all values together; where a client's rate makes none that could be, the values are all there were. */
  timer(raw: RawSeries, values: readonly number[], sampleCount: number): void {
    const finite = values.every(Number.isFinite) ? values : values.filter((value) => this.#isFinite(value));
    if (finite.length === 0 && values.length > 0) return;
    const series = this.#series('timer', raw);
    if (series === undefined) return;
    for (const value of finite) this.store.time(series as TimerSeries, value, 0);
    const count = Number.isFinite(sampleCount) && sampleCount >= 0 ? sampleCount : finite.length;
    if (count > 0) this.store.countSamples(series as TimerSeries, count);
  }

  /** One that is not would make every sum it gets into the same. A forwarder sends what many clients said, so the rest of its message counts. */
  #isFinite(value: number): boolean {
    const isFinite = Number.isFinite(value);
    if (!isFinite) this.refused += 1;
    return isFinite;
  }

  /** Undefined when a filter drops it, it is too long, or nothing is left of its name. */
  #series(kind: MetricKind, { name, tags, source }: RawSeries): Series | undefined {
    this.taken += 1;
    if (this.filters !== undefined && tags.reduce((sum, tag) => sum + tag.length, name.length + source.length) > identityBytesMax) {
      this.refused += 1;
      return undefined;
    }
    const identity = { kind, name: normalName(name), tags: normalTags(tags), source };
    if (identity.name === '') return undefined;
    const filtered = this.filters === undefined ? identity : this.filters.apply(identity);
    return filtered === undefined ? undefined : this.store.series(filtered);
  }
}
