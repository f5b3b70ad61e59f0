import { afterAll, expect, test } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Mapping, type Profile } from 'pprof-format';
import { goTool } from '../test/go-pprof.js';
import { profileOf } from '../test/stacks-profile.js';
import { foldedStacks } from './folded-stacks.js';
import { encodeProfile } from './profile.js';
import { diffProfiles } from './profile-diff.js';
import { mergeProfiles } from './profile-merge.js';
import { topTable } from './top-table.js';

const folder = mkdtempSync(join(tmpdir(), 'binnacle-merge-'));
afterAll(() => rmSync(folder, { recursive: true }));

async function save(name: string, profile: Profile): Promise<string> {
  const file = join(folder, name);
  writeFileSync(file, await encodeProfile(profile));
  return file;
}

/** The table of `go tool pprof -top`: flat and cumulative values in ns by function name. */
function goTop(...args: string[]): Record<string, [flat: string, cumulative: string]> {
  const env = { ...process.env, PPROF_TMPDIR: folder };
  const text = execFileSync(goTool(), ['tool', 'pprof', '-top', '-unit=ns', '-nodefraction=0', ...args], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'], env });
  const rows = text.split('\n').map((line) => /^\s*(-?[\d.]+)(?:ns)?\s+\S+\s+\S+\s+(-?[\d.]+)(?:ns)?\s+\S+\s+(\S+)/.exec(line));
  return Object.fromEntries(rows.filter((row) => row !== null).map(([, flat, cumulative, name]) => [name!, [flat!, cumulative!]]));
}

test('equal stacks of parts are one, whatever their ids, and their labels keep them apart', () => {
  const a = profileOf({ 'main;parse': 100, 'main;sort': 50 }, { labels: { thread: 'main' } });
  const b = profileOf({ 'main;sort': 7, 'main;parse': 1, 'main;walk': 2 }, { labels: { thread: 'main' }, firstId: 900 });
  const same = mergeProfiles([{ profile: a, labels: { node: 'x' } }, { profile: a, labels: { node: 'x' } }]);
  expect(same.sample.map(({ value }) => value)).toEqual([[200], [100]]);
  const apart = mergeProfiles([{ profile: a, labels: { node: 'x' } }, { profile: b, labels: { node: 'y' } }]);
  expect(apart.sample).toHaveLength(5);
  expect(foldedStacks(apart)).toBe('main;parse 101\nmain;sort 57\nmain;walk 2\n');
  expect(apart.sample[0]!.label).toHaveLength(2);
});

test('an added label takes the place of one of the same name', () => {
  const part = profileOf({ main: 1 }, { labels: { node: 'old' } });
  const merged = mergeProfiles([{ profile: part, labels: { node: 'new' } }]);
  const [label] = merged.sample[0]!.label;
  expect(merged.sample[0]!.label).toHaveLength(1);
  expect(merged.stringTable.strings[Number(label!.str)]).toBe('new');
});

test('a library that lies elsewhere in every process is one mapping', () => {
  const mapped = (start: bigint): Profile => {
    const profile = profileOf({ main: 1 }, { fileName: () => '' });
    profile.mapping = [new Mapping({ id: 1, memoryStart: start, memoryLimit: start + 0x1000n, filename: profile.stringTable.dedup('/lib/libc.so.6') })];
    Object.assign(profile.location[0]!, { mappingId: 1, address: start + 0x42n });
    return profile;
  };
  const merged = mergeProfiles([0x7f0000000000n, 0x7e0000000000n].map((start) => ({ profile: mapped(start), labels: {} })));
  expect(merged.mapping).toHaveLength(1);
  expect(merged.location).toHaveLength(1);
  expect(merged.sample.map(({ value }) => value)).toEqual([[2]]);
});

test('parts taken side by side: the first start, the longest duration', () => {
  const [a, b] = [profileOf({ main: 1 }), profileOf({ main: 1 })];
  Object.assign(a, { timeNanos: 2_000, durationNanos: 500 });
  Object.assign(b, { timeNanos: 1_000, durationNanos: 700 });
  const merged = mergeProfiles([{ profile: a, labels: {} }, { profile: b, labels: {} }]);
  expect([merged.timeNanos, merged.durationNanos, merged.period]).toEqual([1_000, 700, 10_000_000]);
});

test('profiles of different kinds and none at all are refused', () => {
  const heap = profileOf({ main: 1 }, { sampleType: 'inuse_space', unit: 'bytes' });
  const parts = [profileOf({ main: 1 }), heap].map((profile) => ({ profile, labels: {} }));
  expect(() => mergeProfiles(parts)).toThrow('one has cpu/nanoseconds, another inuse_space/bytes');
  expect(() => mergeProfiles([])).toThrow('there is no profile to merge');
});

test('go tells the nodes of a merged profile apart', async () => {
  const parts = ['x', 'y'].map((node, index) => ({ profile: profileOf({ 'main;parse': 100 * (index + 1) }), labels: { node } }));
  const file = await save('merged.pb.gz', mergeProfiles(parts));
  expect(goTop(file)['parse']).toEqual(['300', '300']);
  expect(goTop('-tagfocus=node=y', file)['parse']).toEqual(['200', '200']);
});

test('go reads a difference as its own -diff_base, and the top table says the same', async () => {
  const base = profileOf({ 'main;parse': 100, 'main;sort': 50, 'main;gone': 30 });
  const other = profileOf({ 'main;parse': 160, 'main;sort': 20, 'main;fresh': 10 }, { firstId: 40 });
  const difference = diffProfiles(base, other);
  const ours = goTop(await save('diff.pb.gz', difference));
  expect(ours).toEqual(goTop(`-diff_base=${await save('base.pb.gz', base)}`, await save('other.pb.gz', other)));
  expect(ours).toMatchObject({ parse: ['60', '60'], sort: ['-30', '-30'], gone: ['-30', '-30'], fresh: ['10', '10'] });
  const rows = topTable(difference).rows.map(({ name, flat }) => [name, flat]);
  expect(rows).toEqual([['parse', 60], ['gone', -30], ['sort', -30], ['fresh', 10], ['main', 0]]);
  expect(base.sample[0]!.value).toEqual([100]);
});
