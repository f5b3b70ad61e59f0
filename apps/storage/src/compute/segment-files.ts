import { open } from 'node:fs/promises';
import { LRUCache } from 'lru-cache';
import type { FileCache } from '../cache/file-cache.js';
import type { Pin, TypedRange } from '../cache/cache-types.js';
import { mergedBytesMax } from '../cache/file-type.js';
import { eachOf } from '../each-of.js';
import { type ColumnChunk, columnChunks } from '../remote/column-chunks.js';
import type { Segment } from '../remote/manifest.js';

/** Segments that are local as far as a query reads them. */
export interface PinnedSegments {
  readonly paths: ReadonlyMap<string, string>;
  /** Bytes of the ranges that were asked for. */
  readonly bytes: number;
  /** A reader failed: what was pinned is compared with its checksums before anybody is given it again. */
  doubt(): void;
  release(): void;
}

/** Of the chunks of all segments whose footers are kept: some 100 bytes each. */
const chunksKeptMax = 200_000;
/** Segments acquired at the same time for one query; the cache bounds its downloads itself. */
const acquiredTogether = 32;

/** What of a segment is local: at first the footer, to bind a query against; then the columns that it reads. */
export class SegmentFiles {
  readonly #chunks = new LRUCache<string, readonly ColumnChunk[]>({ maxSize: chunksKeptMax, sizeCalculation: (chunks) => Math.max(1, chunks.length) });

  constructor(private readonly cache: Pick<FileCache, 'acquire'>) {}

  /** `columnsOf`: names of columns; undefined for all; nothing but the footer for none. */
  async pin(segments: readonly Segment[], columnsOf: (segment: Segment) => readonly string[] | undefined, signal: AbortSignal): Promise<PinnedSegments> {
    const pins = new Map<string, Pin>();
    let bytes = 0;
    const release = (): void => pins.forEach((pin) => pin.release());
    try {
      const acquire = async (segment: Segment): Promise<void> => {
        const ranges = await this.#ranges(segment, columnsOf(segment), signal);
        bytes += ranges.reduce((sum, { length }) => sum + length, 0);
        pins.set(segment.key, await this.cache.acquire(segment, ranges, signal));
      };
      // Those that were begun are waited for: what they pinned is released with the rest.
      await eachOf(segments, acquiredTogether, acquire, { stopsAtFailure: true });
    } catch (error) {
      release();
      throw error;
    }
    return { paths: new Map([...pins].map(([key, pin]) => [key, pin.path])), bytes, doubt: () => pins.forEach((pin) => pin.doubt()), release };
  }

  async #ranges(segment: Segment, columns: readonly string[] | undefined, signal: AbortSignal): Promise<TypedRange[]> {
    if (segment.bytes < mergedBytesMax) return [{ offset: 0, length: segment.bytes, type: 'Merged' }];
    const meta: TypedRange = { offset: segment.metaOffset, length: segment.bytes - segment.metaOffset, type: 'Meta' };
    if (columns?.length === 0) return [meta];
    const chunks = (await this.#chunksOf(segment, meta, signal)).filter(({ column }) => columns?.includes(column) ?? true);
    return [meta, ...chunks.map(({ offset, length, type }) => ({ offset, length, type }))];
  }

  async #chunksOf(segment: Segment, meta: TypedRange, signal: AbortSignal): Promise<readonly ColumnChunk[]> {
    const kept = this.#chunks.get(segment.key);
    if (kept !== undefined) return kept;
    const pin = await this.cache.acquire(segment, [meta], signal);
    try {
      const chunks = columnChunks(await bytesAt(pin.path, meta), segment);
      this.#chunks.set(segment.key, chunks);
      return chunks;
    } catch (error) {
      pin.doubt();
      throw error;
    } finally {
      pin.release();
    }
  }
}

async function bytesAt(path: string, { offset, length }: TypedRange): Promise<Buffer> {
  const file = await open(path, 'r');
  try {
    const bytes = Buffer.alloc(length);
    const { bytesRead } = await file.read(bytes, 0, length, offset);
    return bytes.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}
