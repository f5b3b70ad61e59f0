import { expect, test } from '@jest/globals';
import type { NodeRecord } from '@binnacle/cluster-state/cluster-state';
import { FakeClock } from '@binnacle/testing/fake-clock';
import { Upstreams } from './upstream.js';

const record = (facts: Partial<NodeRecord> = {}): NodeRecord =>
  ({ id: 'a', incarnation: '1', host: '127.0.0.1', port: 1, state: 'running', outstandingRequests: 0, ...facts }) as NodeRecord;

function directoryOf(...first: NodeRecord[]) {
  let nodes = first;
  let changed = (): void => undefined;
  return {
    all: () => nodes,
    byId: (id: string) => nodes.find((node) => node.id === id),
    onChange: (listener: () => void) => {
      changed = listener;
      return () => (changed = () => undefined);
    },
    set: (...next: NodeRecord[]) => {
      nodes = next;
      changed();
    },
  };
}

test('what others have on their way is what a node reports, less what was ours when it did', () => {
  const directory = directoryOf(record());
  const upstreams = new Upstreams({ directory, clock: new FakeClock(), outstandingPerNodeMax: 10 });
  const upstream = upstreams.of(record());
  upstream.outstanding = 3;
  directory.set(record({ outstandingRequests: 8 }));
  expect(upstream.outstandingOfOthers).toBe(5);
  upstream.outstanding = 1;
  expect(upstream.outstandingOfOthers).toBe(5);
  directory.set(record({ outstandingRequests: 0 }));
  expect(upstream.outstandingOfOthers).toBe(0);
});

test('slow start begins when a node is first seen running, and anew when it was restarted', async () => {
  const clock = new FakeClock();
  const directory = directoryOf(record({ state: 'starting' }));
  const upstreams = new Upstreams({ directory, clock, outstandingPerNodeMax: 10 });
  expect(upstreams.of(record({ state: 'starting' })).runningSinceMs).toBeUndefined();
  await clock.advance(1_000);
  directory.set(record());
  await clock.advance(1_000);
  directory.set(record({ eventLoopDelayMs: 1 }));
  expect(upstreams.of(directory.all()[0] as NodeRecord).runningSinceMs).toBe(1_000);
  directory.set(record({ incarnation: '2' }));
  expect(upstreams.of(directory.all()[0] as NodeRecord).runningSinceMs).toBe(2_000);
});

test('a restarted node is not blamed for what its predecessor did', () => {
  const directory = directoryOf(record());
  const upstreams = new Upstreams({ directory, clock: new FakeClock(), outstandingPerNodeMax: 10 });
  const before = upstreams.of(directory.all()[0] as NodeRecord);
  for (let times = 0; times < 5; times++) before.outliers.failure(0);
  before.outstanding = 7;
  directory.set(record({ incarnation: '2' }));
  const after = upstreams.of(directory.all()[0] as NodeRecord);
  expect([after.outliers.isEjected(1), after.outstanding]).toEqual([false, 0]);
});

test('a node that is gone is forgotten', () => {
  const directory = directoryOf(record(), record({ id: 'b' }));
  const upstreams = new Upstreams({ directory, clock: new FakeClock(), outstandingPerNodeMax: 10 });
  directory.set(record());
  expect([...upstreams.all()].map((each) => each.record.id)).toEqual(['a']);
});
