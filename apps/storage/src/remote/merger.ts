import { randomUUID } from 'node:crypto';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import type { NodeContext, NodePart } from '@binnacle/node-kit/node-context';
import type { ObjectStore, OperationOptions } from '@binnacle/object-store/object-store';
import { Counter } from 'prom-client';
import { defaultMergeLimits, type MergeLimits, nextMerge, type PlannedMerge, withMerged } from './merge-policy.js';
import type { Segment } from './manifest.js';
import type { RegionState } from './region-uploads.js';
import type { RemoteStore } from './remote-store.js';
import { columnsOf } from './segment-columns.js';
import { SegmentProcess } from './segment-process.js';
import type { Uploader } from './uploader.js';

export interface MergerParts {
  readonly node: NodeContext;
  readonly remote: Pick<RemoteStore, 'isOn' | 'store'>;
  readonly uploader: Uploader;
  readonly limits?: MergeLimits;
}

/** Also woken by each upload. */
const lookIntervalMs = 60_000;
const retryMs = 60_000;
/** Of a merge under way: its inputs and outputs lie on the local disk, and DuckDB sorts there. */
const limits = { memoryMegabytes: 512, temporaryMegabytes: 32_768, threads: 1, jobMsMax: 3_600_000 };
const partBytes = 8 * 2 ** 20;

/**
 * Merges segments of the regions of this node in the background, one merge at a time, by `nextMerge`. The inputs stay in the remote store for those who
 * still read them, until the collector takes them. What is published meanwhile stays behind the output: a merge is done once, however often the
 * manifest moves.
 */
export class Merger implements NodePart {
  readonly name = 'merger of segments';
  readonly #process: SegmentProcess;
  readonly #folder: string;
  readonly #stopping = new AbortController();
  readonly #bytes: Counter<'direction'>;
  readonly #merges: Counter<'result'>;
  #cancelTimer = (): void => {};
  #unlisten = (): void => {};
  #merging: Promise<void> | undefined;
  #isStarted = false;

  constructor(private readonly parts: MergerParts) {
    const { node } = parts;
    this.#folder = join(node.config.dataDir, 'storage', 'merges');
    this.#process = new SegmentProcess(node.clock, { folder: this.#folder, ...limits });
    const registers = [node.metrics];
    this.#bytes = new Counter({ name: 'binnacle_remote_merged_bytes_total', help: 'Bytes of segments read and written by merges.', labelNames: ['direction'], registers });
    this.#merges = new Counter({ name: 'binnacle_remote_merges_total', help: 'Merges of segments, by how they ended.', labelNames: ['result'], registers });
    node.addPart(this);
  }

  async start(): Promise<void> {
    if (!this.parts.remote.isOn()) return;
    this.#isStarted = true;
    this.#process.start();
    this.#unlisten = this.parts.uploader.onPublished(() => this.#schedule(0));
    this.#schedule(lookIntervalMs);
  }

  /** A merge that runs is given up: what it wrote to the remote store is the collector's. */
  async stop(): Promise<void> {
    this.#unlisten();
    this.#stopping.abort(new Error('the node stops'));
    this.#cancelTimer();
    if (!this.#isStarted) return;
    this.#isStarted = false;
    await this.#process.stop();
    await this.#merging?.catch(() => undefined);
  }

  /** Merges until there is nothing to merge. Rejects when one failed. */
  mergeAll(): Promise<void> {
    this.#merging ??= this.#mergeAll().finally(() => (this.#merging = undefined));
    return this.#merging;
  }

  /** A region whose merge fails does not keep the others back. */
  async #mergeAll(): Promise<void> {
    const options = { signal: this.#stopping.signal };
    const failures = new Map<number, unknown>();
    for (;;) {
      // Uploads go first.
      await this.parts.uploader.idle();
      options.signal.throwIfAborted();
      const { states } = await this.parts.uploader.uploads.refresh(options);
      const next = this.#next(states.filter(({ own }) => !failures.has(own.region.id)));
      if (next === undefined) break;
      await this.#merge(next.state, next.merge, options).catch((error: unknown) => failures.set(next.state.own.region.id, error));
    }
    for (const error of failures.values()) throw error;
  }

  #next(states: readonly RegionState[]): { readonly state: RegionState; readonly merge: PlannedMerge } | undefined {
    for (const state of states) {
      const merge = nextMerge(state.known.manifest.segments, this.parts.limits ?? defaultMergeLimits);
      if (merge !== undefined) return { state, merge };
    }
    return undefined;
  }

  #schedule(delayMs: number): void {
    this.#cancelTimer();
    if (this.#isStarted) this.#cancelTimer = this.parts.node.clock.after(delayMs, () => void this.#begin());
  }

  async #begin(): Promise<void> {
    if (this.#merging !== undefined) return;
    let nextMs = lookIntervalMs;
    try {
      await this.mergeAll();
    } catch (error) {
      this.#merges.inc({ result: 'failure' });
      nextMs = retryMs;
      if (!this.#stopping.signal.aborted) this.parts.node.log.warn({ err: error }, 'segments could not be merged; it is tried again');
    }
    this.#schedule(nextMs);
  }

  async #merge(state: RegionState, { inputs, level, ...planned }: PlannedMerge, options: OperationOptions): Promise<void> {
    const { uploads } = this.parts.uploader;
    // A node that had the region before may come back with an older version of what was deleted since.
    const dropsMarks = planned.dropsMarks && state.own.region.leftAt === undefined;
    const { fields, schemaVersion } = state.own.table;
    try {
      const local = [];
      for (const segment of inputs) local.push({ path: await download(this.parts.remote.store(), segment, this.#folder, options), columns: segment.columns });
      const { segments: files } = await this.#process.run({ kind: 'merge', inputs: local, dropsMarks, schemaVersion, columns: columnsOf(fields) });
      const outputs: Segment[] = [];
      for (const { file } of files) outputs.push(await uploads.put(state, file, level, this.parts.node.clock.nowMs(), options));
      const isPublished = await uploads.change(state, outputs, (manifest) => withMerged(manifest, inputs, outputs), options);
      this.#merges.inc({ result: isPublished ? 'success' : 'superseded' });
      this.#bytes.inc({ direction: 'read' }, bytesOf(inputs));
      this.#bytes.inc({ direction: 'written' }, bytesOf(outputs));
    } finally {
      await this.#process.discard();
    }
  }
}

/** Resolves to the path of a copy of the segment. */
export async function download(store: Pick<ObjectStore, 'getRange'>, { key, bytes }: Pick<Segment, 'key' | 'bytes'>, folder: string, options?: OperationOptions): Promise<string> {
  const path = join(folder, `${randomUUID()}.parquet`);
  const file = await open(path, 'wx');
  try {
    for (let offset = 0; offset < bytes; offset += partBytes) {
      await file.writeFile(await store.getRange(key, { offset, length: Math.min(partBytes, bytes - offset) }, options));
    }
  } finally {
    await file.close();
  }
  return path;
}

function bytesOf(segments: readonly Segment[]): number {
  return segments.reduce((sum, { bytes }) => sum + bytes, 0);
}
