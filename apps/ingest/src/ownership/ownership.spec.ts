import type { NodeRecord } from '@binnacle/cluster-state/cluster-state';
import { expect, test } from '@jest/globals';
import { newSeries, type Series } from '../series/series.js';
import { Ownership } from './ownership.js';

const series = Array.from({ length: 20_000 }, (_, at) => newSeries({ kind: 'counter', name: `requests.${at % 100}`, tags: [`pod:${at}`], source: `web-${at % 7}` }));
const node = (id: string, state = 'running'): NodeRecord => ({ id, state }) as NodeRecord;

function ownership(ownId: string, ids: readonly string[]): Ownership {
  return new Ownership(ownId, () => ids.map((id) => node(id)));
}

/** Of fresh series, so that nothing is remembered from an earlier question. */
function placed(ids: readonly string[]): string[] {
  const asked = ownership(ids[0] as string, ids);
  return series.map(({ identity }) => asked.ownerOf(newSeries(identity)));
}

test('every node comes to the same owner, in whatever order it knows the others', () => {
  expect(placed(['c', 'a', 'b'])).toEqual(placed(['a', 'b', 'c']));
});

test.each([2, 3, 8])('%i nodes own about as much each', (count) => {
  const ids = Array.from({ length: count }, (_, at) => `ingest-${at}`);
  const owned = new Map<string, number>();
  for (const owner of placed(ids)) owned.set(owner, (owned.get(owner) ?? 0) + 1);
  for (const id of ids) expect(Math.abs((owned.get(id) ?? 0) / series.length - 1 / count)).toBeLessThan(0.02);
});

test.each([1, 2, 3, 7])('one more than %i takes its share from all, and nothing moves between the others', (count) => {
  const ids = Array.from({ length: count }, (_, at) => `ingest-${at}`);
  const before = placed(ids);
  const after = placed([...ids, 'new']);
  const moved = after.filter((owner, at) => owner !== before[at]);
  expect(new Set(moved)).toEqual(new Set(['new']));
  expect(Math.abs(moved.length / series.length - 1 / (count + 1))).toBeLessThan(0.02);
});

test('who leaves is inherited by those who own it afterwards', () => {
  const all = ownership('b', ['a', 'b', 'c']);
  const left = placed(['a', 'c']);
  expect(series.map(({ identity }) => all.heirOf(newSeries(identity)))).toEqual(left);
  expect(ownership('a', []).heirOf(newSeries({ kind: 'gauge', name: 'x', tags: [], source: '' }))).toBeUndefined();
});

test('what runs counts, this node always, and a change is seen by series that knew their owner', () => {
  let nodes: NodeRecord[] = [];
  const asked = new Ownership('b', () => nodes);
  const owners = (): Set<string> => new Set(series.map((each: Series) => asked.ownerOf(each)));
  expect(owners()).toEqual(new Set(['b']));
  nodes = [node('a', 'starting'), node('b', 'stopping'), node('c'), node('d', 'stopping')];
  expect(owners()).toEqual(new Set(['b']));
  asked.refresh();
  expect(owners()).toEqual(new Set(['b', 'c']));
  expect(series.every((each) => asked.isOwn(each) === (asked.ownerOf(each) === 'b'))).toBe(true);
});
