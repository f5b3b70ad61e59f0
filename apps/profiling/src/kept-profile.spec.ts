import { expect, test } from '@jest/globals';
import { describeProfile, fileNameOf, keeperOf, profileOfFile, profileView } from './kept-profile.js';

const captured = { node: 'db-1.eu', kind: 'native-heap', startedAtMs: Date.UTC(2026, 10, 21, 3, 12, 0, 7), durationMs: 10_000.4, pprof: Buffer.alloc(77) } as const;

test('a file name holds all that is known of a profile', () => {
  const profile = describeProfile({ captured, origin: 'continuous', keeper: 'p0' });
  expect(profile.id).toMatch(/^p0~20261121T031200007Z-[0-9a-f]{8}$/);
  expect(profileOfFile(fileNameOf(profile), 'p0')).toEqual(profile);
  expect(profile).toMatchObject({ durationMs: 10_000, bytes: 77 });
});

test('a profile of several nodes has a file name without a star', () => {
  const profile = describeProfile({ captured: { ...captured, node: '*' }, origin: 'requested', keeper: 'p0' });
  expect(fileNameOf(profile)).not.toContain('*');
  expect(profileOfFile(fileNameOf(profile), 'p0')?.node).toBe('*');
});

test('the longest ids make a name that every file system takes', () => {
  const profile = describeProfile({ captured: { ...captured, node: 'n'.repeat(64) }, origin: 'requested', keeper: 'k'.repeat(64) });
  expect(fileNameOf(profile).length).toBeLessThan(200);
});

test.each(['20261121T031200007Z-0123abcd~1~cpu~requested~1~n0.pb.gz.unfinished', 'README', '../x~1~cpu~requested~1~n0.pb.gz', ''])('%j is no kept profile', (name) => {
  expect(profileOfFile(name, 'p0')).toBeUndefined();
});

test.each(['../../etc/passwd', 'p0~../../etc/passwd', `${'p'.repeat(65)}~20261121T031200007Z-0123abcd`, 'p0~20261121T031200007Z-0123abcd/x', '', '~'])(
  '%j is no id',
  (id) => expect(keeperOf(id)).toBeUndefined(),
);

test('an id names its keeper, and clients see the time as ISO 8601', () => {
  const profile = describeProfile({ captured, origin: 'requested', keeper: 'p-1.a' });
  expect(keeperOf(profile.id)).toBe('p-1.a');
  expect(profileView(profile)).toMatchObject({ startedAt: '2026-11-21T03:12:00.007Z', node: 'db-1.eu', origin: 'requested' });
});
