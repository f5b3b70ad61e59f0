import { expect, test } from '@jest/globals';
import { Registry } from 'prom-client';
import { RequestMetrics } from './request-metrics.js';

const line = async (registry: Registry, start: string) => (await registry.metrics()).split('\n').find((each) => each.startsWith(start));
const name = 'binnacle_gateway_request_duration_seconds';

test('requests are in the buckets that a histogram has, by route, dialect and status class', async () => {
  const registry = new Registry();
  const metrics = new RequestMetrics(registry);
  const labels = { route: { path: '/a/:b' }, dialect: 'tiflash' } as const;
  for (const latencyMs of [0.05, 0.1, 3, 200_000]) metrics.observe(labels, 200, latencyMs);
  metrics.observe(labels, 503, 1);
  const series = 'route="/a/:b",dialect="tiflash",status="2xx"';
  expect(await line(registry, `${name}_bucket{${series},le="0.0001"}`)).toMatch(/ 2$/);
  expect(await line(registry, `${name}_bucket{${series},le="0.0025"}`)).toMatch(/ 2$/);
  expect(await line(registry, `${name}_bucket{${series},le="0.005"}`)).toMatch(/ 3$/);
  expect(await line(registry, `${name}_bucket{${series},le="120"}`)).toMatch(/ 3$/);
  expect(await line(registry, `${name}_bucket{${series},le="+Inf"}`)).toMatch(/ 4$/);
  expect(await line(registry, `${name}_count{${series}}`)).toMatch(/ 4$/);
  expect(Number((await line(registry, `${name}_sum{${series}}`))?.split(' ')[1])).toBeCloseTo(200.00315);
  expect(await line(registry, `${name}_count{route="/a/:b",dialect="tiflash",status="5xx"}`)).toMatch(/ 1$/);
  expect(await registry.metrics()).toContain(`# TYPE ${name} histogram`);
});

test('two listeners that serve a row in the same dialect share its series', async () => {
  const registry = new Registry();
  const metrics = new RequestMetrics(registry);
  for (let listener = 0; listener < 2; listener++) metrics.observe({ route: { path: '/a' }, dialect: 'typesense' }, 200, 1);
  expect(await line(registry, `${name}_count{`)).toMatch(/ 2$/);
});

test('a registry that is reset forgets, and one read as JSON has the same values', async () => {
  const registry = new Registry();
  const metrics = new RequestMetrics(registry);
  metrics.observe({ route: { path: '/a' }, dialect: 'typesense' }, 200, 1);
  expect(JSON.stringify(await registry.getMetricsAsJSON())).toContain('"/a"');
  registry.resetMetrics();
  expect(await line(registry, `${name}_count{`)).toBeUndefined();
});
