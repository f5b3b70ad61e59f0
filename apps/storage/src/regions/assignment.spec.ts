import { expect, test } from '@jest/globals';
import type { Table } from '../tables/schema.js';
import { Absences, loadsOf, placedRegions, withMoves, withoutLeft, withTermAbove } from './assignment.js';
import { regionId } from './region.js';

let lastId = 0;
function tableOn(...nodes: string[]): Table {
  const id = ++lastId;
  return { id, name: `t${id}`, regions: nodes.map((writeNode, index) => ({ id: regionId(id, index), writeNode, term: 1 })) } as unknown as Table;
}

test('regions of a new table go round the nodes, beginning with the one that has the fewest', () => {
  expect(placedRegions([], ['b', 'a'], 4)).toEqual(['a', 'b', 'a', 'b']);
  expect(placedRegions([tableOn('a', 'a', 'b')], ['a', 'b', 'c'], 4)).toEqual(['c', 'b', 'a', 'c']);
});

test('regions of a node that is gone are spread over those that live, each in a new term, and remember it', () => {
  const tables = [tableOn('a', 'b', 'gone', 'gone'), tableOn('b'), tableOn('gone')];
  const moved = withMoves(tables, ['a', 'b'], new Set(['gone']));
  expect(moved.flatMap(({ regions }) => regions).map(({ writeNode, term }) => `${writeNode}${term}`)).toEqual(['a1', 'b1', 'a2', 'a2', 'b1', 'b2']);
  expect(moved[0]?.regions[2]).toMatchObject({ leftAt: ['gone'] });
  expect(moved[1]).toBe(tables[1]);
  expect(withoutLeft(moved, new Set([regionId(tables[0]?.id ?? 0, 2)]), 'gone')[0]?.regions[2]).not.toHaveProperty('leftAt');
});

test('a region whose manifest is ahead of the catalog comes into a term above it, unless it was given away meanwhile', () => {
  const tables = [tableOn('a', 'b')];
  const [, { id = 0 } = {}] = tables[0]?.regions ?? [];
  const owner = { regionId: id, node: 'b', term: 1 };
  expect(withTermAbove(tables, owner, { writeNode: 'x', term: 7 })[0]?.regions[1]).toEqual({ id, writeNode: 'b', term: 8, leftAt: ['b', 'x'] });
  expect(withTermAbove(tables, { ...owner, node: 'a' }, { writeNode: 'x', term: 7 })).toBe(tables);
  expect(withTermAbove(tables, { ...owner, term: 2 }, { writeNode: 'x', term: 7 })).toBe(tables);
});

test('nothing moves when nobody is gone, nobody could take it, or only so much at once', () => {
  const tables = [tableOn(...Array<string>(10).fill('gone'))];
  expect(withMoves(tables, ['a'], new Set())).toBe(tables);
  expect(withMoves(tables, [], new Set(['gone']))).toBe(tables);
  expect(withMoves(tables, ['gone'], new Set(['gone']))).toBe(tables);
  expect(loadsOf(withMoves(tables, ['a'], new Set(['gone']), 3)).get('a')).toBe(3);
});

test('a node is gone once it was seen to be missing for the whole lease, without a gap in between', () => {
  const absences = new Absences(100);
  const wanted = new Set(['a', 'b']);
  const look = (nowMs: number, ...present: string[]) => absences.look(nowMs, new Set(present), wanted);
  for (let nowMs = 0; nowMs <= 900; nowMs += 50) look(nowMs, 'a');
  expect(absences.gone(900, 1_000)).toEqual(new Set());
  for (let nowMs = 950; nowMs <= 1_000; nowMs += 50) look(nowMs, 'a');
  expect(absences.gone(1_000, 1_000)).toEqual(new Set(['b']));
  // The one who looks was asleep: what it saw before says nothing of now.
  look(5_000, 'a');
  expect(absences.gone(5_000, 1_000)).toEqual(new Set());
  look(5_050, 'a', 'b');
  for (let nowMs = 5_100; nowMs <= 6_050; nowMs += 50) look(nowMs, 'a');
  expect(absences.gone(6_050, 1_000)).toEqual(new Set());
  absences.forget();
  look(6_100, 'a');
  expect(absences.gone(6_100, 0)).toEqual(new Set(['b']));
});

test('under churn every region has a live node in the end, and its term grows by one with every move', () => {
  let seed = 7;
  const random = (below: number): number => (seed = (seed * 48_271) % 2_147_483_647) % below;
  const all = ['a', 'b', 'c', 'd', 'e'];
  let tables: readonly Table[] = Array.from({ length: 20 }, (_, index) => tableOn(...placedRegions([], all, 4 + (index % 3))));
  const up = new Set(all);
  for (let round = 0; round < 500; round++) {
    const nodeId = all[random(all.length)] as string;
    if (!up.delete(nodeId)) up.add(nodeId);
    const gone = new Set(all.filter((each) => !up.has(each)));
    const next = withMoves(tables, [...up], gone, 1 + random(8));
    for (const [index, { regions }] of next.entries()) {
      for (const [position, { term, writeNode }] of regions.entries()) {
        const before = tables[index]?.regions[position];
        expect(term).toBe((before?.term ?? 0) + Number(before?.writeNode !== writeNode));
        if (before?.writeNode !== writeNode) expect(up).toContain(writeNode);
      }
    }
    tables = next;
  }
  for (const nodeId of ['a', 'b']) up.add(nodeId);
  const gone = new Set(all.filter((each) => !up.has(each)));
  while (withMoves(tables, [...up], gone, 8) !== tables) tables = withMoves(tables, [...up], gone, 8);
  expect([...loadsOf(tables).keys()].every((nodeId) => up.has(nodeId))).toBe(true);
});
