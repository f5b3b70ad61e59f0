import { expect, test } from '@jest/globals';
import { percentName, timerFigures } from './timer-figures.js';

test('the figures of ten values are those computed by hand', () => {
  const figures = timerFigures(Float64Array.of(10, 3, 7, 1, 5, 9, 2, 8, 4, 6), 20, 10, [90, -10, 50]);
  expect(figures).toMatchObject({ count: 20, perSecond: 2, sum: 55, sumSquares: 385, mean: 5.5, median: 5.5, min: 1, max: 10 });
  expect(figures.standardDeviation).toBeCloseTo(Math.sqrt(8.25), 12);
  expect(figures.percents).toEqual([
    { percent: 90, count: 9, mean: 5, sum: 45, sumSquares: 285, boundary: 9 },
    { percent: -10, count: 1, mean: 10, sum: 10, sumSquares: 100, boundary: 10 },
    { percent: 50, count: 5, mean: 3, sum: 15, sumSquares: 55, boundary: 5 },
  ]);
});

test('one value is every figure of itself', () => {
  const [percent] = timerFigures(Float64Array.of(-4), 1, 1, [1]).percents;
  expect(timerFigures(Float64Array.of(-4), 1, 1, [])).toMatchObject({ count: 1, sum: -4, sumSquares: 16, mean: -4, median: -4, standardDeviation: 0, min: -4, max: -4 });
  expect(percent).toEqual({ percent: 1, count: 1, mean: -4, sum: -4, sumSquares: 16, boundary: -4 });
});

test('a percent that holds no value is left out; one of all of them is all', () => {
  const { percents, median } = timerFigures(Float64Array.of(1, 2, 4), 3, 1, [10, 100, -100]);
  expect(median).toBe(2);
  expect(percents).toEqual([
    { percent: 100, count: 3, mean: 7 / 3, sum: 7, sumSquares: 21, boundary: 4 },
    { percent: -100, count: 3, mean: 7 / 3, sum: 7, sumSquares: 21, boundary: 1 },
  ]);
});

test('a count made up for sampling is rounded, its rate is not', () => {
  expect(timerFigures(Float64Array.of(1, 1), 2 / 0.3, 10, [])).toMatchObject({ count: 7, perSecond: 2 / 0.3 / 10 });
});

test('percents are named with their sign and decimals', () => {
  expect([percentName('upper', 90), percentName('lower', -10), percentName('upper', 99.9)]).toEqual(['upper_90', 'lower_-10', 'upper_99_9']);
});
