import { NodeContext, type NodePart } from '@binnacle/node-kit/node-context';
import { Injectable } from '@nestjs/common';
import { LRUCache } from 'lru-cache';
import { Counter, Gauge } from 'prom-client';
import type { SearchAnswer } from './search-index.js';

/** What an entry takes besides its key and answer: the cache's own records. */
const entryBytes = 200;

/**
 * Answers of searches that asked to be cached, the least recently used out first. A key names the version of the last write to its
 * table: an answer is never found after the next write, and one that was being made meanwhile is kept under the version it began with,
 * which nobody asks for any more.
 */
@Injectable()
export class ResultCache implements NodePart {
  readonly name = 'search result cache';
  readonly #lookups: Counter<'result'>;
  readonly #running = new Map<string, Promise<SearchAnswer>>();
  #entries: LRUCache<string, SearchAnswer> | undefined;
  #entriesMax = 0;
  #unlisten: () => void = () => {};

  constructor(private readonly node: NodeContext) {
    node.addPart(this);
    this.#lookups = new Counter({
      name: 'binnacle_search_cache_lookups_total',
      help: 'Searches that asked for a cached answer, by whether there was one.',
      labelNames: ['result'],
      registers: [node.metrics],
    });
    const bytes: Gauge = new Gauge({
      name: 'binnacle_search_cache_bytes',
      help: 'Memory that cached answers take.',
      registers: [node.metrics],
      collect: () => bytes.set(this.#entries?.calculatedSize ?? 0),
    });
    this.#resize();
  }

  async start(): Promise<void> {
    this.#resize();
    this.#unlisten = this.node.settings.onChange(() => this.#resize());
  }

  async stop(): Promise<void> {
    this.#unlisten();
  }

  /** The answer kept under the key for at most `ttlS`, or what `search` resolves to: once, however many ask for it at the same time. */
  async answer(key: string, ttlS: number, search: () => Promise<SearchAnswer>): Promise<SearchAnswer> {
    const entries = this.#entries;
    const kept = entries?.get(key);
    this.#lookups.inc({ result: kept === undefined ? 'miss' : 'hit' });
    if (kept !== undefined) return { ...kept, cache: 'hit' };
    let made = this.#running.get(key);
    if (made === undefined) {
      made = search().finally(() => this.#running.delete(key));
      this.#running.set(key, made);
    }
    const answer = await made;
    entries?.set(key, answer, { ttl: ttlS * 1_000 });
    return { ...answer, cache: 'miss' };
  }

  /** The answer kept under the key, for whoever makes answers that may be too large to be kept. */
  kept(key: string): SearchAnswer | undefined {
    const kept = this.#entries?.get(key);
    this.#lookups.inc({ result: kept === undefined ? 'miss' : 'hit' });
    return kept;
  }

  keep(key: string, ttlS: number, answer: SearchAnswer): void {
    this.#entries?.set(key, answer, { ttl: ttlS * 1_000 });
  }

  /** Forgets every answer. */
  clear(): void {
    this.#entries?.clear();
  }

  /** The number of entries is fixed when a cache is made, so a change of the setting begins an empty one. */
  #resize(): void {
    const { cacheNumEntries } = this.node.settings.value();
    if (cacheNumEntries === this.#entriesMax) return;
    this.#entriesMax = cacheNumEntries;
    this.#entries = cacheNumEntries === 0 ? undefined : newCache(cacheNumEntries, this.node.config.storage.cacheMegabytesMax * 2 ** 20);
  }
}

function newCache(max: number, maxSize: number): LRUCache<string, SearchAnswer> {
  return new LRUCache({ max, maxSize, sizeCalculation: ({ body }, key) => body.length + 2 * key.length + entryBytes });
}
