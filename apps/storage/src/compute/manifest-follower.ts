import type { KnownManifest } from '../remote/manifest-store.js';
import { tableIdOfRegion } from '../regions/region.js';
import type { Manifest } from '../remote/manifest.js';
import type { OperationOptions } from '@binnacle/object-store/object-store';
import type { Clock } from '@binnacle/cluster-state/clock';
import type { ClusterState } from '@binnacle/cluster-state/cluster-state';
import type { NodePart } from '@binnacle/node-kit/node-context';
import type { Logger } from 'pino';

/** The newest manifest of a region that this node has seen. */
export interface SeenManifest extends KnownManifest {
  /** When it was last known to be the newest one, on this node's monotonic clock. */
  readonly seenAtMs: number;
}

/** What there is to follow: every region of every table, and which node writes it. */
export interface FollowedRegion {
  readonly id: number;
  readonly writeNode: string;
}

/** How old the oldest write is that is acknowledged and not in the manifest of this uploaded version; 0: there is none. */
export interface PendingQuestion {
  readonly regionId: number;
  readonly term: number;
  readonly uploadedVersion: number;
}

export interface FollowerParts {
  readonly clock: Clock;
  readonly state: Pick<ClusterState, 'signal' | 'onSignal'>;
  readonly log: Pick<Logger, 'warn'>;
  readonly isOn: () => boolean;
  readonly regions: () => readonly FollowedRegion[];
  readonly read: (tableId: number, regionId: number, options: OperationOptions) => Promise<KnownManifest | undefined>;
  readonly readUnless: (known: KnownManifest, options: OperationOptions) => Promise<KnownManifest | undefined>;
  /** Asks a write node for the ages of its oldest pending writes, in milliseconds; of a region it does not answer for there is none in the map. */
  readonly pendingMs: (nodeId: string, questions: readonly PendingQuestion[], signal: AbortSignal) => Promise<ReadonlyMap<number, number>>;
  readonly pollMs: number;
}

interface Followed {
  seen: SeenManifest | undefined;
  /** Grows with each manifest that was taken, so that a read that began before does not put an older one of the same version back. */
  changes: number;
  reading: Promise<void> | undefined;
  /** Of the write node's last answer: the age then, and when that was. */
  pending: { readonly ageMs: number; readonly atMs: number } | undefined;
}

/** Whoever publishes a manifest says so under this topic; the payload is the region's id. */
export const manifestTopic = 'manifests';
/** Reads of the bucket that run at the same time. */
const readsMax = 8;
/** Reads that polls begin in a second: with more regions a round takes longer than `pollMs`. A signal is not bound by it. */
const polledPerSecondMax = 100;
const questionsMax = 1_000;

/**
 * Knows the newest manifest of every region: told by a signal after each publish, and by asking now and then, which costs little where nothing
 * changed. It never goes back behind a manifest it has seen.
 */
export class ManifestFollower implements NodePart {
  readonly name = 'manifest follower';
  readonly #regions = new Map<number, Followed>();
  readonly #abort = new AbortController();
  readonly #waitingReads: (() => void)[] = [];
  readonly #listeners = new Set<(regionId: number) => void>();
  #runningReads = 0;
  #cancelRound: () => void = () => {};
  #unlisten: () => void = () => {};
  #round: Promise<void> = Promise.resolve();
  #failing = false;

  constructor(private readonly parts: FollowerParts) {}

  async start(): Promise<void> {
    if (!this.parts.isOn()) return;
    this.#unlisten = this.parts.state.onSignal(manifestTopic, (payload) => this.#signalled(payload));
    this.#begin();
  }

  async stop(): Promise<void> {
    this.#unlisten();
    this.#cancelRound();
    this.#abort.abort(new Error('this node stops'));
    await this.#round;
  }

  /** Undefined: the region was never published, or this node has not heard of it yet (`refresh`). */
  current(regionId: number): SeenManifest | undefined {
    return this.#regions.get(regionId)?.seen;
  }

  /**
   * How old the oldest acknowledged write may be that `current` does not show: 0 when the write node says that there is none; while it
   * cannot be asked this grows from its last answer. Infinity before its first one.
   */
  lagMs(regionId: number): number {
    const pending = this.#regions.get(regionId)?.pending;
    if (pending === undefined) return Infinity;
    const sinceMs = this.parts.clock.monotonicMs() - pending.atMs;
    // An answer holds until the next one is due; a write since then is younger than that.
    return pending.ageMs === 0 && sinceMs <= 2 * this.parts.pollMs ? 0 : pending.ageMs + sinceMs;
  }

  /** Called with the region's id after `current` has moved. Returns what ends that. */
  onChange(listener: (regionId: number) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** A manifest this node published itself. */
  accept(known: KnownManifest): void {
    this.#take(this.#followed(known.manifest.regionId), known);
  }

  /** The same, and every other node is told to look. */
  published(known: KnownManifest): void {
    this.accept(known);
    // A signal that is lost costs a poll's time, no more.
    this.parts.state.signal(manifestTopic, String(known.manifest.regionId)).catch(() => undefined);
  }

  /** `current` after the bucket was asked, at a time after this call. Rejects when it does not answer. */
  async refresh(regionId: number): Promise<SeenManifest | undefined> {
    const followed = this.#followed(regionId);
    if (followed.reading !== undefined) await followed.reading.catch(() => undefined);
    await this.#read(regionId, followed);
    return followed.seen;
  }

  #signalled(payload: string): void {
    const regionId = Number(payload);
    if (this.#regions.has(regionId)) void this.refresh(regionId).catch(() => undefined);
  }

  #begin(): void {
    const startedMs = this.parts.clock.monotonicMs();
    this.#round = this.#pollAll()
      .then(
        () => (this.#failing = false),
        (error: unknown) => {
          if (!this.#failing && !this.#abort.signal.aborted) this.parts.log.warn({ err: error }, 'manifests cannot be followed; it is tried again');
          this.#failing = true;
        },
      )
      .then(() => {
        if (this.#abort.signal.aborted) return;
        const tookMs = this.parts.clock.monotonicMs() - startedMs;
        this.#cancelRound = this.parts.clock.after(Math.max(0, this.#roundMs() - tookMs), () => this.#begin());
      });
  }

  #roundMs(): number {
    return Math.max(this.parts.pollMs, (this.#regions.size * 1_000) / polledPerSecondMax);
  }

  async #pollAll(): Promise<void> {
    const regions = this.parts.regions();
    const ids = new Set(regions.map(({ id }) => id));
    for (const id of this.#regions.keys()) if (!ids.has(id)) this.#regions.delete(id);
    const reads = await Promise.allSettled(regions.map(({ id }) => this.#read(id, this.#followed(id))));
    await Promise.all([...nodesOf(regions)].map(([nodeId, own]) => this.#askPending(nodeId, own)));
    for (const read of reads) if (read.status === 'rejected') throw read.reason;
  }

  async #askPending(nodeId: string, regions: readonly number[]): Promise<void> {
    for (let start = 0; start < regions.length; start += questionsMax) {
      const questions = regions.slice(start, start + questionsMax).map((regionId) => question(regionId, this.current(regionId)?.manifest));
      const answers = await this.parts.pendingMs(nodeId, questions, this.#abort.signal).catch(() => undefined);
      if (answers === undefined) return;
      const atMs = this.parts.clock.monotonicMs();
      for (const [regionId, ageMs] of answers) {
        const followed = this.#regions.get(regionId);
        if (followed !== undefined) followed.pending = { ageMs, atMs };
      }
    }
  }

  #followed(regionId: number): Followed {
    let followed = this.#regions.get(regionId);
    if (followed === undefined) this.#regions.set(regionId, (followed = { seen: undefined, changes: 0, reading: undefined, pending: undefined }));
    return followed;
  }

  /** One at a time for a region; who comes meanwhile gets the same one. */
  #read(regionId: number, followed: Followed): Promise<void> {
    followed.reading ??= this.#readOnce(regionId, followed).finally(() => (followed.reading = undefined));
    return followed.reading;
  }

  async #readOnce(regionId: number, followed: Followed): Promise<void> {
    await this.#turn();
    try {
      const { seen, changes } = followed;
      const options = { signal: this.#abort.signal };
      const read = seen === undefined ? this.parts.read(tableIdOfRegion(regionId), regionId, options) : this.parts.readUnless(seen, options);
      const known = await read;
      if (known !== undefined) this.#take(followed, known, changes);
      else if (seen !== undefined && followed.changes === changes) followed.seen = { ...seen, seenAtMs: this.parts.clock.monotonicMs() };
    } finally {
      this.#runningReads -= 1;
      this.#waitingReads.shift()?.();
    }
  }

  async #turn(): Promise<void> {
    while (this.#runningReads >= readsMax) await new Promise<void>((resolve) => void this.#waitingReads.push(resolve));
    this.#runningReads += 1;
  }

  #take(followed: Followed, known: KnownManifest, changesBefore = followed.changes): void {
    const order = followed.seen === undefined ? 1 : compareManifests(known.manifest, followed.seen.manifest);
    if (order < 0 || (order === 0 && changesBefore !== followed.changes)) return;
    const isNew = followed.seen?.etag !== known.etag;
    followed.seen = { ...known, seenAtMs: this.parts.clock.monotonicMs() };
    if (!isNew) return;
    followed.changes += 1;
    for (const listener of this.#listeners) listener(known.manifest.regionId);
  }
}

/** Negative: `left` is the older one. Merges and collections change neither. */
export function compareManifests(left: Manifest, right: Manifest): number {
  return left.term - right.term || left.uploadedVersion - right.uploadedVersion;
}

function question(regionId: number, manifest: Manifest | undefined): PendingQuestion {
  return { regionId, term: manifest?.term ?? 0, uploadedVersion: manifest?.uploadedVersion ?? 0 };
}

function nodesOf(regions: readonly FollowedRegion[]): Map<string, number[]> {
  const byNode = new Map<string, number[]>();
  for (const { id, writeNode } of regions) {
    const own = byNode.get(writeNode);
    if (own === undefined) byNode.set(writeNode, [id]);
    else own.push(id);
  }
  return byNode;
}
