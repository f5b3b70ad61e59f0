import type { Clock } from '@binnacle/cluster-state/clock';
import type { LoadedRegion } from './region-file.js';
import type { HandOver } from '../remote/manifest.js';
import type { LogOwner, RegionLog } from './region-log.js';
import type { Origins } from './take-over.js';

const pollMs = 10;

/** A region the catalog gives to this node, in one term. */
export class HeldRegion {
  /** Its rows are here. */
  #isReady = false;
  /** Another node has published or written in it under a later term. */
  isLost = false;
  /** What the manifest was claimed with. */
  claim: { readonly term: number; readonly versionBase: number } | undefined;
  /** Of the manifest, this node's last. */
  handOvers: readonly HandOver[] = [];
  loaded: LoadedRegion | undefined;
  origins: Origins = new Map();
  log: RegionLog | undefined;
  opening: Promise<RegionLog> | undefined;
  /** Before it is ready: from which position on the commit log may have rows of it that are not in segments. */
  logNeededFrom = 0;
  readonly #cancels: (() => void)[] = [];
  #isAborted = false;

  constructor(
    readonly owner: LogOwner,
    readonly place: { readonly index: number; readonly regionCount: number },
  ) {}

  get isReady(): boolean {
    return this.#isReady && !this.isOver;
  }

  set isReady(isReady: boolean) {
    this.#isReady = isReady;
  }

  /** Nothing is done for it any more. */
  get isOver(): boolean {
    return this.isLost || this.#isAborted;
  }

  /** Of the commit log, by the region itself: once it is ready, the uploader says what it needs. */
  neededFrom(): number {
    return this.isReady ? Infinity : this.logNeededFrom;
  }

  /** The oldest delete mark that tells a late row that a client deleted it here. */
  marksNeededFrom(): number {
    return Math.min(this.neededFrom(), (this.loaded?.loadedTo ?? 0) + 1);
  }

  onAbort(cancel: () => void): void {
    this.#cancels.push(cancel);
  }

  abort(): void {
    this.#isAborted = true;
    for (const cancel of this.#cancels.splice(0)) cancel();
  }

  /** False: it was not, or is another node's. */
  async claimedWithin(clock: Clock, limitMs: number): Promise<boolean> {
    const untilMs = clock.monotonicMs() + limitMs;
    while (this.claim === undefined && !this.isOver && clock.monotonicMs() < untilMs) await new Promise<void>((resolve) => clock.after(pollMs, resolve));
    return this.claim !== undefined && !this.isOver;
  }
}
