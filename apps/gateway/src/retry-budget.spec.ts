import { expect, test } from '@jest/globals';
import { RetryBudget, tokensAtStart, tokensMax } from './retry-budget.js';

const takeAll = (budget: RetryBudget): number => {
  let taken = 0;
  while (budget.take()) taken++;
  return taken;
};

test('a gateway without traffic has a few retries and then none', () => {
  const budget = new RetryBudget();
  expect(takeAll(budget)).toBe(tokensAtStart);
});

test('ten requests make up for one retry', () => {
  const budget = new RetryBudget();
  takeAll(budget);
  for (let request = 0; request < 9; request++) budget.countRequest();
  expect(budget.take()).toBe(false);
  budget.countRequest();
  expect(budget.take()).toBe(true);
  expect(budget.take()).toBe(false);
});

test('retries are a tenth of steady traffic in which everything fails', () => {
  const budget = new RetryBudget();
  let retries = 0;
  for (let request = 0; request < 10_000; request++) {
    budget.countRequest();
    if (budget.take()) retries++;
  }
  expect(retries).toBeGreaterThan(990);
  expect(retries).toBeLessThanOrEqual(1_000 + tokensAtStart);
});

test('quiet times save up only so much', () => {
  const budget = new RetryBudget();
  for (let request = 0; request < 1_000_000; request++) budget.countRequest();
  expect(takeAll(budget)).toBe(tokensMax);
});
