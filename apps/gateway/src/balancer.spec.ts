import { describe, expect, test } from '@jest/globals';
import type { NodeRecord } from '@binnacle/cluster-state/cluster-state';
import { chooseLeastLoaded, slowStartMs, slowStartShare, type Load } from './balancer.js';
import { consecutiveFailuresMax, OutlierDetection } from './outlier-detection.js';

type Facts = Partial<Omit<Load, 'record' | 'outliers'>> & Partial<Pick<NodeRecord, 'state' | 'resourceError'>> & { ejectedAtMs?: number };

function load(id: string, { state = 'running', resourceError, ejectedAtMs, ...facts }: Facts = {}): Load {
  const outliers = new OutlierDetection();
  for (let times = 0; ejectedAtMs !== undefined && times < consecutiveFailuresMax; times++) outliers.failure(ejectedAtMs);
  const record = { id, state, ...(resourceError && { resourceError }) } as NodeRecord;
  return { record, outstanding: 0, outstandingOfOthers: 0, runningSinceMs: -slowStartMs, outliers, ...facts };
}

/** mulberry32: random, and the same in every run. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const limits = { nowMs: 0, outstandingMax: 100, random: seeded(1) };
const chosen = (loads: readonly Load[], tried: readonly Load[] = [], more = {}) => chooseLeastLoaded(loads, tried, { ...limits, ...more })?.record.id;

/** How often each is chosen in 10,000 choices. */
function shares(loads: readonly Load[], nowMs = 0): Record<string, number> {
  const random = seeded(7);
  const counts: Record<string, number> = {};
  for (let choice = 0; choice < 10_000; choice++) {
    const id = chooseLeastLoaded(loads, [], { nowMs, outstandingMax: 100, random })?.record.id ?? 'none';
    counts[id] = (counts[id] ?? 0) + 1;
  }
  return counts;
}

describe('the choice of a node', () => {
  test('the fewest outstanding requests count, those of other gateways too', () => {
    expect(chosen([load('a', { outstanding: 3 }), load('b', { outstanding: 2 }), load('c', { outstanding: 1, outstandingOfOthers: 2 })])).toBe('b');
  });

  test('several alike share evenly', () => {
    for (const count of Object.values(shares([load('a'), load('b'), load('c'), load('d')]))) expect(Math.abs(count - 2_500)).toBeLessThan(200);
  });

  test('a stopping node is chosen only when nobody else is left, a starting one never', () => {
    expect(chosen([load('stops', { state: 'stopping' }), load('busy', { outstanding: 99 })])).toBe('busy');
    expect(chosen([load('stops', { state: 'stopping' }), load('starts', { state: 'starting' })])).toBe('stops');
    expect(chosen([load('starts', { state: 'starting' })])).toBeUndefined();
  });

  test('a node at its limit gets nothing, nor does one that was tried', () => {
    const [full, other] = [load('full', { outstanding: 100 }), load('other', { outstanding: 99 })];
    expect(chosen([full, other])).toBe('other');
    expect(chosen([full, other], [other])).toBeUndefined();
    expect(chosen([])).toBeUndefined();
  });

  test('a node short of disk comes after a busy one', () => {
    expect(chosen([load('short', { resourceError: 'OUT_OF_DISK' }), load('busy', { outstanding: 50 })])).toBe('busy');
    expect(chosen([load('short', { resourceError: 'OUT_OF_DISK' }), load('stops', { state: 'stopping' })])).toBe('short');
  });
});

describe('ejected nodes', () => {
  test('get nothing while another is there', () => {
    expect(shares([load('ejected', { ejectedAtMs: 0 }), load('well', { outstanding: 50 })])).toEqual({ well: 10_000 });
  });

  test('come back when their time is over', () => {
    expect(shares([load('back', { ejectedAtMs: -2_000 }), load('well', { outstanding: 50 })])).toEqual({ back: 10_000 });
  });

  test('are never more than half: those whose time ends first are let in', () => {
    const loads = [load('a', { ejectedAtMs: -900 }), load('b', { ejectedAtMs: -500 }), load('c', { ejectedAtMs: 0 }), load('d', { outstanding: 1 })];
    expect(shares(loads)).toEqual({ a: 10_000 });
    expect(Object.keys(shares(loads.slice(0, 3))).sort()).toEqual(['a', 'b']);
    expect(shares([load('only', { ejectedAtMs: 0 })])).toEqual({ only: 10_000 });
  });
});

describe('slow start', () => {
  test('the share grows in a straight line from a tenth to all', () => {
    expect([0, 500, 1_000, 5_000, 10_000, 60_000].map(slowStartShare)).toEqual([0.1, 0.1, 0.1, 0.5, 1, 1]);
  });

  test('a new node gets its share of the traffic and no more', () => {
    const loads = [load('old'), load('new', { runningSinceMs: 0 })];
    const portion = (nowMs: number) => (shares(loads, nowMs)['new'] ?? 0) / 10_000;
    expect(portion(0)).toBeCloseTo(0.05, 1.5);
    expect(portion(5_000)).toBeCloseTo(0.25, 1.5);
    expect(portion(10_000)).toBeCloseTo(0.5, 1.5);
  });

  test('an idle new node is not flooded while the old one is busy', () => {
    const portion = (shares([load('old', { outstanding: 80 }), load('new', { runningSinceMs: 0 })])['new'] ?? 0) / 10_000;
    expect(portion).toBeCloseTo(0.1, 1.5);
  });

  test('new nodes that are alone serve everything', () => {
    expect(Object.keys(shares([load('a', { runningSinceMs: 0 }), load('b', { runningSinceMs: 0 })])).sort()).toEqual(['a', 'b']);
  });
});
