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

/*
 * Figures are made when somebody looks at them: a flush of many series would hold several objects for each of its rows until it is written.
 */

export class FlushedCounter implements FlushedSeries {
  constructor(
    readonly identity: SeriesIdentity,
    private readonly value: number,
    private readonly intervalS: number,
  ) {}

  get figures(): Figure[] {
    return [
      { kind: 'counter', value: this.value },
      { kind: 'counter.per_second', value: this.value / this.intervalS },
    ];
  }
}

export class FlushedNumber implements FlushedSeries {
  constructor(
    readonly identity: SeriesIdentity,
    private readonly kind: string,
    private readonly value: number,
  ) {}

  get figures(): Figure[] {
    return [{ kind: this.kind, value: this.value }];
  }
}

export class FlushedTimer implements FlushedSeries {
  constructor(
    readonly identity: SeriesIdentity,
    private readonly timer: TimerFigures,
  ) {}

  get figures(): Figure[] {
    return figuresOfTimer(this.timer);
  }
}

function figuresOfTimer(timer: TimerFigures): Figure[] {
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
