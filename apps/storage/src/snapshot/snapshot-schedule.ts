import { readdir, rm } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { NodeContext, type NodePart } from '@binnacle/node-kit/node-context';
import { Injectable } from '@nestjs/common';
import { manifestName } from './manifest.js';
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

/** Takes a snapshot every so often, in `scheduled/NODE/TIME` under the first snapshot root, and removes old ones of its own. */
@Injectable()
export class SnapshotSchedule implements NodePart {
  readonly name = 'snapshot schedule';
  readonly #folder: string;
  readonly #intervalMs: number;
  #cancel = (): void => {};
  #stopped = false;

  constructor(
    private readonly node: NodeContext,
    private readonly snapshots: Snapshots,
  ) {
    this.#folder = resolve(snapshots.roots()[0] as string, 'scheduled', node.id);
    this.#intervalMs = node.config.storage.snapshotIntervalMinutes * minuteMs;
    node.addPart(this);
  }

  /** Goes on where the last process ended; the very first one is taken at once. */
  async start(): Promise<void> {
    if (this.#intervalMs === 0) return;
    const nowMs = this.node.clock.nowMs();
    const newest = (await this.#names()).map(timeOfStamp).filter((ms) => ms !== undefined).reduce((a, b) => Math.max(a, b), 0);
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
      const { path } = await this.snapshots.take(join(this.#folder, stampOf(this.node.clock.nowMs())));
      this.#again(this.#intervalMs);
      // The folder as it is without links.
      await this.#removeOld(dirname(path), basename(path));
    } catch (error) {
      this.node.log.error({ err: error }, 'a scheduled snapshot was not made, or old ones not removed');
      this.#cancel();
      this.#again(Math.min(this.#intervalMs, retryMs));
    }
  }

  async #removeOld(folder: string, newest: string): Promise<void> {
    for (const name of namesToRemove(await this.#names(), this.node.config.storage.snapshotsKept, newest)) {
      // Without its manifest it is no snapshot, also when the rest of the removal does not happen.
      await rm(join(folder, name, manifestName), { force: true });
      await rm(join(folder, name), { recursive: true, force: true });
      this.node.log.info({ snapshot: name }, 'old scheduled snapshot removed');
    }
  }

  async #names(): Promise<string[]> {
    return readdir(this.#folder).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return [];
      throw error;
    });
  }
}
