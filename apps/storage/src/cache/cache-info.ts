import { setImmediate as nextTurn } from 'node:timers/promises';
import type { CacheIndex } from './cache-index.js';
import { slotState, transient } from './entry-table.js';
import type { CacheTypeInfo } from './cache-types.js';
import { fileTypes } from './file-type.js';

const minuteMs = 60_000;
/** Ages from the bound before up to this one; what is older than all is in the last bucket. */
const boundsMinutes = [30, 60, 360, 720, 1_440, 2_880, 10_080];
const names = [...boundsMinutes.map((minutes) => `in${minutes}min`), 'over10080min'];
/** Some 2 ms. */
const slotsPerSlice = 200_000;

/** What is kept, by type and age. Looks at every entry, in slices. */
export async function cacheInfo({ entries }: CacheIndex, nowMs: number): Promise<CacheTypeInfo[]> {
  const bytes = fileTypes.map(() => new Float64Array(names.length));
  const counts = fileTypes.map(() => new Float64Array(names.length));
  const oldestMs = new Float64Array(fileTypes.length).fill(Infinity);
  const oldestBytes = new Float64Array(fileTypes.length);
  for (let slot = fileTypes.length; slot < entries.end; slot++) {
    if (slot % slotsPerSlice === 0) await nextTurn();
    if (entries.state[slot] !== slotState.present || ((entries.flags[slot] as number) & transient) !== 0) continue;
    const type = entries.type[slot] as number;
    const length = entries.length[slot] as number;
    const accessedMs = entries.accessedMs[slot] as number;
    const bucket = bucketOf(nowMs - accessedMs);
    ((bytes[type] as Float64Array)[bucket] as number) += length;
    ((counts[type] as Float64Array)[bucket] as number)++;
    if (accessedMs >= (oldestMs[type] as number)) continue;
    oldestMs[type] = accessedMs;
    oldestBytes[type] = length;
  }
  return fileTypes.flatMap((type, number) => {
    const buckets = names
      .map((name, index) => ({ name, bytes: bytes[number]?.[index] as number, count: counts[number]?.[index] as number }))
      .filter(({ count }) => count > 0);
    if (buckets.length === 0) return [];
    const total = { bytes: buckets.reduce((sum, bucket) => sum + bucket.bytes, 0), count: buckets.reduce((sum, { count }) => sum + count, 0) };
    return [{ type, buckets, oldest: { accessedAtMs: oldestMs[number] as number, bytes: oldestBytes[number] as number }, total }];
  });
}

function bucketOf(ageMs: number): number {
  const found = boundsMinutes.findIndex((bound) => ageMs < bound * minuteMs);
  return found < 0 ? boundsMinutes.length : found;
}

/** TiFlash's compact JSON. */
export function cacheInfoJson(info: readonly CacheTypeInfo[]): string {
  return JSON.stringify(
    info.map(({ type, buckets, oldest, total }) => ({
      file_type: type,
      file_type_int: fileTypes.indexOf(type),
      histogram: {
        ...Object.fromEntries(buckets.map(({ name, bytes, count }) => [name, { bytes, count }])),
        oldest: { access_time: accessTime(oldest.accessedAtMs), size: oldest.bytes },
        total,
      },
    })),
  );
}

/** `YYYY-MM-DD HH:MM:SS.ffffff`, UTC. */
function accessTime(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, -1).replace('T', ' ')}000`;
}
