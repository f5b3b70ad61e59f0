import type { Manifest, Segment } from './manifest.js';

export interface MergeLimits {
  /** So many segments of level 0 are merged into level 1. */
  readonly freshSegments: number;
  /** Level 1 may have so many times the bytes of the segments that are merged into it, and each further level so many times those of the one before. */
  readonly growth: number;
  /** More is not merged at once: it has to be on the local disk, twice. */
  readonly mergeBytesMax: number;
}

export const defaultMergeLimits: MergeLimits = { freshSegments: 4, growth: 4, mergeBytesMax: 8 * 2 ** 30 };

export interface PlannedMerge {
  /** Behind one another in the manifest, oldest data first. */
  readonly inputs: readonly Segment[];
  /** Of the output. */
  readonly level: number;
  /** Nothing older is left, so delete marks have nothing left to hide. */
  readonly dropsMarks: boolean;
}

/**
 * What to merge next; undefined: nothing. All of level 0 goes into level 1 once it is many segments; with a level that would be too large then goes
 * the next one, so that no byte is written twice for one merge. A level is one ordered run: its segments do not overlap. A row is so rewritten some
 * `growth / 2` times in each level it comes to, and there are as many levels as the logarithm of the region's size tells.
 */
export function nextMerge(segments: readonly Segment[], limits: MergeLimits = defaultMergeLimits): PlannedMerge | undefined {
  const fresh = segments.filter(({ level }) => level === 0);
  if (fresh.length < limits.freshSegments) return undefined;
  const levelMax = Math.max(...segments.map(({ level }) => level));
  let inputs = fresh;
  let level = 0;
  let bytesMax = bytesOf(fresh);
  do {
    level += 1;
    bytesMax *= limits.growth;
    const own = level;
    inputs = [...segments.filter((segment) => segment.level === own), ...inputs];
  } while (level <= levelMax && bytesOf(inputs) > bytesMax);
  const fitting = withinBytes(inputs, level, limits);
  return fitting && { ...fitting, dropsMarks: fitting.inputs[0] === segments[0] };
}

/** Where all that should be merged is too much, the deepest levels are left out; and nothing is done where level 1 alone is too much. */
function withinBytes(inputs: readonly Segment[], deepest: number, limits: MergeLimits): Omit<PlannedMerge, 'dropsMarks'> | undefined {
  for (let level = deepest; level >= 1; level--) {
    const kept = inputs.filter((segment) => segment.level <= level);
    if (bytesOf(kept) <= limits.mergeBytesMax) return { inputs: kept, level };
  }
  return undefined;
}

function bytesOf(segments: readonly Segment[]): number {
  return segments.reduce((sum, { bytes }) => sum + bytes, 0);
}

/** The manifest with the outputs in place of the inputs. Undefined: not all inputs are in it any more, and the merge was for nothing. */
export function withMerged(manifest: Manifest, inputs: readonly Segment[], outputs: readonly Segment[]): Manifest | undefined {
  const keys = new Set(inputs.map(({ key }) => key));
  const start = manifest.segments.findIndex(({ key }) => keys.has(key));
  const replaced = manifest.segments.slice(start, start + inputs.length);
  if (start < 0 || replaced.length < inputs.length || !replaced.every(({ key }) => keys.has(key))) return undefined;
  return { ...manifest, segments: manifest.segments.toSpliced(start, inputs.length, ...outputs) };
}
