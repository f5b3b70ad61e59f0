import { expect, test } from '@jest/globals';
import { profileOf } from '../test/stacks-profile.js';
import { foldedStacks } from './folded-stacks.js';
import { humanValue } from './human-value.js';
import { encodeProfile } from './profile.js';
import { topTable, topText } from './top-table.js';

const profile = profileOf({ 'main;walk;walk;walk': 3e9, 'main;walk;sort': 1e9, 'main;parse': 6e9 });

test('a function has what it spent itself and with what it called, a recursion counted once', () => {
  const table = topTable(profile);
  expect(table.total).toBe(10e9);
  expect(table.rows.map(({ name, flat, flatShare, cumulative }) => [name, flat, flatShare, cumulative])).toEqual([
    ['parse', 6e9, 0.6, 6e9],
    ['walk', 3e9, 0.3, 4e9],
    ['sort', 1e9, 0.1, 1e9],
    ['main', 0, 0, 10e9],
  ]);
  expect(table.rows[0]).toMatchObject({ fileName: 'file:///app/parse.ts', line: 14 });
});

test('bytes and the decoded profile give the same table', async () => {
  expect(topTable(await encodeProfile(profile))).toEqual(topTable(profile));
});

test('a function that does not say where it starts has the first of its lines', async () => {
  const without = profileOf({ main: 1 });
  without.function[0]!.startLine = 0;
  without.location[0]!.line[0]!.line = 42;
  for (const source of [without, await encodeProfile(without)]) expect(topTable(source).rows[0]!.line).toBe(42);
});

test('the text has the columns of go tool pprof -top', () => {
  expect(topText(topTable(profile))).toBe(`Type: cpu
Duration: 10 s, Total samples: 10 s
      flat   flat%    sum%        cum    cum%
       6 s  60.00%  60.00%        6 s  60.00%  parse file:///app/parse.ts:14
       3 s  30.00%  90.00%        4 s  40.00%  walk file:///app/walk.ts:12
       1 s  10.00% 100.00%        1 s  10.00%  sort file:///app/sort.ts:13
         0   0.00% 100.00%       10 s 100.00%  main file:///app/main.ts:11
`);
});

test('a name stays on its line and in its column', () => {
  const names = profileOf({ 'a\nb\u001b[31m': 1 });
  expect(topText(topTable(names)).split('\n')).toHaveLength(5);
  expect(topText(topTable(names))).not.toContain('\u001b');
  const folded = profileOf({ main: 4 });
  folded.stringTable.strings[Number(folded.function[0]!.name)] = 'std::map<int; 3>\nx';
  expect(foldedStacks(folded)).toBe('std::map<int: 3> x 4\n');
});

test('folded stacks of one name are one line', () => {
  expect(foldedStacks(profileOf({ 'a;b': 1, a: 2 }))).toBe('a 2\na;b 1\n');
  expect(foldedStacks(profileOf({}))).toBe('');
});

test('values are shown in the unit that fits', () => {
  expect(['nanoseconds', 'bytes', 'count', 'widgets'].map((unit) => humanValue(1_536_000, unit))).toEqual(['1.54 ms', '1.46 MiB', '1,536,000', '1,536,000 widgets']);
  expect([humanValue(0, 'bytes'), humanValue(-2e9, 'nanoseconds'), humanValue(0.25, 'nanoseconds')]).toEqual(['0', '-2 s', '0.25 ns']);
});
