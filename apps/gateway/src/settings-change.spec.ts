import { BinnacleError } from '@binnacle/contracts/errors';
import { Settings } from '@binnacle/node-kit/settings';
import { expect, test } from '@jest/globals';
import { changedSettings, settingsOnTheWire } from './settings-change.js';

function refusal(change: Record<string, unknown>): string {
  try {
    changedSettings(new Settings(), change);
  } catch (error) {
    expect((error as BinnacleError).code).toBe('BAD_REQUEST');
    return (error as BinnacleError).message;
  }
  throw new Error('the change was not refused');
}

test('on the wire are the names and defaults that Typesense documents', () => {
  expect(settingsOnTheWire(new Settings())).toEqual({
    'log-slow-requests-time-ms': -1,
    'log-slow-searches-time-ms': 30_000,
    'enable-search-logging': false,
    'healthy-read-lag': 1_000,
    'healthy-write-lag': 500,
    'cache-num-entries': 1_000,
    'skip-writes': false,
    'dt-filecache-min-age-seconds': 1_800,
    'dtfile-level': 100,
    'downloading-count-scale': 2,
    'max-downloading-count-scale': 10,
  });
});

test('a change keeps what it does not name and leaves the old object alone', () => {
  const current = Object.assign(new Settings(), { skipWrites: true });
  const next = changedSettings(current, { 'log-slow-requests-time-ms': 2_000, 'enable-search-logging': true });
  expect(next).toEqual({ ...new Settings(), skipWrites: true, logSlowRequestsTimeMs: 2_000, enableSearchLogging: true });
  expect(current.logSlowRequestsTimeMs).toBe(-1);
});

test('the settings of the file cache go by the names that TiFlash gives them too', () => {
  const next = changedSettings(new Settings(), { dt_filecache_min_age_seconds: 60, dtfile_level: 9, downloading_count_scale: 0.5, 'max-downloading-count-scale': 4 });
  expect(next).toEqual({ ...new Settings(), dtFilecacheMinAgeSeconds: 60, dtfileLevel: 9, downloadingCountScale: 0.5, maxDownloadingCountScale: 4 });
  expect(refusal({ dtfile_level: 101 })).toBe('Configuration `dtfile-level` must be at most 100.');
  expect(refusal({ downloading_count_scale: 'many' })).toBe('Configuration `downloading-count-scale` must be a number.');
  expect(refusal({ downloading_count_scale: 0 })).toBe('Configuration `downloading-count-scale` must be 0.1 or more.');
});

test('a wrong type is refused in the words of Typesense', () => {
  for (const value of ['2000', 1.5, null, [1], true]) {
    expect(refusal({ 'log-slow-requests-time-ms': value })).toBe('Configuration `log-slow-requests-time-ms` must be an integer.');
  }
  for (const value of ['true', 1, null]) expect(refusal({ 'skip-writes': value })).toBe('Configuration `skip-writes` must be a boolean.');
});

test('a number out of range is refused with the range', () => {
  expect(refusal({ 'healthy-read-lag': -1 })).toBe('Configuration `healthy-read-lag` must be a positive integer.');
  expect(refusal({ 'log-slow-requests-time-ms': -2 })).toBe('Configuration `log-slow-requests-time-ms` must be -1 or more.');
  expect(refusal({ 'cache-num-entries': 10_000_001 })).toBe('Configuration `cache-num-entries` must be at most 10000000.');
});

test('an unknown key is named with the nearest known one', () => {
  expect(refusal({ 'log-slow-request-time-ms': 1 })).toBe(
    'Configuration `log-slow-request-time-ms` is not known; did you mean "log-slow-requests-time-ms"?',
  );
  expect(refusal({ zzz: 1 })).toBe('Configuration `zzz` is not known.');
  expect(refusal({ logSlowRequestsTimeMs: 1 })).toMatch(/is not known/);
  expect(refusal(JSON.parse('{"__proto__": {"skipWrites": true}}') as Record<string, unknown>)).toMatch(/`__proto__` is not known/);
});

test('one wrong key among right ones changes nothing', () => {
  const current = new Settings();
  expect(() => changedSettings(current, { 'skip-writes': true, 'healthy-read-lag': 'x' })).toThrow(BinnacleError);
  expect(current).toEqual(new Settings());
});
