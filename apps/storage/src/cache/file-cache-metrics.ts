import { Counter, Gauge, type Registry } from 'prom-client';
import type { FileCache } from './file-cache.js';
import { fileTypes } from './file-type.js';

type Statistics = ReturnType<FileCache['statistics']>;

/** What the file cache tells of itself on `/metrics`. */
export class FileCacheMetrics {
  constructor(
    private readonly registry: Registry,
    private readonly cache: FileCache,
  ) {
    this.#count('hits', 'Asks for ranges of a segment that were all there.', ({ hits }) => hits);
    this.#count('misses', 'Asks of which something was not.', ({ misses }) => misses);
    this.#count('hit_bytes', 'Bytes asked for that were there.', ({ hitBytes }) => hitBytes);
    this.#count('miss_bytes', 'Bytes asked for that were not.', ({ missBytes }) => missBytes);
    this.#count('downloads', 'Fetches from the remote store.', ({ fetches }) => fetches);
    this.#count('download_bytes', 'Bytes they brought.', ({ fetchedBytes }) => fetchedBytes);
    this.#count('download_needed_bytes', 'Those of them that were asked for.', ({ neededBytes }) => neededBytes);
    this.#count('download_failures', 'Fetches that failed.', ({ failures }) => failures);
    this.#count('downloads_abandoned', 'Fetches ended since nobody waited for them any more.', ({ abandoned }) => abandoned);
    this.#count('corrupted', 'Entries whose bytes were not those of their checksum; they are fetched again.', ({ corrupted }) => corrupted);
    this.#count('spare_reads', 'Asks served from a temporary file, since the disk of the cache took nothing.', ({ spareReads }) => spareReads);
    this.#count('disk_errors', 'Failures of the disk of the cache.', ({ diskErrors }) => diskErrors);
    this.#count('index_written_bytes', 'Bytes written to the index file.', ({ indexFileBytes }) => indexFileBytes);
    this.#measure('capacity_bytes', 'What entries may take.', () => cache.capacityBytes);
    this.#measure('transient_bytes', 'On disk for as long as somebody reads it.', ({ transientBytes }) => transientBytes);
    this.#measure('allocated_bytes', 'What the files take, as the file system says.', ({ allocatedBytes }) => allocatedBytes);
    this.#measure('spare_bytes', 'In temporary files.', ({ spareBytes }) => spareBytes);
    this.#measure('segments', 'Segments of which something is there.', ({ mirrors }) => mirrors);
    this.#measure('downloads_running', 'Fetches that run.', ({ running }) => running);
    this.#measure('downloads_waiting', 'Fetches that wait for others to end, and readers that wait to begin one.', ({ waiting }) => waiting);
    this.#byType('bytes', 'Bytes of entries.', Gauge, ({ bytesByType }) => bytesByType);
    this.#byType('entries', 'Entries.', Gauge, ({ countByType }) => countByType);
    this.#byType('evictions_total', 'Entries evicted.', Counter, ({ evicted }) => evicted.countByType);
    this.#byType('evicted_bytes_total', 'Bytes evicted.', Counter, ({ evicted }) => evicted.bytesByType);
  }

  #count(name: string, help: string, value: (statistics: Statistics) => number): void {
    const { cache } = this;
    new Counter({
      name: `binnacle_file_cache_${name}_total`,
      help,
      registers: [this.registry],
      collect() {
        this.reset();
        this.inc(value(cache.statistics()));
      },
    });
  }

  #measure(name: string, help: string, value: (statistics: Statistics) => number): void {
    const { cache } = this;
    new Gauge({
      name: `binnacle_file_cache_${name}`,
      help,
      registers: [this.registry],
      collect() {
        this.set(value(cache.statistics()));
      },
    });
  }

  #byType(name: string, help: string, Kind: typeof Gauge | typeof Counter, values: (statistics: Statistics) => Float64Array): void {
    const { cache } = this;
    const metric: Gauge<'type'> | Counter<'type'> = new Kind<'type'>({
      name: `binnacle_file_cache_${name}`,
      help,
      labelNames: ['type'],
      registers: [this.registry],
      collect() {
        metric.reset();
        const now = values(cache.statistics());
        for (const [number, type] of fileTypes.entries()) metric.inc({ type }, now[number] as number);
      },
    });
  }
}
