import { expect, test } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { Line } from 'pprof-format';
import { profileOf } from '../test/stacks-profile.js';
import { goTool } from '../test/go-pprof.js';
import { foldedStacks } from './folded-stacks.js';
import { loadPprof } from './pprof-library.js';
import { decodeProfile, encodeProfile, inflateProfile } from './profile.js';
import { callTree } from './profile-tree.js';
import { UnreadableProfile } from './unreadable-profile.js';

const stacks = { 'main;serve;parse': 7, 'main;serve': 5, '(idle)': 3 };

test('a profile comes back as it was encoded, gzipped or not', async () => {
  const profile = profileOf(stacks);
  const bytes = await encodeProfile(profile);
  const folded = '(idle) 3\nmain;serve 5\nmain;serve;parse 7\n';
  for (const each of [bytes, inflateProfile(bytes)]) {
    expect(foldedStacks(each)).toBe(folded);
    expect(foldedStacks(decodeProfile(each))).toBe(folded);
  }
});

test('negative values, addresses of the upper half and large ids come out as they went in', async () => {
  const profile = profileOf({ 'a;b': -5, c: -(2 ** 40), d: 2 ** 52 + 1 }, { firstId: 2 ** 45 });
  profile.location[0]!.address = 0xffffffffff600000n;
  const bytes = await encodeProfile(profile);
  const decoded = decodeProfile(bytes);
  expect(decoded.sample.map(({ value }) => value)).toEqual([[-5], [-(2 ** 40)], [2 ** 52 + 1]]);
  expect(decoded.location[0]!.address).toBe(0xffffffffff600000n);
  expect(decoded.location[0]!.id).toBe(2 ** 45);
  expect(foldedStacks(bytes)).toBe(`a;b -5\nc ${-(2 ** 40)}\nd ${2 ** 52 + 1}\n`);
});

test('a profile made by the pprof package reads the same from its bytes and from its object', async () => {
  const { time } = loadPprof();
  time.start({ durationMillis: 1_000, intervalMicros: 1_000 });
  const endMs = performance.now() + 100;
  while (performance.now() < endMs) JSON.parse(JSON.stringify(stacks));
  const bytes = await encodeProfile(time.stop());
  const folded = foldedStacks(bytes, 'sample');
  expect(folded).toMatch(/;.* \d+\n/);
  expect(foldedStacks(decodeProfile(bytes), 'sample')).toBe(folded);
});

test('a profile rewritten by go reads the same', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'binnacle-profile-'));
  try {
    writeFileSync(join(folder, 'ours.pb.gz'), await encodeProfile(profileOf(stacks)));
    execFileSync(goTool(), ['tool', 'pprof', '-proto', '-output', join(folder, 'go.pb.gz'), join(folder, 'ours.pb.gz')], { stdio: 'ignore' });
    const bytes = readFileSync(join(folder, 'go.pb.gz'));
    expect(foldedStacks(bytes)).toBe(foldedStacks(profileOf(stacks)));
    expect(foldedStacks(decodeProfile(bytes))).toBe(foldedStacks(bytes));
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('every truncation and every rubbish is refused with the reason', async () => {
  const bytes = await encodeProfile(profileOf(stacks));
  const plain = inflateProfile(bytes);
  for (let length = 0; length < bytes.length; length++) expect(() => decodeProfile(bytes.subarray(0, length))).toThrow(UnreadableProfile);
  expect(() => decodeProfile(Buffer.from('<html>not a profile</html>'))).toThrow(/cannot read this profile/);
  expect(() => decodeProfile(Buffer.alloc(1_000, 0xff))).toThrow(UnreadableProfile);
  expect(() => decodeProfile(gzipSync('{"traceEvents":[]}'))).toThrow(UnreadableProfile);
  // Cut in the middle of the samples, which end before the strings begin.
  expect(() => decodeProfile(plain.subarray(0, 20))).toThrow(/truncated|no table of strings/);
});

test('flipped bits never do worse than an UnreadableProfile', async () => {
  const plain = inflateProfile(await encodeProfile(profileOf(stacks)));
  for (let at = 0; at < plain.length * 8; at++) {
    const damaged = Uint8Array.from(plain);
    damaged[at >> 3]! ^= 1 << (at & 7);
    try {
      callTree(damaged);
      decodeProfile(damaged);
    } catch (error) {
      expect(error).toBeInstanceOf(UnreadableProfile);
    }
  }
});

test('what inflates to more than the limit is refused before it fills the memory', () => {
  expect(() => inflateProfile(gzipSync(Buffer.alloc(10_001)), 10_000)).toThrow('it inflates to more than 10000 bytes');
  expect(() => inflateProfile(Buffer.alloc(10_001, 1), 10_000)).toThrow('it has more than 10000 bytes');
});

test('an unknown sample type is refused with those that there are', () => {
  expect(() => callTree(profileOf(stacks), 'alloc')).toThrow('the profile has no sample type alloc, only: cpu');
});

test('a place without a function is called by its address', async () => {
  const profile = profileOf({ main: 1 });
  Object.assign(profile.location[0]!, { line: [], address: 0x7f0000001234 });
  for (const source of [profile, await encodeProfile(profile)]) expect(foldedStacks(source)).toBe('0x7f0000001234 1\n');
});

test('functions without a name, inlined ones and ids far apart are read from bytes as from objects', async () => {
  const profile = profileOf({ 'main;outer': 3, main: 2 }, { firstId: 5_000_000 });
  const [main, outer] = profile.function;
  profile.location[1]!.line.unshift(new Line({ functionId: main!.id, line: 3 }));
  Object.assign(outer!, { name: 0, systemName: profile.stringTable.dedup('_Zouter') });
  for (const source of [profile, await encodeProfile(profile)]) expect(foldedStacks(source)).toBe('main 2\nmain;_Zouter;main 3\n');
});
