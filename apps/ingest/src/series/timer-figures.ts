/** What gostatsd reports of the values of one flush interval under each of the configured percents. */
export interface PercentFigures {
  /** As configured: positive for the lowest part of the values, negative for the highest. */
  readonly percent: number;
  readonly count: number;
  readonly mean: number;
  readonly sum: number;
  readonly sumSquares: number;
  /** The greatest value of the lowest part, or the least one of the highest. */
  readonly boundary: number;
}

export interface TimerFigures {
  /** How many there would be without sampling, rounded. */
  readonly count: number;
  readonly perSecond: number;
  readonly sum: number;
  readonly sumSquares: number;
  readonly mean: number;
  readonly median: number;
  /** Of the whole population, not of a sample of it. */
  readonly standardDeviation: number;
  readonly min: number;
  readonly max: number;
  readonly percents: readonly PercentFigures[];
}

/**
 * The figures of at least one value, as gostatsd computes them: sums, mean and the rest are of the values that came, only `count` and
 * `perSecond` make up for sampling. Of n values a percent p has round(n * |p| / 100), ties upwards, and is left out when that is none.
 *
 * @param values sorted by this function, in place
 */
export function timerFigures(values: Float64Array, sampledCount: number, intervalS: number, percents: readonly number[]): TimerFigures {
  values.sort();
  const count = values.length;
  const sums = new Float64Array(count + 1);
  const squares = new Float64Array(count + 1);
  for (let at = 0; at < count; at++) {
    const value = values[at] as number;
    sums[at + 1] = (sums[at] as number) + value;
    squares[at + 1] = (squares[at] as number) + value * value;
  }
  const sum = sums[count] as number;
  const mean = sum / count;
  let deviations = 0;
  for (const value of values) deviations += (value - mean) ** 2;
  const middle = Math.floor(count / 2);
  const upper = values[middle] as number;
  return {
    count: Math.floor(sampledCount + 0.5),
    perSecond: sampledCount / intervalS,
    sum,
    sumSquares: squares[count] as number,
    mean,
    median: count % 2 === 0 ? ((values[middle - 1] as number) + upper) / 2 : upper,
    standardDeviation: Math.sqrt(deviations / count),
    min: values[0] as number,
    max: values[count - 1] as number,
    percents: percents.flatMap((percent) => percentFigures(values, sums, squares, percent) ?? []),
  };
}

function percentFigures(values: Float64Array, sums: Float64Array, squares: Float64Array, percent: number): PercentFigures | undefined {
  const total = values.length;
  // A single value is within every percent.
  const count = total === 1 ? 1 : Math.floor((Math.abs(percent) / 100) * total + 0.5);
  if (count === 0) return undefined;
  const [first, end] = percent > 0 ? [0, count] : [total - count, total];
  const sum = (sums[end] as number) - (sums[first] as number);
  return {
    percent,
    count,
    mean: sum / count,
    sum,
    sumSquares: (squares[end] as number) - (squares[first] as number),
    boundary: values[percent > 0 ? end - 1 : first] as number,
  };
}

/** `upper_90`, `lower_-10`, `count_99_9`: gostatsd's names, but with the decimals, which it cuts off. */
export function percentName(figure: string, percent: number): string {
  return `${figure}_${String(percent).replace('.', '_')}`;
}
