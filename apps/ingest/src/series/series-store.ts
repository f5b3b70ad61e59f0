import type { Clock } from '@binnacle/cluster-state/clock';
import { counterFigures, figuresOfTimer, type Figure, type FlushedSeries } from './figures.js';
import { keyspaceOf, keyspaceTag } from './keyspace.js';
import { metricKinds, type MetricKind } from './metric-kind.js';
import { newSeries, type CounterSeries, type GaugeSeries, type Series, type SeriesIdentity, type SetSeries, type TimerSeries } from './series.js';
import { tagsKey } from './tags.js';
import { timerFigures } from './timer-figures.js';

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

export interface Flush {
  /** Since the last one, as measured: rates stay right when a flush comes late. */
  readonly intervalS: number;
  readonly percents: readonly number[];
  /** Called with every series that was heard and is added up here, while it still has what came. */
  readonly beforeClose?: (series: Series) => void;
  /** Whether another one adds it up. */
  readonly isOfAnother?: (series: Series) => boolean;
  /** Called with every series of another one for which there is something, while it still has it. */
  readonly handOver?: (series: Series) => void;
}

/** Adds up what comes in, and at each flush says what it came to. */
export class SeriesStore {
  readonly #series = new Map<string, Series>();
  readonly #countByKeyspace = new Map<number, number>();
  readonly #overflow = new Map<number, ReadonlyMap<MetricKind, Series>>([[0, overflowSeries(0)]]);
  readonly losses: StoreLosses = { overflowed: 0, timerValues: 0, setMembers: 0 };
  #timerValues = 0;
  #setMembers = 0;

  constructor(
    private readonly limits: SeriesLimits,
    private readonly clock: Clock,
  ) {}

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
    if (identity.name === overflowName) return this.#overflowOf(keyspace).get(identity.kind) as Series;
    const count = this.#countByKeyspace.get(keyspace) ?? 0;
    if (this.#series.size >= this.limits.seriesMax || count >= this.limits.keyspaceSeriesMax) {
      this.losses.overflowed += 1;
      return this.#overflowOf(keyspace).get(identity.kind) as Series;
    }
    this.#countByKeyspace.set(keyspace, count + 1);
    const series = newSeries(identity);
    // What is heard within this turn keeps it; a caller that then adds nothing does not keep it for ever.
    series.lastHeardMs = this.clock.monotonicMs();
    this.#series.set(key, series);
    return series;
  }

  isOverflow({ identity }: Series): boolean {
    return identity.name === overflowName;
  }

  #overflowOf(keyspace: number): ReadonlyMap<MetricKind, Series> {
    const known = this.#overflow.get(this.#overflow.size < overflowKeyspacesMax ? keyspace : 0);
    if (known !== undefined) return known;
    const made = overflowSeries(keyspace);
    this.#overflow.set(keyspace, made);
    return made;
  }

  count(series: CounterSeries, value: number, nowMs: number): void {
    series.value += value;
    heard(series, nowMs);
  }

  setGauge(series: GaugeSeries, value: number, nowMs: number): void {
    series.value = value;
    series.wasSet = true;
    heard(series, nowMs);
  }

  /** A gauge that nobody has set yet is 0. */
  changeGauge(series: GaugeSeries, change: number, nowMs: number): void {
    series.value += change;
    heard(series, nowMs);
  }

  /** @param sampledCount how many values this one stands for: 10 at a sample rate of 0.1 */
  time(series: TimerSeries, value: number, sampledCount: number, nowMs: number): void {
    if (this.#timerValues < this.limits.timerValuesMax) {
      this.#timerValues += 1;
      series.values.add(value);
    } else this.losses.timerValues += 1;
    series.sampledCount += sampledCount;
    heard(series, nowMs);
  }

  /** Values that came are more than were handed over: what sampling left out. */
  countSamples(series: TimerSeries, sampledCount: number, nowMs: number): void {
    series.sampledCount += sampledCount;
    heard(series, nowMs);
  }

  addMember(series: SetSeries, member: string, nowMs: number): void {
    if (this.#setMembers < this.limits.setMembersMax) {
      const before = series.members.size;
      series.members.add(member);
      this.#setMembers += series.members.size - before;
    } else if (!series.members.has(member)) this.losses.setMembers += 1;
    heard(series, nowMs);
  }

  /** Every series that is added up here and has not expired, the overflow series among them once something came for them. */
  *all(): Generator<Series> {
    for (const series of this.#series.values()) if (!series.isHandedOver) yield series;
    for (const series of this.#allOverflow()) if (series.lastHeardMs >= 0) yield series;
  }

  *#allOverflow(): Generator<Series> {
    for (const byKind of this.#overflow.values()) yield* byKind.values();
  }

  /** What the series that were heard since the last flush came to; begins the next interval, and forgets the expired ones. */
  flush(flush: Flush): FlushedSeries[] {
    const nowMs = this.clock.monotonicMs();
    const flushed: FlushedSeries[] = [];
    for (const [key, series] of this.#series) {
      if (!endInterval(series, flush, flushed) && nowMs - series.lastHeardMs > this.limits.expiryMs) this.#forget(key, series);
    }
    // What has no name of its own is nobody else's.
    for (const series of this.#allOverflow()) endInterval(series, { ...flush, isOfAnother: () => false }, flushed);
    this.#timerValues = 0;
    this.#setMembers = 0;
    return flushed;
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

function overflowSeries(keyspace: number): ReadonlyMap<MetricKind, Series> {
  const tags = keyspace === 0 ? [] : [keyspaceTag(keyspace)];
  return new Map(metricKinds.map((kind) => [kind, newSeries({ kind, name: overflowName, tags, source: '' })]));
}

/** False when nothing came for it. */
function endInterval(series: Series, { intervalS, percents, beforeClose, isOfAnother, handOver }: Flush, flushed: FlushedSeries[]): boolean {
  const { wasHeard } = series;
  if (isOfAnother?.(series) === true) {
    // A gauge's value goes along once, though nothing came: changes that the other one hears begin from it.
    const isMoving = !series.isHandedOver && series.kind === 'gauge' && series.lastHeardMs >= 0;
    if (isMoving) series.wasSet = true;
    if (wasHeard || isMoving) handOver?.(series);
    letGo(series);
  } else if (wasHeard) {
    beforeClose?.(series);
    flushed.push({ identity: series.identity, figures: closeInterval(series, intervalS, percents) });
  } else fallSilent(series);
  if (series.kind === 'gauge') series.wasSet = false;
  return wasHeard;
}

function heard(series: Series, nowMs: number): void {
  series.lastHeardMs = nowMs;
  series.wasHeard = true;
}

function closeInterval(series: Series, intervalS: number, percents: readonly number[]): Figure[] {
  series.wasHeard = false;
  series.isHandedOver = false;
  switch (series.kind) {
    case 'counter': {
      const { value } = series;
      series.total += value;
      series.value = 0;
      return counterFigures(value, intervalS);
    }
    case 'gauge':
      return [{ kind: 'gauge', value: series.value }];
    case 'set':
      series.count = series.members.size;
      series.members.clear();
      return [{ kind: 'set', value: series.count }];
    case 'timer':
      return closeTimer(series, intervalS, percents);
  }
}

function closeTimer(series: TimerSeries, intervalS: number, percents: readonly number[]): Figure[] {
  const { values, sampledCount } = series;
  series.totalCount += sampledCount;
  series.sampledCount = 0;
  // None of its values had room: how many there were is all that can be said.
  if (values.length === 0) {
    series.figures = undefined;
    return [{ kind: 'timer.count', value: Math.floor(sampledCount + 0.5) }];
  }
  series.figures = timerFigures(values.current(), sampledCount, intervalS, percents);
  // Made up for sampling as the count is, so that the one divided by the other stays the mean.
  series.totalSum += (series.figures.sum * sampledCount) / values.length;
  values.clear();
  return figuresOfTimer(series.figures);
}

/** It has been handed over: nothing of it is left here, and should it come back it begins anew. */
function letGo(series: Series): void {
  series.isHandedOver = true;
  series.wasHeard = false;
  if (series.kind === 'counter') series.value = series.total = 0;
  else if (series.kind === 'gauge') series.value = 0;
  else if (series.kind === 'set') {
    series.members.clear();
    series.count = 0;
  } else {
    series.values.clear();
    series.sampledCount = series.totalCount = series.totalSum = 0;
    series.figures = undefined;
  }
}

/** Nothing came: a set is empty and a timer has no figures, while a gauge keeps its value. */
function fallSilent(series: Series): void {
  if (series.kind === 'set') series.count = 0;
  else if (series.kind === 'timer') series.figures = undefined;
}
