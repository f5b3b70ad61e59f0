import type { SeriesIdentity } from './series.js';
import { percentName, type TimerFigures } from './timer-figures.js';

/** What one series came to in one flush interval. */
export interface FlushedSeries {
  readonly identity: SeriesIdentity;
  readonly figures: readonly Figure[];
}

/** One number of a series, under its kind: a row of the table `metrics`. */
export interface Figure {
  /** `counter`, `counter.per_second`, `gauge`, `set`, `timer.mean`, `timer.upper_90` ... */
  readonly kind: string;
  readonly value: number;
}

export function counterFigures(value: number, intervalS: number): Figure[] {
  return [
    { kind: 'counter', value },
    { kind: 'counter.per_second', value: value / intervalS },
  ];
}

export function figuresOfTimer(timer: TimerFigures): Figure[] {
  const figures: Figure[] = [
    { kind: 'timer.count', value: timer.count },
    { kind: 'timer.per_second', value: timer.perSecond },
    { kind: 'timer.sum', value: timer.sum },
    { kind: 'timer.sum_squares', value: timer.sumSquares },
    { kind: 'timer.mean', value: timer.mean },
    { kind: 'timer.median', value: timer.median },
    { kind: 'timer.stddev', value: timer.standardDeviation },
    { kind: 'timer.min', value: timer.min },
    { kind: 'timer.max', value: timer.max },
  ];
  for (const { percent, count, mean, sum, sumSquares, boundary } of timer.percents) {
    const add = (figure: string, value: number): number => figures.push({ kind: `timer.${percentName(figure, percent)}`, value });
    add('count', count);
    add('mean', mean);
    add('sum', sum);
    add('sum_squares', sumSquares);
    add(percent > 0 ? 'upper' : 'lower', boundary);
  }
  return figures;
}
