import type { MetricFilterConfig } from '@binnacle/node-kit/metric-filters';
import { Pattern } from './pattern.js';
import type { SeriesIdentity } from './series.js';
import { normalTags } from './tags.js';

class Filter {
  readonly #metrics: readonly Pattern[];
  readonly #notMetrics: readonly Pattern[];
  readonly #tags: readonly Pattern[];
  readonly #dropTags: readonly Pattern[];
  readonly #rewrites: readonly { readonly pattern: Pattern; readonly to: string }[];

  constructor(private readonly config: MetricFilterConfig) {
    const patterns = (texts: readonly string[]): Pattern[] => texts.map((text) => new Pattern(text));
    this.#metrics = patterns(config.matchMetrics);
    this.#notMetrics = patterns(config.excludeMetrics);
    this.#tags = patterns(config.matchTags);
    this.#dropTags = patterns(config.dropTags);
    this.#rewrites = Object.entries(config.rewriteTags).map(([from, to]) => ({ pattern: new Pattern(from), to }));
  }

  /** Undefined: the metric is dropped. */
  apply(identity: SeriesIdentity): SeriesIdentity | undefined {
    if (!this.#concerns(identity)) return identity;
    const { dropMetric, dropHost, addTags } = this.config;
    if (dropMetric) return undefined;
    const kept = identity.tags.filter((tag) => !this.#dropTags.some((pattern) => pattern.matches(tag)));
    const tags = normalTags([...kept.map((tag) => this.#rewritten(tag)), ...addTags]);
    return { ...identity, tags, source: dropHost ? '' : identity.source };
  }

  #concerns({ name, tags }: SeriesIdentity): boolean {
    const isOneOf = (patterns: readonly Pattern[], text: string): boolean => patterns.some((pattern) => pattern.matches(text));
    if (this.#metrics.length > 0 && !isOneOf(this.#metrics, name)) return false;
    if (isOneOf(this.#notMetrics, name)) return false;
    return this.#tags.length === 0 || tags.some((tag) => isOneOf(this.#tags, tag));
  }

  /** By the first rule that fits; a star on both sides is the same text. */
  #rewritten(tag: string): string {
    for (const { pattern, to } of this.#rewrites) {
      const captured = pattern.captured(tag);
      if (captured !== undefined) return to.replace('*', () => captured);
    }
    return tag;
  }
}

/** The filters of the configuration, one after the other: what one rewrote is what the next one sees. */
export class Filters {
  readonly #filters: readonly Filter[];

  constructor(configs: readonly MetricFilterConfig[]) {
    this.#filters = configs.map((config) => new Filter(config));
  }

  /** The identity that what came is counted under; undefined when it is dropped. */
  apply(identity: SeriesIdentity): SeriesIdentity | undefined {
    let current: SeriesIdentity | undefined = identity;
    for (const filter of this.#filters) {
      current = filter.apply(current);
      if (current === undefined) return undefined;
    }
    return current;
  }
}
