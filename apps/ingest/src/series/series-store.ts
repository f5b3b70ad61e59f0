import type { Clock } from '@binnacle/cluster-state/clock';
import { Closing, type Flush } from './closing.js';
import type { FlushedSeries } from './figures.js';
import { finite } from './finite.js';
import { keyspaceOf, keyspaceTag } from './keyspace.js';
import { metricKinds, type MetricKind } from './metric-kind.js';
import { newSeries, type CounterSeries, type GaugeSeries, type Series, type SeriesIdentity, type SetSeries, type TimerSeries } from './series.js';
import { tagsKey } from './tags.js';
import { Tallies } from './tallies.js';

export interface SeriesLimits {
  /** Of all keyspaces; what comes for further ones goes to the overflow series. About 0.6 kB each, and twice its name and tags. */
  readonly seriesMax: number;
  /** Of one keyspace. */
  readonly keyspaceSeriesMax: number;
  /** Values of timers kept until the next flush, eight bytes each; of further ones no figure is computed. */
  readonly timerValuesMax: number;
  /** Members of sets kept until the next flush, about 0.1 kB each and their text; further ones are not counted. */
  readonly setMembersMax: number;
  /** A series for which nothing comes for this long is forgotten. */
  readonly expiryMs: number;
}

/** What was not counted as it came, since the start. */
export interface StoreLosses {
  /** Times that something went to an overflow series. */
  overflowed: number;
  timerValues: number;
  setMembers: number;
}

/** Takes in what has no room under its own name: for each keyspace one series of each kind. */
export const overflowName = 'binnacle.overflow';
/** Keyspaces that have overflow series of their own; those of all others are the same as keyspace 0's. */
const overflowKeyspacesMax = 1_000;
const firstPlaces = 256;

/** Adds up what comes in, and at each flush says what it came to. */
export class SeriesStore {
  readonly #series = new Map<string, Series>();
  /** What comes for a counter or a gauge that is open there may be counted there alone. */
  readonly tallies = new Tallies(firstPlaces);
  readonly #countByKeyspace = new Map<number, number>();
  readonly #overflow = new Map<number, ReadonlyMap<MetricKind, Series>>([[0, overflowSeries(0, this.tallies)]]);
  readonly losses: StoreLosses = { overflowed: 0, timerValues: 0, setMembers: 0 };
  #timerValues = 0;
  #setMembers = 0;
  #interval = 0;
  /** A flush that is not through. */
  #closing: Closing | undefined;

  constructor(
    private readonly limits: SeriesLimits,
    private readonly clock: Clock,
  ) {}

  /** The number of the current one: another one after each flush. */
  get interval(): number {
    return this.#interval;
  }

  /** Without the overflow series. */
  get seriesCount(): number {
    return this.#series.size;
  }

  /** The series of this identity, new if need be; where there is no room for one, the overflow series of its keyspace and kind. */
  series(identity: SeriesIdentity): Series {
    const key = `${identity.kind} ${identity.name} ${tagsKey(identity.tags, identity.source)}`;
    const known = this.#series.get(key);
    if (known !== undefined) return known;
    const keyspace = keyspaceOf(identity.tags);
    const count = this.#countByKeyspace.get(keyspace) ?? 0;
    if (identity.name === overflowName || this.#series.size >= this.limits.seriesMax || count >= this.limits.keyspaceSeriesMax) {
      this.losses.overflowed += 1;
      return this.#overflowOf(keyspace).get(identity.kind) as Series;
    }
    this.#countByKeyspace.set(keyspace, count + 1);
    const series = newSeries(identity, this.tallies);
    series.interval = this.#interval;
    // What is heard within this turn keeps it; a caller that then adds nothing does not keep it for ever.
    series.lastHeardMs = this.clock.monotonicMs();
    this.#series.set(key, series);
    return series;
  }

  /** How much of the room for values of timers, or for members of sets, is taken: the greater part of the two. */
  fullness(): number {
    return Math.max(this.#timerValues / this.limits.timerValuesMax, this.#setMembers / this.limits.setMembersMax);
  }

  isOverflow(series: Series): boolean {
    return series.isOverflow;
  }

  #overflowOf(keyspace: number): ReadonlyMap<MetricKind, Series> {
    const known = this.#overflow.get(keyspace);
    if (known !== undefined) return known;
    if (this.#overflow.size >= overflowKeyspacesMax) return this.#overflow.get(0) as ReadonlyMap<MetricKind, Series>;
    const made = overflowSeries(keyspace, this.tallies);
    this.#overflow.set(keyspace, made);
    return made;
  }

  count(series: CounterSeries, value: number): void {
    this.#open(series);
    series.value = finite(series.value + value);
  }

  setGauge(series: GaugeSeries, value: number): void {
    this.#open(series);
    series.value = value;
    series.wasSet = true;
  }

  /** A gauge that nobody has set yet is 0. */
  changeGauge(series: GaugeSeries, change: number): void {
    this.#begin(series);
    series.value = finite(series.value + change);
  }

  /** @param sampledCount how many values this one stands for: 10 at a sample rate of 0.1 */
  time(series: TimerSeries, value: number, sampledCount: number): void {
    this.#begin(series);
    if (this.#timerValues < this.limits.timerValuesMax) {
      this.#timerValues += 1;
      series.values.add(value);
    } else this.losses.timerValues += 1;
    series.sampledCount = finite(series.sampledCount + sampledCount);
  }

  /** Values that came are more than were handed over: what sampling left out. */
  countSamples(series: TimerSeries, sampledCount: number): void {
    this.#begin(series);
    series.sampledCount = finite(series.sampledCount + sampledCount);
  }

  addMember(series: SetSeries, member: string): void {
    this.#begin(series);
    if (this.#setMembers < this.limits.setMembersMax) {
      const before = series.members.size;
      series.members.add(member);
      this.#setMembers += series.members.size - before;
    } else if (!series.members.has(member)) this.losses.setMembers += 1;
  }

  /** Every series that is added up here and has not expired, the overflow series among them once something came for them. */
  *all(): Generator<Series> {
    for (const series of this.#series.values()) if (!series.isHandedOver) yield series;
    for (const series of this.#allOverflow()) if (series.lastHeardMs >= 0) yield series;
  }

  *#allOverflow(): Generator<Series> {
    for (const byKind of this.#overflow.values()) yield* byKind.values();
  }

  /** What the series that were heard since the last flush came to; begins the next interval, and forgets the expired ones. All at once: see `beginFlush`. */
  flush(flush: Flush): FlushedSeries[] {
    return this.beginFlush(flush).finish();
  }

  /**
   * Ends the interval with this call: what comes after it is of the next one. Each series is closed when its turn comes, or when something comes for
   * it, so that other work is held up for milliseconds alone. Whoever begins a flush before the last one is through finishes that one.
   */
  beginFlush(flush: Flush): Closing {
    this.#closing?.finish();
    this.#interval += 1;
    this.tallies.endInterval();
    const { isOfAnother, handsOverOverflow = false } = flush;
    // What has no name of its own is nobody else's.
    const isNotOurs = isOfAnother && ((series: Series): boolean => (handsOverOverflow || !series.isOverflow) && isOfAnother(series));
    const closing = new Closing({ ...flush, isOfAnother: isNotOurs }, this.#interval, this.#ofLastInterval(this.#interval, this.clock.monotonicMs()));
    this.#closing = closing;
    return closing;
  }

  /** Every series but those that are in this interval already. */
  *#ofLastInterval(interval: number, nowMs: number): Generator<Series> {
    // Those made from now on stand behind these.
    let left = this.#series.size;
    for (const [key, series] of this.#series) {
      if (left-- === 0) break;
      if (series.interval === interval) continue;
      if (series.wasHeard) series.lastHeardMs = nowMs;
      const isExpired = nowMs - series.lastHeardMs > this.limits.expiryMs;
      if (isExpired) this.#forget(key, series);
      yield this.#giveBack(series);
      if (isExpired && 'place' in series) this.tallies.giveBack(series.place);
    }
    for (const series of this.#allOverflow()) if (series.interval !== interval) yield this.#giveBack(series);
    this.#closing = undefined;
  }

  #open(series: CounterSeries | GaugeSeries): void {
    if (this.tallies.open[series.place] === series.id) return;
    this.#begin(series);
    this.tallies.open[series.place] = series.id;
  }

  /** Before anything is added to a series: what it has of an interval that is over is taken out. */
  #begin(series: Series): void {
    if (series.wasHeard && series.interval === this.#interval) return;
    if (series.interval !== this.#interval) {
      this.#closing?.close(this.#giveBack(series));
      series.interval = this.#interval;
    }
    series.wasHeard = true;
    series.lastHeardMs = this.clock.monotonicMs();
  }

  /** What it holds is about to go. */
  #giveBack(series: Series): Series {
    if (series.kind === 'timer') this.#timerValues -= series.values.length;
    else if (series.kind === 'set') this.#setMembers -= series.members.size;
    return series;
  }

  #forget(key: string, series: Series): void {
    series.isGone = true;
    this.#series.delete(key);
    const keyspace = keyspaceOf(series.identity.tags);
    const left = (this.#countByKeyspace.get(keyspace) ?? 0) - 1;
    if (left > 0) this.#countByKeyspace.set(keyspace, left);
    else this.#countByKeyspace.delete(keyspace);
  }
}

function overflowSeries(keyspace: number, tallies: Tallies): ReadonlyMap<MetricKind, Series> {
  const tags = keyspace === 0 ? [] : [keyspaceTag(keyspace)];
  return new Map(metricKinds.map((kind) => [kind, Object.assign(newSeries({ kind, name: overflowName, tags, source: '' }, tallies), { isOverflow: true })]));
}
