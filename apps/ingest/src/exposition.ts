import { setImmediate as nextTurn } from 'node:timers/promises';
import { Families } from './families.js';
import type { Series } from './series/series.js';
import { splitTag } from './series/tags.js';

/*
 * Series in Prometheus' text format and in OpenMetrics. Not by prom-client: there a metric has one set of labels, while tags come as they please, and
 * each series would be held a second time.
 */

export const expositionTypes = {
  prometheus: 'text/plain; version=0.0.4; charset=utf-8',
  openMetrics: 'application/openmetrics-text; version=1.0.0; charset=utf-8',
} as const;
export type ExpositionFormat = keyof typeof expositionTypes;

/** OpenMetrics where the client names it, as Prometheus does. */
export function expositionFormat(accept: string | undefined): ExpositionFormat {
  return /application\/openmetrics-text/i.test(accept ?? '') ? 'openMetrics' : 'prometheus';
}

type FamilyType = 'counter' | 'gauge' | 'summary';

/** So that a large exposition does not hold up everything else. */
const seriesPerTurn = 250;

/** The exposition in pieces. */
export async function* exposition(series: Iterable<Series>, format: ExpositionFormat): AsyncGenerator<string> {
  const families = new Families(format);
  let added = 0;
  for (const each of series) {
    addSamples(families, each, format);
    added += 1;
    if (added % seriesPerTurn === 0) await nextTurn();
  }
  yield* families.text();
}

function addSamples(families: Families, series: Series, format: ExpositionFormat): void {
  const base = metricName(series.identity.name);
  const labels = labelsOf(series);
  const add = (suffix: string, type: FamilyType, sampleSuffix: string, value: number, more = ''): void => {
    const all = labels === '' ? more : more === '' ? labels : `${labels},${more}`;
    families.add(families.family(base + suffix, type), sampleSuffix, all === '' ? '' : `{${all}}`, value);
  };
  switch (series.kind) {
    case 'counter':
      // In OpenMetrics the family has the name without `_total`, in the older format with it.
      if (format === 'openMetrics') add('', 'counter', '_total', series.total + series.value);
      else add('_total', 'counter', '', series.total + series.value);
      return;
    case 'gauge':
      return add('', 'gauge', '', series.value);
    case 'set':
      return add('_unique', 'gauge', '', series.count);
    case 'timer':
      add('', 'summary', '_count', series.totalCount);
      add('', 'summary', '_sum', series.totalSum);
      if (series.figures === undefined) return;
      for (const { percent, boundary } of series.figures.percents) if (percent > 0) add('', 'summary', '', boundary, `quantile="${percent / 100}"`);
      add('_mean', 'gauge', '', series.figures.mean);
      add('_median', 'gauge', '', series.figures.median);
      add('_stddev', 'gauge', '', series.figures.standardDeviation);
      add('_min', 'gauge', '', series.figures.min);
      add('_max', 'gauge', '', series.figures.max);
  }
}

/** Letters, digits and underscores; what else is in a name becomes an underscore. */
export function metricName(name: string): string {
  const sanitised = name.replace(/[^A-Za-z0-9_]/g, '_');
  return /^[0-9]/.test(sanitised) ? `_${sanitised}` : sanitised;
}

/** Tags as labels: `env:prod` is `env="prod"`, a tag without a value is `tag="true"`, the source is `source`. Of tags with one name all values count. */
function labelsOf({ identity: { tags, source } }: Series): string {
  const values = new Map<string, string>();
  for (const tag of tags) {
    const { name, value = 'true' } = splitTag(tag);
    const label = labelName(name);
    const before = values.get(label);
    values.set(label, before === undefined ? value : `${before},${value}`);
  }
  if (source !== '' && !values.has('source')) values.set('source', source);
  return [...values].map(([label, value]) => `${label}="${escaped(value)}"`).join(',');
}

/** Names that begin with two underscores are Prometheus' own, and `quantile` is a summary's. */
function labelName(name: string): string {
  const sanitised = metricName(name).replace(/^_+/, '_');
  if (sanitised === '' || sanitised === '_') return 'tag';
  return sanitised === 'quantile' || sanitised === 'le' ? `tag_${sanitised}` : sanitised;
}

const escaped = (value: string): string => value.replace(/[\\"\n]/g, (character) => (character === '\n' ? '\\n' : `\\${character}`));
