import { join } from 'node:path';
import type { NodeContext, NodePart } from '@binnacle/node-kit/node-context';
import { eachOf } from '../each-of.js';
import { LogTrimmedError } from '../log/log-error.js';
import { untilDurable } from '../log/until-durable.js';
import { regionsPerTableMax } from '../regions/region.js';
import type { RowStore } from '../row-store.js';
import type { KnownManifest, ManifestStore } from './manifest-store.js';
import type { Segment } from './manifest.js';
import type { RemoteStore } from './remote-store.js';
import { RegionUploads, type RegionState } from './region-uploads.js';
import { RowScanUpload } from './row-scan-upload.js';
import { columnsOf } from './segment-columns.js';
import type { SegmentFile } from './segment-file.js';
import type { SegmentJobResult, SliceRegion } from './segment-job.js';
import { SegmentProcess } from './segment-process.js';
import { UploadMetrics } from './upload-metrics.js';
import type { UploadedRegions } from './upload-regions.js';
import { UploadState } from './upload-state.js';
import type { UploadStatus } from './upload-status.js';

export type { UploadedRegion, UploadedRegions } from './upload-regions.js';

export type UploadedRows = Pick<RowStore, 'logFolder' | 'firstLogVersion' | 'scanVersions' | 'durableVersion' | 'appliedVersion' | 'writtenBytes' | 'onDurable' | 'keepLogFor' | 'keepMarks'>;

export interface UploaderParts {
  readonly node: NodeContext;
  readonly rows: UploadedRows;
  readonly remote: Pick<RemoteStore, 'isOn' | 'store'>;
  readonly manifests: ManifestStore;
  readonly regions: UploadedRegions;
}

const mebibyte = 2 ** 20;
export const uploadIntervalMs = 30_000;
/** A region without new rows publishes how far it is when it has not done so for that long: a start would else read much log, or all rows, for nothing. */
const idlePublishMs = 3_600_000;
const retryMsMin = 1_000;
const retryMsMax = 30_000;
/** Rows of one slice in memory, with 400 bytes for each of them besides its own. */
const sliceBytesMax = 128 * mebibyte;
const putsTogether = 4;
/** Each of them uploads only what was written during the one before: so many, until the log lasts for as long as one takes. */
const scansMax = 4;
/** What was acknowledged without waiting for the disk is on it soon, or the disk is broken. */
const durableWaitMs = 5_000;
const stopDeadlineMs = 10_000;
/** With two threads DuckDB takes twice the CPU for such short work, and is hardly quicker. */
const limits = { memoryMegabytes: 512, temporaryMegabytes: 4_096, threads: 1, jobMsMax: 600_000 };

/**
 * Brings new row versions of the regions of this node to the remote store: every 30 s, when `storage.upload-megabytes` have come together, and when it is
 * asked to. It follows the commit log; where that was trimmed because the store was away for too long, it scans the rows. After a failure it
 * tries again by itself, later each time.
 */
export class Uploader implements NodePart {
  readonly name = 'uploader';
  readonly uploads: RegionUploads;
  readonly #process: SegmentProcess;
  readonly #state: UploadState;
  readonly #metrics: UploadMetrics;
  readonly #bytesMax: number;
  readonly #stopping = new AbortController();
  #waiters: { resolve: () => void; reject: (error: unknown) => void }[] = [];
  #running: Promise<void> | undefined;
  #cancelTimer = (): void => {};
  #unlisten = (): void => {};
  #isStarted = false;

  constructor(private readonly parts: UploaderParts) {
    const { node, rows, remote, manifests, regions } = parts;
    this.uploads = new RegionUploads(() => remote.store(), manifests, regions);
    this.#bytesMax = node.config.storage.uploadMegabytes * mebibyte;
    this.#process = new SegmentProcess(node.clock, { folder: join(node.config.dataDir, 'storage', 'uploads'), ...limits });
    this.#state = new UploadState(node.clock, rows);
    this.#metrics = new UploadMetrics(node.metrics, () => this.status());
    node.addPart(this);
  }

  async start(): Promise<void> {
    if (!this.parts.remote.isOn()) return;
    this.#isStarted = true;
    this.#process.start();
    this.parts.rows.keepLogFor({ position: () => this.position() });
    this.parts.rows.keepMarks(() => this.position() + 1);
    this.#unlisten = this.parts.rows.onDurable(() => {
      this.#state.written();
      if (this.#state.failuresInRow === 0 && this.#isMoreToDo()) this.#begin();
    });
    this.#schedule(uploadIntervalMs);
  }

  /** The rest goes out, within a deadline: what does not stays in the log of this node. */
  async stop(): Promise<void> {
    this.#unlisten();
    this.#cancelTimer();
    if (!this.#isStarted) return;
    await new Promise<void>((resolve) => {
      const cancel = this.parts.node.clock.after(stopDeadlineMs, resolve);
      void this.#uploadRest().finally(() => (cancel(), resolve()));
    });
    this.#isStarted = false;
    this.#stopping.abort(new Error('the node stops'));
    this.#cancelTimer();
    await this.#process.stop();
  }

  async #uploadRest(): Promise<void> {
    // One that runs may have begun before the last write.
    await this.#running;
    if (this.parts.rows.durableVersion() <= this.position()) return;
    this.#begin();
    await this.#running;
  }

  /** An upload at once; the request stands until one has succeeded. */
  request(): void {
    this.#state.requestedMs = this.parts.node.clock.nowMs();
    this.#begin();
  }

  /** Resolves when everything acknowledged before the call is in the remote store. Rejects when that failed once; it is tried again all the same. */
  async uploadNow(): Promise<void> {
    // The one that runs may have begun before.
    await this.#running;
    const done = new Promise<void>((resolve, reject) => this.#waiters.push({ resolve, reject }));
    this.request();
    return done;
  }

  /** Resolves when no upload runs. */
  async idle(): Promise<void> {
    await this.#running;
  }

  /** Everything in the log up to this version is in the remote store, as far as it is this node's to upload. */
  position(): number {
    return this.uploads.covered(this.parts.rows.durableVersion());
  }

  status(): UploadStatus {
    return this.#state.status(this.#running !== undefined, this.#isStarted ? this.position() : undefined);
  }

  /** The manifest as this node published it last, or read it. */
  known(regionId: number): KnownManifest | undefined {
    return this.uploads.known(regionId);
  }

  /** Called after each manifest that this node published. Returns what ends that. */
  onPublished(listener: (known: KnownManifest) => void): () => void {
    return this.uploads.onPublished(listener);
  }

  #schedule(delayMs: number): void {
    this.#cancelTimer();
    if (this.#isStarted && !this.#stopping.signal.aborted) this.#cancelTimer = this.parts.node.clock.after(delayMs, () => this.#begin());
  }

  #begin(): void {
    if (!this.#isStarted) {
      for (const { reject } of this.#waiters.splice(0)) reject(new Error('the uploader does not run'));
      return;
    }
    if (this.#running !== undefined) return;
    this.#cancelTimer();
    this.#running = this.#run().then((nextMs) => {
      this.#running = undefined;
      this.#schedule(nextMs);
    });
  }

  /** Resolves to when the next one is due. */
  async #run(): Promise<number> {
    const waiters = this.#waiters.splice(0);
    const requestedMs = this.#state.requestedMs;
    const end = this.#metrics.beginUpload();
    try {
      await this.#upload(requestedMs);
      this.#state.succeeded(requestedMs);
      end('success');
      for (const { resolve } of waiters) resolve();
      return this.#isMoreToDo() ? 0 : uploadIntervalMs;
    } catch (error) {
      this.#state.failed(error as Error);
      end('failure');
      const { failuresInRow } = this.#state;
      this.parts.node.log.warn({ err: error, failures: failuresInRow }, 'an upload to the remote store failed; it is tried again');
      for (const { reject } of waiters) reject(error);
      return Math.min(retryMsMax, retryMsMin * 2 ** (failuresInRow - 1));
    } finally {
      await this.#process.discard().catch(() => undefined);
    }
  }

  #isMoreToDo(): boolean {
    return this.#waiters.length > 0 || this.#state.requestedMs !== undefined || this.#state.pendingBytes() >= this.#bytesMax;
  }

  /** What goes wrong with one region does not keep the others back. `requestedMs`: also regions without new rows publish that they are complete up to then. */
  async #upload(requestedMs: number | undefined): Promise<void> {
    const { rows, node } = this.parts;
    const { states: all, failure } = await this.uploads.refresh({ signal: this.#stopping.signal });
    const completeToMs = node.clock.nowMs();
    this.#state.captured();
    const toVersion = await this.#durable();
    const states = all.filter(({ covered }) => covered <= toVersion);
    const ahead = all.find((state) => !states.includes(state));
    for (let live = states; ; ) {
      live = live.filter(({ own, known }) => this.uploads.known(own.region.id) === known);
      const trimmed = live.filter(({ covered }) => covered < toVersion && covered + 1 < rows.firstLogVersion());
      if (trimmed.length > 0) await this.#scan(trimmed, completeToMs);
      const afterVersion = Math.min(...live.map(({ covered }) => covered));
      if (afterVersion >= toVersion) break;
      await this.#uploadSlice(live, afterVersion, toVersion, completeToMs);
    }
    const publishedMsMin = Math.max(requestedMs ?? 0, completeToMs - idlePublishMs);
    const idle = states.filter(({ own, known }) => this.uploads.known(own.region.id) === known && known.manifest.completeToMs < publishedMsMin);
    await eachOf(idle, putsTogether, async (state) => {
      await this.uploads.publish(state, { segments: [], uploadedVersion: toVersion, completeToMs }, { signal: this.#stopping.signal });
    });
    if (failure !== undefined) throw failure;
    if (ahead !== undefined) throw lostRows(ahead, toVersion);
  }

  /** Resolves when everything acknowledged so far is on disk, to the newest version that is. */
  #durable(): Promise<number> {
    const { rows, node } = this.parts;
    return untilDurable(rows, node.clock, rows.appliedVersion(), durableWaitMs);
  }

  async #uploadSlice(states: readonly RegionState[], afterVersion: number, toVersion: number, completeToMs: number): Promise<void> {
    const regions = states.filter(({ covered }) => covered < toVersion);
    try {
      const slice = await this.#slice(regions, afterVersion, toVersion);
      const isLast = slice.toVersion === toVersion;
      await eachOf(regions, putsTogether, async (state) => {
        const files = slice.segments.filter(({ regionId }) => regionId === state.own.region.id);
        if (files.length === 0) {
          state.covered = Math.max(state.covered, slice.toVersion);
          return;
        }
        const segments = [];
        for (const { file } of files) segments.push(await this.#put(state, file));
        await this.uploads.publish(state, { segments, uploadedVersion: slice.toVersion, completeToMs: isLast ? completeToMs : undefined }, { signal: this.#stopping.signal });
      });
      await this.#process.discard();
    } catch (error) {
      // It was trimmed while it was read.
      if (!(error instanceof LogTrimmedError)) throw error;
      await this.#scan(regions, completeToMs);
    }
  }

  async #put(state: RegionState, file: SegmentFile): Promise<Segment> {
    const segment = await this.uploads.put(state, file, 0, this.parts.node.clock.nowMs(), { signal: this.#stopping.signal });
    this.#metrics.uploaded(segment);
    return segment;
  }

  /** From the rows themselves: nothing of the log is needed for versions up to the one at which it begins. */
  async #scan(states: readonly RegionState[], completeToMs: number): Promise<void> {
    const { rows, node } = this.parts;
    node.log.warn({ regions: states.map(({ own }) => own.region.id) }, 'the log was trimmed before it was uploaded: the rows are scanned');
    for (const state of states) {
      const segments: Segment[] = [];
      let afterVersion = state.covered;
      for (let scans = 1; ; scans++) {
        const version = await this.#durable();
        const scan = new RowScanUpload(rows, this.#process, { ...sliceRegion(state), afterVersion }, version);
        for await (const file of scan.files(this.#stopping.signal)) segments.push(await this.#put(state, file));
        afterVersion = version;
        // What was overwritten before the scan came to it is in the log alone: without that there would be holes in what is published.
        const uploadedVersion = await this.#durable();
        try {
          segments.push(...(await this.#slices(state, version, uploadedVersion)));
        } catch (error) {
          if (!(error instanceof LogTrimmedError) || scans === scansMax) throw error;
          continue;
        }
        await this.uploads.publish(state, { segments, uploadedVersion, completeToMs }, { signal: this.#stopping.signal });
        break;
      }
    }
  }

  async #slices(state: RegionState, afterVersion: number, toVersion: number): Promise<Segment[]> {
    const segments: Segment[] = [];
    for (let reached = afterVersion; reached < toVersion; ) {
      const slice = await this.#slice([state], reached, toVersion);
      for (const { file } of slice.segments) segments.push(await this.#put(state, file));
      await this.#process.discard();
      reached = slice.toVersion;
    }
    return segments;
  }

  #slice(states: readonly RegionState[], afterVersion: number, toVersion: number): Promise<SegmentJobResult> {
    return this.#process.run({ kind: 'slice', logFolder: this.parts.rows.logFolder(), afterVersion, toVersion, bytesMax: sliceBytesMax, regions: states.map(sliceRegion) });
  }
}

function sliceRegion({ own, covered, versionBase }: RegionState): SliceRegion {
  const { table, region, regionCount } = own;
  const index = region.id % regionsPerTableMax;
  return { tableId: table.id, regionId: region.id, index, regionCount, afterVersion: covered, versionBase, schemaVersion: table.schemaVersion, columns: columnsOf(table.fields) };
}

/** The data folder is older than what was uploaded from it: versions would be given a second time. */
function lostRows({ own, covered }: RegionState, newestVersion: number): Error {
  return new Error(`region ${own.region.id} was uploaded up to version ${covered} of this node's log, which ends with ${newestVersion}: its data folder was replaced by an older one`);
}
