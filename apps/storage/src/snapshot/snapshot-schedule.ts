import { basename, resolve } from 'node:path';
import { ConfigError } from '@binnacle/node-kit/config-error';
import { NodeContext, type NodePart } from '@binnacle/node-kit/node-context';
import { ObjectStoreUnavailable } from '@binnacle/object-store/object-store';
import { Injectable } from '@nestjs/common';
import { RemoteStore } from '../remote/remote-store.js';
import { FolderPlace, RemotePlace, type ScheduledPlace } from './scheduled-place.js';
import { Snapshots } from './snapshots.js';

const minuteMs = 60_000;
/** A snapshot that failed, or met another one, is tried again this soon where the interval is longer. */
const retryMs = 10 * minuteMs;
const stampShape = /^(\d{4}-\d\d-\d\d)T(\d\d)-(\d\d)-(\d\d)Z$/;

/** The name of the snapshot of a moment, in UTC: `2026-01-31T09-05-00Z`. In the order of time, as text. */
export function stampOf(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z').replaceAll(':', '-');
}

/** Undefined for a name that is not one of ours. */
export function timeOfStamp(name: string): number | undefined {
  const [, day, hour, minute, second] = stampShape.exec(name) ?? [];
  const ms = Date.parse(`${day}T${hour}:${minute}:${second}Z`);
  return Number.isNaN(ms) ? undefined : ms;
}

/** Of the names in the folder, those that have to go so that `kept` stay, the oldest first. Never `newest`, whatever the clock says. */
export function namesToRemove(names: readonly string[], kept: number, newest: string): string[] {
  const others = names.filter((name) => timeOfStamp(name) !== undefined && name !== newest).toSorted();
  return others.slice(0, Math.max(0, others.length - (kept - 1)));
}

/** Takes a snapshot every so often, in `scheduled/NODE/TIME` under the first snapshot root or in the remote store, and removes old ones of its own. */
@Injectable()
export class SnapshotSchedule implements NodePart {
  readonly name = 'snapshot schedule';
  readonly #place: ScheduledPlace;
  readonly #intervalMs: number;
  #cancel = (): void => {};
  #stopped = false;

  constructor(
    private readonly node: NodeContext,
    private readonly snapshots: Snapshots,
    private readonly remote: RemoteStore,
  ) {
    const { snapshotRemote } = node.config.storage;
    this.#place = snapshotRemote ? new RemotePlace(() => remote.store(), `scheduled/${node.id}`) : new FolderPlace(resolve(snapshots.roots()[0] as string, 'scheduled', node.id));
    this.#intervalMs = node.config.storage.snapshotIntervalMinutes * minuteMs;
    node.addPart(this);
  }

  /** Goes on where the last process ended; the very first one is taken at once. */
  async start(): Promise<void> {
    if (this.#intervalMs === 0) return;
    if (this.node.config.storage.snapshotRemote && !this.remote.isOn()) throw new ConfigError(['storage.snapshot-remote: there is no remote store: set remote.url']);
    const nowMs = this.node.clock.nowMs();
    // A remote store that is away cannot say: the snapshot is then due, and taken once the store is back.
    const names = await this.#place.names().catch((error: unknown) => {
      if (error instanceof ObjectStoreUnavailable) return [];
      throw error;
    });
    const newest = names.map(timeOfStamp).filter((ms) => ms !== undefined).reduce((a, b) => Math.max(a, b), 0);
    // A stamp from the future, of a clock since set right, must not put it off for longer.
    this.#again(Math.min(this.#intervalMs, Math.max(0, newest + this.#intervalMs - nowMs)));
  }

  async drain(): Promise<void> {
    this.#stopped = true;
    this.#cancel();
  }

  #again(afterMs: number): void {
    if (!this.#stopped) this.#cancel = this.node.clock.after(afterMs, () => void this.#run());
  }

  async #run(): Promise<void> {
    try {
      const { path } = await this.snapshots.take(this.#place.pathOf(stampOf(this.node.clock.nowMs())));
      this.#again(this.#intervalMs);
      await this.#removeOld(path);
    } catch (error) {
      this.node.log.error({ err: error }, 'a scheduled snapshot was not made, or old ones not removed');
      this.#cancel();
      this.#again(Math.min(this.#intervalMs, retryMs));
    }
  }

  async #removeOld(newest: string): Promise<void> {
    for (const name of namesToRemove(await this.#place.names(), this.node.config.storage.snapshotsKept, basename(newest))) {
      await this.#place.remove(name, newest);
      this.node.log.info({ snapshot: name }, 'old scheduled snapshot removed');
    }
  }
}
