import { expect, test } from '@jest/globals';
import { areMetricFilters, metricFilterTables, type MetricFilterConfig } from '@binnacle/node-kit/metric-filters';
import { parse } from 'smol-toml';
import { Filters } from './filters.js';

function filtered(toml: string, name: string, tags: string[], source = 'web-1'): unknown {
  const configs = metricFilterTables.read(parse(toml)['filters']) as MetricFilterConfig[];
  expect(areMetricFilters(configs)).toBe(true);
  const identity = new Filters(configs).apply({ kind: 'counter', name, tags, source });
  return identity && [identity.name, identity.tags, identity.source];
}

test('without a filter everything stays as it is', () => {
  expect(filtered('filters = []', 'hits', ['a'])).toEqual(['hits', ['a'], 'web-1']);
});

test('a metric is dropped by its name, but for excluded ones', () => {
  const toml = '[[filters]]\nmatch-metrics = ["noisy.*"]\nexclude-metrics = ["noisy.errors"]\ndrop-metric = true';
  expect(filtered(toml, 'noisy.hits', [])).toBeUndefined();
  expect(filtered(toml, 'noisy.errors', [])).toBeDefined();
  expect(filtered(toml, 'quiet', [])).toBeDefined();
});

test('a metric is dropped by a tag, or by what is not there', () => {
  expect(filtered('[[filters]]\nmatch-tags = ["env:dev*"]\ndrop-metric = true', 'hits', ['env:dev-7'])).toBeUndefined();
  expect(filtered('[[filters]]\nmatch-tags = ["env:dev*"]\ndrop-metric = true', 'hits', ['env:prod'])).toBeDefined();
  expect(filtered('[[filters]]\nmatch-metrics = ["!app.*"]\ndrop-metric = true', 'hits', [])).toBeUndefined();
  expect(filtered('[[filters]]\nmatch-metrics = ["!app.*"]\ndrop-metric = true', 'app.hits', [])).toBeDefined();
});

test('tags are dropped, rewritten and added, and are in order after it', () => {
  const toml = `[[filters]]
drop-tags = ["request:*"]
rewrite-tags = { "dc:*" = "datacenter:*", "path:/user/*" = "path:/user/:id", "old" = "new" }
add-tags = ["a:1"]
drop-host = true`;
  expect(filtered(toml, 'hits', ['dc:eu$&', 'old', 'path:/user/7', 'request:9'])).toEqual(['hits', ['a:1', 'datacenter:eu$&', 'new', 'path:/user/:id'], '']);
});

test('two tags that become the same are one, and the next filter sees what the one before made', () => {
  const toml = `[[filters]]
rewrite-tags = { "pod:*" = "pod:any" }
[[filters]]
match-tags = ["pod:any"]
add-tags = ["z"]`;
  expect(filtered(toml, 'hits', ['pod:1', 'pod:2'])).toEqual(['hits', ['pod:any', 'z'], 'web-1']);
});

test.each(['[[filters]]\ndrop-metrics = true', '[[filters]]\ndrop-metric = 1', '[[filters]]\nmatch-metrics = ["a*b*"]', '[[filters]]\nadd-tags = ["a,b"]', '[[filters]]\nrewrite-tags = { "a" = "b*" }', '[filters]\na = 1'])(
  '%s is refused',
  (toml) => expect(areMetricFilters(metricFilterTables.read(parse(toml)['filters']))).toBe(false),
);

test('filters are shown as they are written', () => {
  const [written] = parse('[[filters]]\nmatch-metrics = ["a"]\ndrop-metric = true\nrewrite-tags = { "x" = "y" }')['filters'] as unknown[];
  expect(metricFilterTables.show(metricFilterTables.read([written]) as never)).toEqual([written]);
});
