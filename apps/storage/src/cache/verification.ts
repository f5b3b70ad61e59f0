import type { CacheIndex } from './cache-index.js';
import { slotState, verified } from './entry-table.js';
import type { MirrorDisk } from './mirror-disk.js';
import type { Mirror } from './mirror.js';

/** Files read at the same time; each takes a thread of the pool. */
const atOnce = 3;

/** Compares bytes on disk with the checksum they were written with: once after a restart, and whenever a reader doubts them. */
export class Verification {
  corrupted = 0;
  readonly #running = new Map<number, Promise<void>>();
  readonly #waiting: (() => void)[] = [];
  #active = 0;

  constructor(
    private readonly index: CacheIndex,
    private readonly disk: MirrorDisk,
  ) {}

  /** What is damaged is dropped. Never rejects: what cannot be read is as good as damaged. */
  async verify(slots: readonly number[]): Promise<void> {
    await Promise.all(slots.map(async (slot) => (this.#running.get(slot) ?? this.#begin(slot))));
  }

  async #begin(slot: number): Promise<void> {
    // For as long as it takes: who asked for it may leave, and the slot then become another entry's.
    this.index.pin(slot);
    const done = this.#verify(slot).finally(() => {
      this.#running.delete(slot);
      this.index.unpin(slot);
    });
    this.#running.set(slot, done);
    await done;
  }

  async #verify(slot: number): Promise<void> {
    if (this.#active >= atOnce) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    else this.#active++;
    try {
      const { entries } = this.index;
      if (entries.state[slot] !== slotState.present) return;
      const { key } = entries.mirror[slot] as Mirror;
      const checksum = await this.disk.checksum(key, entries.offset[slot] as number, entries.length[slot] as number).catch(() => undefined);
      if (entries.state[slot] !== slotState.present) return;
      if (checksum === entries.checksum[slot]) return this.index.mark(slot, verified);
      this.corrupted++;
      this.index.drop(slot);
    } finally {
      // The place goes to the next in line.
      const next = this.#waiting.shift();
      if (next === undefined) this.#active--;
      else next();
    }
  }
}
