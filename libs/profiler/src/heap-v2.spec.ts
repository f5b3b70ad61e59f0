import { describe, expect, test } from '@jest/globals';
import type { Profile } from 'pprof-format';
import { addressesOf, heapV2ToProfile } from './heap-v2.js';

const maps = `MAPPED_LIBRARIES:
00400000-00500000 r-xp 00001000 fe:00 1    /opt/app/bin/node
7f0000000000-7f0000100000 r-xp 00002000 fe:00 2    /usr/lib/libjemalloc.so.2
7f0000200000-7f0000300000 r-xp 00000000 fe:00 3    /usr/lib/libother.so
7f0000400000-7f0000500000 rw-p 00000000 00:00 0
`;
const dump = `heap_v2/131072
  t*: 5: 1310720 [0: 0]
  t0: 5: 1310720 [0: 0]
@ 0x7f0000000010 0x7f0000000020 0x400100 0x400200
  t*: 2: 16384 [0: 0]
  t0: 2: 16384 [0: 0]
@ 0x7f0000000010 0x7f0000200100 0x400200
  t*: 3: 1294336 [7: 9999]
  t0: 3: 1294336 [7: 9999]
@ 0x7f0000000010 0x400300
  t*: 0: 0 [1: 1]
  t0: 0: 0 [1: 1]

${maps}`;

const stringsOf = (profile: Profile, indices: readonly (number | bigint)[]): string[] =>
  indices.map((index) => profile.stringTable.strings[Number(index)] ?? '');

/** Each stack as its functions, leaf first, with its values. */
function stacksOf(profile: Profile): { stack: string[]; value: number[] }[] {
  const nameOf = (locationId: number | bigint): string => {
    const functionId = profile.location[Number(locationId) - 1]?.line[0]?.functionId ?? 0;
    return stringsOf(profile, [profile.function[Number(functionId) - 1]?.name ?? 0])[0] ?? '';
  };
  return profile.sample.map((sample) => ({ stack: sample.locationId.map(nameOf), value: sample.value.map(Number) }));
}

test('stacks are call sites, leaf first, without the frames of the allocator; what is freed is left out', () => {
  expect(addressesOf(dump).map((address) => address.toString(16))).toEqual(['4000ff', '4001ff', '7f00002000ff']);
  const profile = heapV2ToProfile(dump, (address) => (address === 0x4000ffn ? 'grow' : address === 0x4001ffn ? 'main' : '??'));
  expect(stacksOf(profile).map(({ stack }) => stack)).toEqual([['grow', 'main'], ['[libother.so]', 'main']]);
});

test('samples are scaled up by how likely it was that one of their size was taken', () => {
  const scale = (size: number): number => 1 / (1 - Math.exp(-size / 131_072));
  const [small, large] = stacksOf(heapV2ToProfile(dump, () => '??'));
  expect(small?.value).toEqual([Math.round(2 * scale(8192)), Math.round(16_384 * scale(8192))]);
  expect(large?.value).toEqual([3, Math.round(1_294_336 * scale(1_294_336 / 3))]);
});

test('types, mappings and the sampling rate are what pprof tools expect', () => {
  const profile = heapV2ToProfile(dump, () => '??');
  expect(profile.sampleType.map(({ type, unit }) => stringsOf(profile, [type, unit]))).toEqual([['inuse_objects', 'count'], ['inuse_space', 'bytes']]);
  expect(stringsOf(profile, profile.mapping.map(({ filename }) => filename))).toEqual(['/opt/app/bin/node', '/usr/lib/libjemalloc.so.2', '/usr/lib/libother.so']);
  expect(profile.mapping[0]).toMatchObject({ id: 1, memoryStart: 0x400000n, memoryLimit: 0x500000n, fileOffset: 0x1000n });
  expect(profile.location.map(({ mappingId }) => mappingId)).toEqual([1, 1, 3]);
  expect(profile.period).toBe(131_072);
});

test('addresses that no library covers keep their name or are ??', () => {
  const text = `heap_v2/1\n  t*: 1: 1 [0: 0]\n@ 0x10 0x20\n  t*: 1: 1 [0: 0]\n\n${maps}`;
  const profile = heapV2ToProfile(text, (address) => (address === 0xfn ? 'JS:*hot' : '??'));
  expect(stacksOf(profile)[0]?.stack).toEqual(['JS:*hot', '??']);
});

test('a dump of nothing is a profile of nothing', () => {
  expect(heapV2ToProfile(`heap_v2/131072\n  t*: 0: 0 [0: 0]\n\n${maps}`, () => '??').sample).toEqual([]);
});

describe('what is no whole dump is an error', () => {
  test.each([
    ['nothing', '', 'does not begin with heap_v2/'],
    ['a web page', '<html>', 'does not begin with heap_v2/'],
    ['an older format', 'heap profile: 1: 2 [3: 4] @ heapprofile', 'does not begin with heap_v2/'],
    ['a sampling rate of zero', dump.replace('131072', '0'), 'does not begin with heap_v2/'],
    ['one that ends early', dump.slice(0, 200), 'no MAPPED_LIBRARIES'],
    ['a stack without figures', dump.replace('  t*: 2: 16384 [0: 0]\n', ''), 'corrupt at character'],
    ['an address that is none', dump.replace('0x400200', '0xhello'), 'corrupt at character'],
    ['negative figures', dump.replace('t*: 3: 1294336', 't*: -3: 1294336'), 'corrupt at character'],
  ])('%s', (_name, text, message) => {
    expect(() => heapV2ToProfile(text, () => '??')).toThrow(message);
    expect(() => addressesOf(text)).toThrow(message);
  });

  test('every beginning of a dump', () => {
    for (let length = 0; length < dump.indexOf('MAPPED_LIBRARIES:\n') + 17; length++) expect(() => addressesOf(dump.slice(0, length))).toThrow(Error);
  });
});
