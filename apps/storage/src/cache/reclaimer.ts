import type { Clock } from '@binnacle/cluster-state/clock';
import type { CacheIndex } from './cache-index.js';
import { blockBytes, type MirrorDisk } from './mirror-disk.js';
import type { Mirror, Span } from './mirror.js';

/** The threads of the pool are four by default, and others use them too. */
const mirrorsAtOnce = 4;
const retryMs = 10_000;

/** Gives back to the disk what was dropped from the index, in the background. */
export class Reclaimer {
  readonly #mirrors = new Set<Mirror>();
  readonly #failed = new Set<Mirror>();
  #running = 0;
  #idle: (() => void)[] = [];
  #cancelRetry: (() => void) | undefined;

  constructor(
    private readonly index: CacheIndex,
    private readonly disk: MirrorDisk,
    private readonly clock: Clock,
    private readonly onError: (error: unknown) => void,
  ) {}

  add(mirror: Mirror): void {
    this.#mirrors.add(mirror);
    // Not at once: of an eviction all holes of a mirror come together, in one go or as the removal of the file.
    if (this.#running === 0 && this.#mirrors.size === 1) setImmediate(() => this.#next());
  }

  /** Resolves when the disk has everything back that was dropped until now, or would not take it. */
  async drained(): Promise<void> {
    if (this.#mirrors.size === 0 && this.#running === 0) return;
    await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  stop(): void {
    this.#cancelRetry?.();
  }

  #next(): void {
    for (const mirror of this.#mirrors) {
      if (this.#running >= mirrorsAtOnce) return;
      this.#mirrors.delete(mirror);
      this.#running++;
      void this.#reclaim(mirror).finally(() => {
        this.#running--;
        this.#next();
      });
    }
    if (this.#running > 0) return;
    for (const resolve of this.#idle.splice(0)) resolve();
  }

  async #reclaim(mirror: Mirror): Promise<void> {
    let holes: Span[] = [];
    try {
      await mirror.alone(async () => {
        // Only now is it certain what has to stay: nothing is being written to the mirror, and what will be is in the index already.
        holes = mirror.holes;
        mirror.holes = [];
        if (mirror.slots.length === 0) {
          await this.disk.remove(mirror.key);
          this.index.setAllocated(mirror, 0);
          return;
        }
        const { entries } = this.index;
        const blocks = mirror.freeBlocks(entries, holes, blockBytes);
        if (blocks.length === 0) return;
        const kept = mirror.slots.map((slot): Span => [entries.offset[slot] as number, entries.endOf(slot)]);
        this.index.setAllocated(mirror, await this.disk.free(mirror.key, mirror.bytes, blocks, kept));
      });
      this.index.forget(mirror);
    } catch (error) {
      mirror.holes.push(...holes);
      this.#failed.add(mirror);
      this.#cancelRetry ??= this.clock.after(retryMs, () => this.#retry());
      this.onError(error);
    }
  }

  #retry(): void {
    this.#cancelRetry = undefined;
    for (const mirror of this.#failed) this.add(mirror);
    this.#failed.clear();
  }
}
