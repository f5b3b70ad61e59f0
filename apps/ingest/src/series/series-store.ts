import type { Clock } from '@binnacle/cluster-state/clock';
import { counterFigures, figuresOfTimer, type Figure, type FlushedSeries } from './figures.js';
import { metricKinds, type MetricKind } from './metric-kind.js';
import { newSeries, type CounterSeries, type GaugeSeries, type Series, type SeriesIdentity, type SetSeries, type TimerSeries } from './series.js';
import { tagsKey } from './tags.js';
import { timerFigures } from './timer-figures.js';

export interface SeriesLimits {
  /** Series of one keyspace; what comes for further ones goes to the overflow series. About 0.6 kB each, and twice its name and tags. */
  readonly seriesMax: number;
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

/** Takes in what has no room under its own name: one series of each kind, without tags. */
export const overflowName = 'binnacle.overflow';

/** The series of one keyspace: adds up what comes in, and at each flush says what it came to. */
export class SeriesStore {
  readonly #series = new Map<string, Series>();
  readonly #overflow: ReadonlyMap<MetricKind, Series> = new Map(metricKinds.map((kind) => [kind, newSeries({ kind, name: overflowName, tags: [], source: '' })]));
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

  /** The series of this identity, new if need be; where there is no room for one, the overflow series of its kind. */
  series(identity: SeriesIdentity): Series {
    const key = `${identity.kind} ${identity.name} ${tagsKey(identity.tags, identity.source)}`;
    const known = this.#series.get(key);
    if (known !== undefined) return known;
    if (this.#series.size >= this.limits.seriesMax) {
      this.losses.overflowed += 1;
      return this.#overflow.get(identity.kind) as Series;
    }
    const series = newSeries(identity);
    // What is heard within this turn keeps it; a caller that then adds nothing does not keep it for ever.
    series.lastHeardMs = this.clock.monotonicMs();
    this.#series.set(key, series);
    return series;
  }

  isOverflow(series: Series): boolean {
    return this.#overflow.get(series.kind) === series;
  }

  count(series: CounterSeries, value: number, nowMs: number): void {
    series.value += value;
    heard(series, nowMs);
  }

  setGauge(series: GaugeSeries, value: number, nowMs: number): void {
    series.value = value;
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

  /** Every series that has not expired, the overflow series among them once something came for them. */
  *all(): Generator<Series> {
    yield* this.#series.values();
    for (const series of this.#overflow.values()) if (series.lastHeardMs >= 0) yield series;
  }

  /**
   * What the series that were heard since the last flush came to; begins the next interval, and forgets the expired ones.
   *
   * @param intervalS since the last flush, as measured: rates stay right when a flush comes late
   * @param beforeClose called with every series that was heard, while it still has what came
   */
  flush(intervalS: number, percents: readonly number[], beforeClose: (series: Series) => void = () => {}): FlushedSeries[] {
    const nowMs = this.clock.monotonicMs();
    const flushed: FlushedSeries[] = [];
    const close = (series: Series): void => {
      beforeClose(series);
      flushed.push({ identity: series.identity, figures: closeInterval(series, intervalS, percents) });
    };
    for (const [key, series] of this.#series) {
      if (series.wasHeard) close(series);
      else {
        fallSilent(series);
        if (nowMs - series.lastHeardMs > this.limits.expiryMs) {
          series.isGone = true;
          this.#series.delete(key);
        }
      }
    }
    for (const series of this.#overflow.values()) {
      if (series.wasHeard) close(series);
      else fallSilent(series);
    }
    this.#timerValues = 0;
    this.#setMembers = 0;
    return flushed;
  }
}

function heard(series: Series, nowMs: number): void {
  series.lastHeardMs = nowMs;
  series.wasHeard = true;
}

function closeInterval(series: Series, intervalS: number, percents: readonly number[]): Figure[] {
  series.wasHeard = false;
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

/** Nothing came: a set is empty and a timer has no figures, while a gauge keeps its value. */
function fallSilent(series: Series): void {
  if (series.kind === 'set') series.count = 0;
  else if (series.kind === 'timer') series.figures = undefined;
}
