import { kebabCase, type ValueForm } from './config-key.js';
import { fromJson } from './backend-clusters.js';
import { isListOf, isTable } from './value-forms.js';

/**
 * What to do with metrics whose name and tags match. In every pattern one `*` stands for any text, and `!` before it for everything that does
 * not match. Conditions that are absent hold.
 */
export interface MetricFilterConfig {
  /** The name matches one of them. */
  readonly matchMetrics: readonly string[];
  /** The name matches none of them. */
  readonly excludeMetrics: readonly string[];
  /** A tag matches one of them. */
  readonly matchTags: readonly string[];
  readonly dropMetric: boolean;
  /** The series loses its source. */
  readonly dropHost: boolean;
  readonly dropTags: readonly string[];
  /** Pattern of a tag to what stands in its place, in which `*` is what the star of the pattern stood for. */
  readonly rewriteTags: Readonly<Record<string, string>>;
  readonly addTags: readonly string[];
}

const noFilter: MetricFilterConfig = { matchMetrics: [], excludeMetrics: [], matchTags: [], dropMetric: false, dropHost: false, dropTags: [], rewriteTags: {}, addTags: [] };
const fieldNames = Object.keys(noFilter) as (keyof MetricFilterConfig)[];
const fieldByName = new Map(fieldNames.map((field) => [kebabCase(field), field]));

/** `[[ingest.filters]]` in the file, the same as JSON outside it. A field that is not known makes the whole thing one that does not fit. */
export const metricFilterTables: ValueForm = {
  read(value) {
    const tables = typeof value === 'string' ? fromJson(value) : value;
    if (!Array.isArray(tables)) return value;
    return tables.map((table: unknown) => {
      if (!isTable(table) || Object.keys(table).some((name) => !fieldByName.has(name))) return table;
      return { ...noFilter, ...Object.fromEntries(Object.entries(table).map(([name, content]) => [fieldByName.get(name), content])) };
    });
  },
  show: (filters: readonly MetricFilterConfig[]) =>
    filters.map((filter) =>
      Object.fromEntries([...fieldByName].flatMap(([name, field]) => (JSON.stringify(filter[field]) === JSON.stringify(noFilter[field]) ? [] : [[name, filter[field]]]))),
    ),
};

const filtersMax = 256;
const isPattern = (value: unknown): boolean => typeof value === 'string' && value.length > 0 && value.length <= 256 && value.split('*').length <= 2;
const isTag = (value: unknown): boolean => isPattern(value) && !/[|,\n]/.test(value as string);

export function areMetricFilters(value: unknown): boolean {
  if (!Array.isArray(value) || value.length > filtersMax) return false;
  return value.every((filter: unknown) => isTable(filter) && isMetricFilter(filter as Partial<MetricFilterConfig>));
}

function isMetricFilter({ matchMetrics, excludeMetrics, matchTags, dropMetric, dropHost, dropTags, rewriteTags, addTags }: Partial<MetricFilterConfig>): boolean {
  if (![matchMetrics, excludeMetrics, matchTags, dropTags].every(isListOf(isPattern)) || !isListOf(isTag)(addTags)) return false;
  if (typeof dropMetric !== 'boolean' || typeof dropHost !== 'boolean' || !isTable(rewriteTags)) return false;
  return Object.entries(rewriteTags).every(([from, to]) => isPattern(from) && !from.startsWith('!') && isTag(to) && (from.includes('*') || !(to as string).includes('*')));
}
