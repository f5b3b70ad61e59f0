import { mkdtempSync, rmSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ByteRange } from '@binnacle/object-store/object-store';
import { FakeClock } from '@binnacle/testing/fake-clock';
import type { CachedSegment, FileCacheLimits, FileCacheOptions, Pin, TypedRange } from '../src/cache/cache-types.js';
import { FileCache } from '../src/cache/file-cache.js';
import type { FileType } from '../src/cache/file-type.js';

export const mebibyte = 2 ** 20;

/** Of random bytes, as long as a prime: its repetitions fit no block, and it has no run of zeros. */
const pattern = Buffer.from(Uint32Array.from({ length: 262_144 }, (_, index) => Math.imul(index + 1, 2_654_435_761) | 1).buffer).subarray(0, 1_048_573);

/** What the remote store has in a range of a segment: the same always. */
export function contentOf(key: string, { offset, length }: ByteRange): Buffer {
  const seed = [...key].reduce((sum, letter) => (sum * 31 + letter.charCodeAt(0)) % pattern.length, 7);
  const content = Buffer.allocUnsafe(length);
  for (let at = 0; at < length; ) {
    const from = (offset + at + seed) % pattern.length;
    at += pattern.copy(content, at, from);
  }
  return content;
}

export interface Fetch extends ByteRange {
  readonly key: string;
  readonly signal: AbortSignal;
  answer(): void;
  fail(error: Error): void;
}

/** A cache on real files, with a fake clock and a remote store that notes what it is asked. */
export class TestableCache {
  clock = new FakeClock();
  readonly fetches: Fetch[] = [];
  readonly warnings: unknown[] = [];
  /** Fetches wait for `answer` or `fail`. */
  held = false;
  limits: FileCacheLimits = { fileLevel: 100, minAgeMs: 0, downloads: 4, downloadsMax: 20 };
  cache: FileCache;
  readonly #left: FileCache[] = [];

  constructor(
    readonly folder = mkdtempSync(join(tmpdir(), 'binnacle-file-cache-')),
    private readonly options: Partial<FileCacheOptions> = {},
  ) {
    this.cache = this.#open();
  }

  /** Another cache on the same folder, as after a restart. The old one is just left, as by kill -9, unless it was stopped. */
  reopen(): void {
    this.#left.push(this.cache);
    // The timers of the old one do not fire any more.
    this.clock = new FakeClock(this.clock.nowMs());
    this.cache = this.#open();
  }

  async remove(): Promise<void> {
    // Also those that were left: their files would be closed by the garbage collector, with a warning.
    for (const cache of [...this.#left, this.cache]) await cache.stop();
    rmSync(this.folder, { recursive: true, force: true });
    for (const folder of this.cache.folders()) rmSync(folder, { recursive: true, force: true });
  }

  /** Acquires, compares every byte, releases. */
  async read(segment: CachedSegment, ranges: readonly TypedRange[]): Promise<void> {
    const pin = await this.cache.acquire(segment, ranges);
    try {
      await expectContent(pin, segment, ranges);
    } finally {
      pin.release();
    }
  }

  async usedBytes(): Promise<number> {
    return (await this.cache.info(this.clock.nowMs())).reduce((sum, { total }) => sum + total.bytes, 0);
  }

  #open(): FileCache {
    return new FileCache(async (key, range, signal) => this.#fetch(key, range, signal), this.clock, {
      folder: this.folder,
      capacityBytes: 64 * mebibyte,
      limits: () => this.limits,
      warn: (error) => this.warnings.push(error),
      ...this.options,
    });
  }

  async #fetch(key: string, range: ByteRange, signal: AbortSignal): Promise<Buffer> {
    return await new Promise((resolve, reject) => {
      const fetch: Fetch = { key, ...range, signal, answer: () => resolve(contentOf(key, range)), fail: reject };
      signal.addEventListener('abort', () => reject(signal.reason as Error));
      this.fetches.push(fetch);
      if (!this.held) fetch.answer();
    });
  }
}

/** Throws when the file of the pin is not what the remote store has. */
export async function expectContent(pin: Pin, { key, bytes }: CachedSegment, ranges: readonly ByteRange[]): Promise<void> {
  const file = await open(pin.path, 'r');
  try {
    const { size } = await file.stat();
    if (size !== bytes) throw new Error(`${key} is ${size} bytes long instead of ${bytes}`);
    for (const { offset, length } of ranges) {
      const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, offset);
      if (bytesRead !== length || !buffer.equals(contentOf(key, { offset, length }))) throw new Error(`${length} bytes at ${offset} of ${key} are not what they should be`);
    }
  } finally {
    await file.close();
  }
}

export const segment = (name: string, bytes: number): CachedSegment => ({ key: `regions/1/256/segments/${name}.parquet`, bytes });

export const range = (offset: number, length: number, type: FileType = 'ColData'): TypedRange => ({ offset, length, type });
