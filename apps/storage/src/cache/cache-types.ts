import type { ByteRange } from '@binnacle/object-store/object-store';
import type { FileType } from './file-type.js';
import type { PunchHole } from './punch-hole.js';

/** An immutable object of the remote store. */
export interface CachedSegment {
  readonly key: string;
  readonly bytes: number;
}

export interface TypedRange extends ByteRange {
  readonly type: FileType;
}

/** Ranges of a segment that are local, and stay so until `release`. */
export interface Pin {
  /** A local file as long as the segment, in which the ranges have their bytes at their offsets; everything else in it is undefined. */
  readonly path: string;
  /** Call when a reader of the file failed: the bytes are compared with their checksums before anybody is given them again. Then release, and acquire again. */
  doubt(): void;
  /** Once; more is harmless. The file must not be opened after it. */
  release(): void;
}

/** Bytes of the remote store: resolves to exactly `range.length` of them. */
export type FetchRange = (key: string, range: ByteRange, signal: AbortSignal) => Promise<Buffer>;

export interface FileCacheLimits {
  /** Types above this number are not kept after they were read. */
  readonly fileLevel: number;
  /** Files used within this time are evicted for files of higher priority alone. */
  readonly minAgeMs: number;
  /** Fetches that run at the same time. */
  readonly downloads: number;
  /** Fetches that run or wait; who needs more waits for a place. */
  readonly downloadsMax: number;
}

export interface FileCacheOptions {
  readonly folder: string;
  /** Of the disk for the cache; entries take 75 % of it, what is read without being kept 15 %. 0: nothing is kept. */
  readonly capacityBytes: number;
  /** Asked whenever they are needed: they change while the node runs. */
  readonly limits: () => FileCacheLimits;
  /** Told of a disk that fails, at most once a minute. */
  readonly warn?: (error: unknown, message: string) => void;
  /** What is read without the disk, all readers together: 256 MiB. */
  readonly spareBytesMax?: number;
  /** Another way to free blocks than the system's. */
  readonly punchHole?: PunchHole;
}

export interface EvictBySize {
  /** So many bytes shall be free. */
  readonly reserveBytes: number;
  readonly minAgeMs: number;
  /** Young files go as well when old ones are not enough. */
  readonly force: boolean;
}

/** The files of one type by the time since their last use. */
export interface CacheTypeInfo {
  readonly type: FileType;
  readonly buckets: readonly { readonly name: string; readonly bytes: number; readonly count: number }[];
  readonly oldest: { readonly accessedAtMs: number; readonly bytes: number };
  readonly total: { readonly bytes: number; readonly count: number };
}

