import { expect, test } from '@jest/globals';
import { FakeClock } from '@binnacle/testing/fake-clock';
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import { WorkerMetrics } from './worker-metrics.js';

function worker() {
  const registry = new Registry();
  const registers = [registry];
  return {
    registry,
    queries: new Counter({ name: 'queries_total', help: 'Queries.', labelNames: ['backend'], registers }),
    sessions: new Gauge({ name: 'sessions', help: 'Sessions.', registers }),
    seconds: new Histogram({ name: 'seconds', help: 'Time.', buckets: [1, 2], registers }),
  };
}

test('what workers count adds up, and stays when one of them dies', async () => {
  const workers = [worker(), worker()];
  const clock = new FakeClock();
  const registry = new Registry();
  const metrics = new WorkerMetrics(clock, registry, () =>
    Promise.all(workers.map(async ({ registry: own }, number) => ({ worker: number, answer: structuredClone(await own.getMetricsAsJSON()) }))),
  );
  const lines = async (): Promise<string[]> => {
    // Answers are kept for a moment.
    await clock.advance(300);
    return (await registry.metrics()).split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  };
  await metrics.start();
  workers[0]!.queries.inc({ backend: 'a:1' }, 3);
  workers[1]!.queries.inc({ backend: 'a:1' }, 4);
  workers[1]!.queries.inc({ backend: 'b:1' });
  workers[0]!.sessions.set(10);
  workers[1]!.sessions.set(5);
  workers[1]!.seconds.observe(1.5);
  expect(await lines()).toEqual(expect.arrayContaining(['queries_total{backend="a:1"} 7', 'queries_total{backend="b:1"} 1', 'sessions 15', 'seconds_bucket{le="2"} 1', 'seconds_count 1']));

  workers.pop();
  await metrics.died(1);
  workers[0]!.queries.inc({ backend: 'a:1' });
  expect(await lines()).toEqual(expect.arrayContaining(['queries_total{backend="a:1"} 8', 'queries_total{backend="b:1"} 1', 'sessions 10', 'seconds_count 1']));
});
