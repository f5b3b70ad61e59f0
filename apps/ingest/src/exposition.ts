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

export interface Family {
  readonly name: string;
  readonly type: string;
  /** Lines, each with its end. */
  readonly samples: string[];
}

/** So that a large exposition does not hold up everything else. */
const seriesPerTurn = 1_000;
const samplesPerPiece = 2_000;

export const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** The exposition in pieces. */
export async function* exposition(series: Iterable<Series>, format: ExpositionFormat): AsyncGenerator<string> {
  const families = new Map<string, Family>();
  let added = 0;
  for (const each of series) {
    addSamples(families, each, format);
    added += 1;
    if (added % seriesPerTurn === 0) await nextTurn();
  }
  yield* familiesText(families.values(), format);
}

/** In pieces; every family is whole and comes once, as both formats want it. */
export async function* familiesText(families: Iterable<Family>, format: ExpositionFormat): AsyncGenerator<string> {
  let piece: string[] = [];
  for (const { name, type, samples } of families) {
    piece.push(`# TYPE ${name} ${type}\n`);
    for (const sample of samples) {
      if (piece.push(sample) < samplesPerPiece) continue;
      yield piece.join('');
      await nextTurn();
      piece = [];
    }
  }
  if (format === 'openMetrics') piece.push('# EOF\n');
  yield piece.join('');
}

function addSamples(families: Map<string, Family>, series: Series, format: ExpositionFormat): void {
  const base = metricName(series.identity.name);
  const labels = labelsOf(series);
  const add = (suffix: string, type: FamilyType, sampleSuffix: string, value: number, more = ''): void => {
    // Two kinds under one name are two families; a name of statsd may end in what one of them adds, and then both share the second name.
    const name = familyName(families, base + suffix, type);
    const family = families.get(name) ?? { name, type, samples: [] };
    families.set(name, family);
    const all = labels === '' ? more : more === '' ? labels : `${labels},${more}`;
    family.samples.push(`${name}${sampleSuffix}${all === '' ? '' : `{${all}}`} ${numberText(value)}\n`);
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

function familyName(families: ReadonlyMap<string, Family>, wanted: string, type: FamilyType): string {
  const there = families.get(wanted);
  if (there === undefined || there.type === type) return wanted;
  return familyName(families, `${wanted}_${type}`, type);
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

function numberText(value: number): string {
  if (Number.isFinite(value)) return String(value);
  return Number.isNaN(value) ? 'NaN' : value > 0 ? '+Inf' : '-Inf';
}
