import { expect, test } from '@jest/globals';
import { didYouMean, nearestName } from './nearest-name.js';

const known = ['log-slow-requests-time-ms', 'skip-writes', 'healthy-read-lag'];

test('a few mistyped letters find the name that was meant, whatever the case', () => {
  expect(nearestName('skip-write', known)).toBe('skip-writes');
  expect(nearestName('HEALTHY-READ-LAGG', known)).toBe('healthy-read-lag');
  expect(didYouMean('skip_writes', known)).toBe('; did you mean "skip-writes"?');
});

test('another word finds nothing: a wrong guess misleads more than none', () => {
  expect(nearestName('colour', known)).toBeUndefined();
  expect(didYouMean('colour', known)).toBe('');
  expect(nearestName('x', [])).toBeUndefined();
});
