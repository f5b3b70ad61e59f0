import { expect, test } from '@jest/globals';
import { createHash } from 'node:crypto';
import { profileOf } from '../test/stacks-profile.js';
import { diffFlameGraph, flameGraph, flameGraphSecurityPolicy } from './flame-graph.js';
import { frameKind } from './frame-kind.js';
import { mergeProfiles } from './profile-merge.js';
import { encodeProfile } from './profile.js';
import { svgText } from './svg-text.js';

interface Drawn {
  readonly kind: string;
  readonly name: string;
  readonly value: string;
  readonly width: number;
}

/** The frames of a flame graph by name; the widest of those with one name. */
function framesOf(svg: string): Record<string, Drawn> {
  const found = [...svg.matchAll(/<g class="(\w+)"><title>([^\n<]*)\n([^\n<]*)[^<]*<\/title><rect x="[\d.]+" width="([\d.]+)"/g)];
  const frames = found.map(([, kind, name, value, width]) => ({ kind: kind!, name: name!, value: value!, width: Number(width) }));
  return Object.fromEntries(frames.toSorted((a, b) => a.width - b.width).map((frame) => [frame.name, frame]));
}

test('frames are as wide as their share, and say value and place', () => {
  const svg = flameGraph(profileOf({ 'main;parse': 1.5e9, 'main;sort': 0.5e9, main: 2e9 }), { title: 'CPU' });
  const frames = framesOf(svg);
  expect([frames['all']!.width, frames['main']!.width, frames['parse']!.width, frames['sort']!.width]).toEqual([1180, 1180, 442.5, 147.5]);
  expect(frames['parse']!.value).toBe('1.50 s (37.50 %)');
  expect(svg).toContain('file:///app/parse.ts:12');
  expect(svg).toContain('cpu: 4 s · over 10 s · 3 frames<');
});

test('bytes and the decoded profile give the same picture', async () => {
  const profile = profileOf({ 'main;parse': 3, 'main;sort': 5 });
  expect(flameGraph(await encodeProfile(profile), { title: 'x' })).toBe(flameGraph(profile, { title: 'x' }));
});

test('the stacks of merged nodes stand on a frame for each node, from bytes and from objects', async () => {
  const part = (node: string, value: number) => ({ profile: profileOf({ main: value }, { labels: { thread: 'main' } }), labels: { node } });
  const merged = mergeProfiles([part('a', 1e9), part('b', 3e9)]);
  for (const source of [merged, await encodeProfile(merged)]) {
    const frames = framesOf(flameGraph(source, { title: 'x' }));
    expect(frames['node a']).toEqual({ kind: 'root', name: 'node a', value: '1 s (25.00 %)', width: 295 });
    expect(frames['node b']).toMatchObject({ kind: 'root', width: 885 });
    expect(frames['main']!.width).toBe(885);
  }
});

test('kinds are told apart by the names that V8 and the native profilers give', () => {
  const kind = (name: string, fileName = '') => frameKind({ name, fileName, line: 0 });
  expect(kind('parse', 'file:///app/parse.ts')).toBe('javascript');
  expect(kind('readFile', 'node:fs')).toBe('javascript');
  expect(kind('runScript', 'evalmachine.<anonymous>')).toBe('javascript');
  expect(kind('malloc', '/lib/libc.so.6')).toBe('native');
  expect(kind('Non JS threads activity')).toBe('native');
  expect(kind('(program)')).toBe('native');
  expect(kind('(garbage collector)')).toBe('gc');
  expect(kind('Garbage Collection')).toBe('gc');
  expect(kind('(idle)')).toBe('idle');
});

test('no name gets out of its text, and the document stays well-formed', () => {
  const names = ['<script>alert(1)</script>', ']]></script><script>', `"'&amp;`, 'nul\0bell\x07', 'half\ud800pair', 'turned\u202eround', 'two\nlines'];
  const svg = flameGraph(profileOf(Object.fromEntries(names.map((name) => [name, 1e9]))), { title: '</title><script>' });
  expect(svg.match(/<script/g)).toHaveLength(1);
  expect(svg.match(/]]>/g)).toHaveLength(1);
  expect(svg).toContain('&lt;script&gt;alert(1)&lt;/script&gt;');
  expect(svg).toContain('nul\ufffdbell\ufffd');
  expect(svg).toContain('half\ufffdpair');
  expect(svg).toContain('turned\ufffdround');
  expect(svg).toContain('two lines');
});

test('a very long name is cut, and never within a character', () => {
  expect(svgText('x'.repeat(10_000))).toHaveLength(240);
  expect(svgText('😀'.repeat(200))).toMatch(/^(😀)+\ufffd?…$/u);
});

test('frames too narrow to see are left out, counted, and remain in the width of those below', () => {
  const many = Object.fromEntries(Array.from({ length: 30_000 }, (_, index) => [`main;leaf${index}`, 1]));
  const svg = flameGraph(profileOf({ ...many, 'main;hot': 30_000 }), { title: 'x' });
  expect(framesOf(svg)['main']!.width).toBe(1180);
  expect(framesOf(svg)['hot']!.width).toBe(590);
  expect(svg).toContain('2 frames · 30,000 too narrow or too deep to draw');
});

test('a runaway recursion is cut at 512 levels', () => {
  const svg = flameGraph(profileOf({ [Array.from({ length: 5_000 }, (_, index) => `f${index}`).join(';')]: 1 }), { title: 'x' });
  expect(svg.match(/class="l"/g)).toHaveLength(513);
  expect(svg).toContain('512 frames · 4,488 too narrow or too deep to draw');
});

test('a profile without samples, or with only zeros, is a picture that says so', () => {
  for (const empty of [profileOf({}), profileOf({ main: 0 })]) {
    expect(flameGraph(empty, { title: 'quiet' })).toContain('no samples: nothing ran');
    expect(diffFlameGraph(empty, empty, { title: 'quiet' })).toContain('no samples: nothing ran');
  }
});

test('a difference is red where there is more, blue where there is less, and shows what vanished', () => {
  const base = profileOf({ 'main;gone': 2e9, 'main;same': 4e9, 'main;grown': 1e9 });
  const other = profileOf({ 'main;fresh': 1e9, 'main;same': 4e9, 'main;grown': 3e9 });
  const frames = framesOf(diffFlameGraph(base, other, { title: 'diff' }));
  expect(frames['gone']).toMatchObject({ kind: 'd5', value: '−2 s (2 s → 0)' });
  expect(frames['fresh']).toMatchObject({ kind: 'u5', value: '+1 s (0 → 1 s)' });
  expect(frames['grown']).toMatchObject({ kind: 'u3', value: '+2 s (1 s → 3 s)' });
  expect(frames['same']!.kind).toBe('z');
  expect(frames['same']!.width).toBeCloseTo((1180 * 8) / 15, 2);
});

test('a profile with negative values is refused', () => {
  expect(() => flameGraph(profileOf({ main: -1 }), { title: 'x' })).toThrow('negative values');
  expect(() => diffFlameGraph(profileOf({ main: -1 }), profileOf({ main: 1 }), { title: 'x' })).toThrow('is a difference itself');
});

test('the policy names the script and the style that are in the document', () => {
  const svg = flameGraph(profileOf({ main: 1 }), { title: 'x' });
  for (const pattern of [/<script><!\[CDATA\[([^]*)]]><\/script>/, /<style>([^]*)<\/style>/]) {
    const hash = createHash('sha256').update(pattern.exec(svg)![1]!).digest('base64');
    expect(flameGraphSecurityPolicy).toContain(`'sha256-${hash}'`);
  }
  expect(flameGraphSecurityPolicy).toContain(`default-src 'none'`);
});
