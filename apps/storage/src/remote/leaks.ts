import type { GarbageState } from './collection.js';
import type { Garbage, GarbageReason } from './garbage.js';

export interface Leak {
  readonly key: string;
  readonly bytes: number;
  /** ISO 8601, by the store's clock, as the others. */
  readonly lastModified: string;
  readonly reason: GarbageReason;
  readonly state: GarbageState;
  readonly markedAt: string | null;
}

export interface Leaks {
  readonly at: string;
  /** Of all of them, by state; the list has the first thousand. */
  readonly counts: Readonly<Record<GarbageState, { readonly objects: number; readonly bytes: number }>>;
  readonly leaks: readonly Leak[];
  readonly isComplete: boolean;
}

const listedMax = 1_000;
const iso = (ms: number): string => new Date(ms).toISOString();

/** What nobody references, gathered for `GET /api/v1/remote/leaks`. */
export class LeakList {
  readonly #listed: Leak[] = [];
  readonly #counts: Record<GarbageState, { objects: number; bytes: number }> = {
    young: { objects: 0, bytes: 0 },
    due: { objects: 0, bytes: 0 },
    marked: { objects: 0, bytes: 0 },
    kept: { objects: 0, bytes: 0 },
  };

  constructor(private readonly nowMs: number) {}

  add({ key, bytes, lastModifiedMs, reason, markedAtMs }: Garbage, state: GarbageState): void {
    this.#counts[state].objects += 1;
    this.#counts[state].bytes += bytes;
    if (this.#listed.length === listedMax) return;
    this.#listed.push({ key, bytes, lastModified: iso(lastModifiedMs), reason, state, markedAt: markedAtMs === undefined ? null : iso(markedAtMs) });
  }

  view(): Leaks {
    const total = Object.values(this.#counts).reduce((sum, { objects }) => sum + objects, 0);
    return { at: iso(this.nowMs), counts: this.#counts, leaks: this.#listed, isComplete: total === this.#listed.length };
  }
}
