import { setImmediate } from 'node:timers/promises';
import type { CacheIndex } from './cache-index.js';
import { fileTypes, type FileTypeNumber } from './file-type.js';

export interface Evicted {
  bytes: number;
  readonly countByType: Float64Array;
  readonly bytesByType: Float64Array;
}

/** An event loop turn is given up after so long in one piece. */
export const sliceMs = 5;
const slotsPerLook = 256;
const lastType = fileTypes.length - 1;

/**
 * Which entries go, in TiFlash's order. Only the lists of what nobody has pinned are looked at, from their old ends, so that the work is
 * that of what is evicted, however much there is.
 */
export class Eviction {
  readonly evicted: Evicted = { bytes: 0, countByType: new Float64Array(fileTypes.length), bytesByType: new Float64Array(fileTypes.length) };

  constructor(
    private readonly index: CacheIndex,
    private readonly capacityBytes: number,
    private readonly nowMs: () => number,
    /** Resolves in another turn of the event loop. */
    private readonly nextTurn: () => Promise<void> = setImmediate,
  ) {}

  /** Room for a new entry: its own type first, then the least important. False: so much cannot be had; what could be is evicted all the same. */
  makeRoom(type: FileTypeNumber, bytes: number, minAgeMs: number): boolean {
    const { index } = this;
    const fits = (): boolean => index.usedBytes + bytes <= this.capacityBytes;
    if (fits()) return true;
    if (bytes > this.capacityBytes) return false;
    for (let step = -1; step <= lastType; step++) {
      const victims = step < 0 ? type : lastType - step;
      // Age does not protect what matters less than the newcomer.
      const usedBeforeMs = victims > type ? Infinity : this.#usedBeforeMs(minAgeMs);
      while (!fits() && this.#evictOldest(victims, usedBeforeMs) > 0);
    }
    return fits();
  }

  /** Until `bytes` more would fit, or nothing is left that may go. Resolves to the bytes released. */
  async bySize(bytes: number, minAgeMs: number, force: boolean): Promise<number> {
    const enough = (): boolean => this.index.usedBytes + bytes <= this.capacityBytes;
    const usedBeforeMs = this.#usedBeforeMs(minAgeMs);
    let released = 0;
    for (let type = lastType; type >= 0 && !enough(); type--) {
      released += await this.#inSlices(() => (enough() ? 0 : this.#evictOldest(type, usedBeforeMs)));
    }
    if (force && !enough()) released += await this.#inSlices(() => (enough() ? 0 : this.#evictOldest(this.#typeOfOldest(), Infinity)));
    return released;
  }

  /** The type and every one that is less important. Resolves to the bytes released. */
  async byType(first: FileTypeNumber): Promise<number> {
    let released = 0;
    for (let type = lastType; type >= first; type--) {
      // Not what is loaded while this runs: it would never end.
      let left = this.index.countByType[type] as number;
      released += await this.#inSlices(() => (left-- > 0 ? this.#evictOldest(type, Infinity) : 0));
    }
    return released;
  }

  /** So many bytes, whatever their age and however much is free by our own count: the disk says that it is full. Resolves to the bytes released. */
  async release(bytes: number): Promise<number> {
    let released = 0;
    for (let type = lastType; type >= 0 && released < bytes; type--) {
      let left = bytes - released;
      released += await this.#inSlices(() => {
        const evicted = left > 0 ? this.#evictOldest(type, Infinity) : 0;
        left -= evicted;
        return evicted;
      });
    }
    return released;
  }

  /** With an age of 0 everything is old enough, also what was used before the wall clock was set back. */
  #usedBeforeMs(minAgeMs: number): number {
    return minAgeMs <= 0 ? Infinity : this.nowMs() - minAgeMs;
  }

  async #inSlices(evictOne: () => number): Promise<number> {
    let released = 0;
    let sliceEndMs = performance.now() + sliceMs;
    for (let count = 1; ; count++) {
      const bytes = evictOne();
      if (bytes === 0) return released;
      released += bytes;
      if (count % slotsPerLook === 0 && performance.now() > sliceEndMs) {
        await this.nextTurn();
        sliceEndMs = performance.now() + sliceMs;
      }
    }
  }

  /** The bytes of what was evicted, 0 for nothing. */
  #evictOldest(type: FileTypeNumber | undefined, usedBeforeMs: number): number {
    const { entries } = this.index;
    const slot = type === undefined ? undefined : entries.oldest(type);
    // "Younger than" is protected, what is exactly as old is not.
    if (slot === undefined || (entries.accessedMs[slot] as number) > usedBeforeMs) return 0;
    const bytes = entries.length[slot] as number;
    this.index.drop(slot);
    this.evicted.bytes += bytes;
    (this.evicted.bytesByType[type as number] as number) += bytes;
    (this.evicted.countByType[type as number] as number)++;
    return bytes;
  }

  /** Of two of the same age, the less important. */
  #typeOfOldest(): FileTypeNumber | undefined {
    const { entries } = this.index;
    let oldest: FileTypeNumber | undefined;
    let oldestMs = Infinity;
    for (let type = lastType; type >= 0; type--) {
      const slot = entries.oldest(type);
      if (slot === undefined || (entries.accessedMs[slot] as number) >= oldestMs) continue;
      oldest = type;
      oldestMs = entries.accessedMs[slot] as number;
    }
    return oldest;
  }
}
