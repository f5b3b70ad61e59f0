import { setImmediate as nextTurn } from 'node:timers/promises';
import { FlushedCounter, FlushedNumber, type FlushedSeries, FlushedTimer } from './figures.js';
import { finite } from './finite.js';
import type { Series, TimerSeries } from './series.js';
import { timerFigures } from './timer-figures.js';

export interface Flush {
  /** Since the last one, as measured: rates stay right when a flush comes late. */
  readonly intervalS: number;
  readonly percents: readonly number[];
  /** Called with every series that was heard and is added up here, while it still has what came. */
  readonly beforeClose?: (series: Series) => void;
  /** Whether another one adds it up. */
  readonly isOfAnother?: ((series: Series) => boolean) | undefined;
  /** Called with every series of another one for which there is something, while it still has it. */
  readonly handOver?: (series: Series) => void;
  /** The overflow series too, which are nobody else's otherwise. */
  readonly handsOverOverflow?: boolean;
}

/** How long it goes on without letting others work. */
const sliceMs = 5;
/** Looking at the clock costs as much as closing a few. */
const seriesPerLook = 32;

/** A flush under way: an interval that is over, and whose series become figures one after the other. */
export class Closing {
  readonly #flushed: FlushedSeries[] = [];

  /**
   * @param interval the next one, in which a series is once it is closed
   * @param left hands out every series that is not
   */
  constructor(
    private readonly flush: Flush,
    private readonly interval: number,
    private readonly left: Iterable<Series>,
  ) {}

  close(series: Series): void {
    series.interval = this.interval;
    endInterval(series, this.flush, this.#flushed);
  }

  /** What is left, at once. */
  finish(): FlushedSeries[] {
    for (const series of this.left) this.close(series);
    return this.#flushed;
  }

  /** What is left, in slices. */
  async run(): Promise<FlushedSeries[]> {
    let sinceMs = performance.now();
    let closed = 0;
    for (const series of this.left) {
      this.close(series);
      closed += 1;
      if (closed % seriesPerLook !== 0 || performance.now() - sinceMs < sliceMs) continue;
      await nextTurn();
      sinceMs = performance.now();
    }
    return this.#flushed;
  }
}

function endInterval(series: Series, { intervalS, percents, beforeClose, isOfAnother, handOver }: Flush, flushed: FlushedSeries[]): void {
  const { wasHeard } = series;
  if (isOfAnother?.(series) === true) {
    // The value of a gauge that was this one's goes along once, though nothing came: changes that the other one hears begin from it.
    const isMoving = series.isOwn && series.kind === 'gauge';
    if (isMoving) series.wasSet = true;
    if (wasHeard || isMoving) handOver?.(series);
    letGo(series);
  } else if (wasHeard) {
    beforeClose?.(series);
    flushed.push(closeInterval(series, intervalS, percents));
  } else fallSilent(series);
  if (series.kind === 'gauge') series.wasSet = false;
}

function closeInterval(series: Series, intervalS: number, percents: readonly number[]): FlushedSeries {
  series.wasHeard = false;
  series.isHandedOver = false;
  series.isOwn = true;
  switch (series.kind) {
    case 'counter': {
      const { value } = series;
      series.total = finite(series.total + value);
      series.value = 0;
      return new FlushedCounter(series.identity, value, intervalS);
    }
    case 'gauge':
      return new FlushedNumber(series.identity, 'gauge', series.value);
    case 'set':
      series.count = series.members.size;
      series.members.clear();
      return new FlushedNumber(series.identity, 'set', series.count);
    case 'timer':
      return closeTimer(series, intervalS, percents);
  }
}

function closeTimer(series: TimerSeries, intervalS: number, percents: readonly number[]): FlushedSeries {
  const { identity, values, sampledCount } = series;
  series.totalCount = finite(series.totalCount + sampledCount);
  series.sampledCount = 0;
  // None of its values had room: how many there were is all that can be said.
  if (values.length === 0) {
    series.figures = undefined;
    return new FlushedNumber(identity, 'timer.count', Math.floor(sampledCount + 0.5));
  }
  series.figures = timerFigures(values.current(), sampledCount, intervalS, percents);
  // Made up for sampling as the count is, so that the one divided by the other stays the mean.
  series.totalSum = finite(series.totalSum + finite((series.figures.sum * sampledCount) / values.length));
  values.clear();
  return new FlushedTimer(identity, series.figures);
}

/** It has been handed over: nothing of it is left here, and should it come back it begins anew. */
function letGo(series: Series): void {
  series.isHandedOver = true;
  series.isOwn = false;
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
