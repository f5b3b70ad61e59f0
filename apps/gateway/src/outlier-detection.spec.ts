import { expect, test } from '@jest/globals';
import { consecutiveFailuresMax, ejectionMs, ejectionMsMax, forgivenAfterMs, OutlierDetection, windowMs, windowRequestsMin } from './outlier-detection.js';

function fail(outliers: OutlierDetection, times: number, nowMs: number): boolean[] {
  return Array.from({ length: times }, () => outliers.failure(nowMs));
}

test('failures in a row eject a node, and only the last of them says so', () => {
  const outliers = new OutlierDetection();
  expect(fail(outliers, consecutiveFailuresMax, 0)).toEqual([false, false, false, false, true]);
  expect(outliers.isEjected(ejectionMs(1) - 1)).toBe(true);
  expect(outliers.isEjected(ejectionMs(1))).toBe(false);
});

test('a success in between begins the row anew', () => {
  const outliers = new OutlierDetection();
  fail(outliers, consecutiveFailuresMax - 1, 0);
  outliers.success();
  expect(fail(outliers, consecutiveFailuresMax - 1, 0)).not.toContain(true);
});

test('half of the requests of a window failing ejects a node that also succeeds', () => {
  const outliers = new OutlierDetection();
  const ejections: boolean[] = [];
  for (let pair = 0; pair < windowRequestsMin; pair++) {
    outliers.success();
    ejections.push(outliers.failure(pair));
  }
  // The window begins with the first failure.
  expect(ejections.indexOf(true)).toBe(windowRequestsMin / 2);
});

test('few requests are not judged by their share, and a window that is over counts no more', () => {
  const outliers = new OutlierDetection();
  for (let pair = 0; pair < windowRequestsMin / 2 - 1; pair++) {
    outliers.success();
    expect(outliers.failure(0)).toBe(false);
  }
  outliers.success();
  expect(outliers.failure(windowMs)).toBe(false);
});

test('each further ejection lasts twice as long, up to a limit, until the node was well for a while', () => {
  expect([1, 2, 3, 99].map(ejectionMs)).toEqual([1_000, 2_000, 4_000, ejectionMsMax]);
  const outliers = new OutlierDetection();
  fail(outliers, consecutiveFailuresMax, 0);
  fail(outliers, consecutiveFailuresMax, 2_000);
  expect(outliers.ejectedUntilMs()).toBe(4_000);
  const muchLaterMs = 4_000 + forgivenAfterMs + 1;
  fail(outliers, consecutiveFailuresMax, muchLaterMs);
  expect(outliers.ejectedUntilMs()).toBe(muchLaterMs + ejectionMs(1));
});

test('requests that were on their way when the node was ejected do not eject it again', () => {
  const outliers = new OutlierDetection();
  fail(outliers, consecutiveFailuresMax, 0);
  expect(fail(outliers, 50, 1)).not.toContain(true);
  expect(outliers.ejectedUntilMs()).toBe(ejectionMs(1));
});
