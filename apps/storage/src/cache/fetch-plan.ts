import { fileTypes, mergedBytesMax, type FileTypeNumber } from './file-type.js';
import type { CachedSegment, TypedRange } from './cache-types.js';

/** An entry is at most this long, so that one fetch, which is in memory as a whole, is too. */
export const entryBytesMax = 16 * 2 ** 20;
/** Of what is fetched, not more than this share of what is needed is there only because it lies in between. */
const wasteShareMax = 0.1;
/** Of one fetch: it is looked through whenever one of them loses its last reader. */
const partsMax = 1_000;

export interface WantedRange {
  readonly offset: number;
  readonly length: number;
  readonly type: FileTypeNumber;
}

export interface PlannedFetch {
  readonly offset: number;
  readonly length: number;
  readonly parts: readonly WantedRange[];
}

/** The ranges as entries: ascending, without overlap (the first to name a byte gives its type), none too long. Throws `RangeError` on what is not in the segment. */
export function wantedRanges(segment: CachedSegment, ranges: readonly TypedRange[]): WantedRange[] {
  const { key, bytes } = segment;
  for (const { offset, length } of ranges) {
    if (!(offset >= 0 && length > 0 && offset + length <= bytes)) throw new RangeError(`bytes ${offset} to ${offset + length} are not in ${key} of ${bytes}`);
  }
  if (ranges.length === 0) return [];
  if (bytes < mergedBytesMax) return [{ offset: 0, length: bytes, type: fileTypes.indexOf('Merged') }];
  const wanted: WantedRange[] = [];
  let covered = 0;
  for (const { offset, length, type } of [...ranges].sort((one, other) => one.offset - other.offset)) {
    const end = offset + length;
    for (let from = Math.max(covered, offset); from < end; from += entryBytesMax) {
      wanted.push({ offset: from, length: Math.min(end - from, entryBytesMax), type: fileTypes.indexOf(type) });
    }
    covered = Math.max(covered, end);
  }
  return wanted;
}

/**
 * Neighbours are fetched together as long as what lies between them is little: a request costs as much as some megabytes do, but the
 * bytes of a scan should be those of its columns.
 */
export function planFetches(missing: readonly WantedRange[]): PlannedFetch[] {
  const fetches: { offset: number; length: number; needed: number; parts: WantedRange[] }[] = [];
  for (const part of missing) {
    const last = fetches.at(-1);
    if (last !== undefined) {
      const length = endOf(part) - last.offset;
      const needed = last.needed + part.length;
      if (length <= entryBytesMax && last.parts.length < partsMax && length - needed <= needed * wasteShareMax) {
        Object.assign(last, { length, needed });
        last.parts.push(part);
        continue;
      }
    }
    fetches.push({ offset: part.offset, length: part.length, needed: part.length, parts: [part] });
  }
  return fetches;
}

const endOf = ({ offset, length }: WantedRange): number => offset + length;
