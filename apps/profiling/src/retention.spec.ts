import { expect, test } from '@jest/globals';
import type { KeptProfile, ProfileOrigin } from './kept-profile.js';
import { diskBytes, profilesToDelete } from './retention.js';

const dayMs = 24 * 3_600_000;
const nowMs = 100 * dayMs;
const generous = { nowMs, ageMsMax: 7 * dayMs, bytesMax: 2 ** 30, profilesMax: 1_000 };

function profile(id: string, ageDays: number, origin: ProfileOrigin = 'requested', bytes = 4_096): KeptProfile {
  return { id, node: 'n0', kind: 'cpu', origin, startedAtMs: nowMs - ageDays * dayMs, durationMs: 10_000, bytes };
}

const idsOf = (victims: Set<KeptProfile>): string[] => [...victims].map(({ id }) => id);

test('what is older than allowed goes, what is exactly as old stays', () => {
  const kept = [profile('old', 7.001), profile('limit', 7), profile('new', 0)];
  expect(idsOf(profilesToDelete(kept, generous))).toEqual(['old']);
});

test('over the bytes the oldest continuous profiles go before any requested one', () => {
  const kept = [profile('r1', 5), profile('c1', 4, 'continuous'), profile('r2', 3), profile('c2', 2, 'continuous'), profile('c3', 1, 'continuous')];
  expect(idsOf(profilesToDelete(kept, { ...generous, bytesMax: 3 * 4_096 }))).toEqual(['c1', 'c2']);
  expect(idsOf(profilesToDelete(kept, { ...generous, bytesMax: 4_096 }))).toEqual(['c1', 'c2', 'c3', 'r1']);
});

test('what went for its age makes room for the rest', () => {
  const kept = [profile('old', 8), profile('c1', 2, 'continuous')];
  expect(idsOf(profilesToDelete(kept, { ...generous, bytesMax: 4_096 }))).toEqual(['old']);
});

test('a profile counts with the blocks it takes', () => {
  expect([1, 4_096, 4_097].map((bytes) => diskBytes({ bytes }))).toEqual([4_096, 4_096, 8_192]);
  const kept = [profile('a', 2, 'requested', 1), profile('b', 1, 'requested', 1)];
  expect(idsOf(profilesToDelete(kept, { ...generous, bytesMax: 4_096 }))).toEqual(['a']);
});

test('there may be no more profiles than the lists can hold', () => {
  const kept = [profile('a', 3), profile('b', 2), profile('c', 1)];
  expect(idsOf(profilesToDelete(kept, { ...generous, profilesMax: 1 }))).toEqual(['a', 'b']);
});
