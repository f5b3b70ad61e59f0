import { DeadlinePassed, withDeadline } from '@binnacle/object-store/deadline';
import type { CapturePart } from './capture-part.js';
import { metaName, namedFile } from './file-names.js';
import type { Layers } from './layers.js';
import { resultsHeader } from './results-file.js';
import { RotatingFile } from './rotating-file.js';
import { type DestinationOptions, openDestination, type TrafficDestination } from './traffic-destination.js';
import { type CaptureEnd, encryptMethod, type TrafficMeta } from './traffic-meta.js';

const mebibyte = 2 ** 20;

export interface TrafficWriterOptions extends DestinationOptions {
  readonly layers: Layers;
  /** Of Binnacle. */
  readonly version: string;
  /** Of what the captured sessions talk to. */
  readonly serverVersion?: string;
  /** Which it is of a capture of several. */
  readonly part?: CapturePart;
  readonly nowMs: () => number;
  /** Said once: the writer takes nothing more. */
  readonly onFailure: (error: Error) => void;
  /** Default: 300 MiB of plain bytes, as TiProxy. */
  readonly fileBytesMax?: number;
  /** Of plain bytes that wait, of records and of results each. Default: 32 MiB. */
  readonly queueBytesMax?: number;
  /** What is queued must be written, and uploaded, within this. Default: ten minutes. */
  readonly closeTimeoutMs?: number;
}

export interface CaptureSummary {
  readonly state: CaptureEnd;
  readonly reason?: string;
  /** Commands that were left out, by reason; TiProxy has their sum. */
  readonly leftOut: Readonly<Record<string, number>>;
  readonly sessions?: number;
  /** Sessions whose capture lacks something, by reason. */
  readonly incomplete?: Readonly<Record<string, number>>;
}

/**
 * Writes one capture of one process: files of records in TiProxy's native format, files of results beside them, and `meta`. Memory is bounded by the two queues;
 * whoever brings records never waits. The cipher runs on the caller's thread, a millisecond for every few megabytes; all else does not.
 */
export class TrafficWriter {
  readonly #records: RotatingFile;
  readonly #results: RotatingFile;
  readonly #fromMs: number;
  #recordCount = 0;
  #resultCount = 0;
  #failure: Error | undefined;
  #closed: Promise<void> | undefined;

  private constructor(
    private readonly destination: TrafficDestination,
    private readonly options: TrafficWriterOptions,
  ) {
    const { layers, nowMs, fileBytesMax = 300 * mebibyte, queueBytesMax = 32 * mebibyte } = options;
    const onFailure = (error: Error): void => this.#fail(error);
    const files = { layers, destination, fileBytesMax, queueBytesMax, nowMs, onFailure };
    this.#fromMs = nowMs();
    this.#records = new RotatingFile({ ...files, prefix: 'traffic' });
    this.#results = new RotatingFile({ ...files, prefix: 'results', header: resultsHeader });
  }

  /** Rejects with an Error that says what is wrong with the output: there is a capture in it already, or it cannot be written. */
  static async open(options: TrafficWriterOptions): Promise<TrafficWriter> {
    const destination = await openDestination(options);
    try {
      const names = await destination.names();
      if (names.includes(metaName)) throw new Error(`${destination.name} holds a capture: file ${metaName} already exists, remove it or choose another output`);
      const left = names.find((name) => namedFile(name) !== undefined);
      if (left !== undefined) throw new Error(`${destination.name} holds files of another capture: ${left}`);
      const writer = new TrafficWriter(destination, options);
      await destination.writeMeta(writer.#meta(undefined));
      return writer;
    } catch (error) {
      await destination.close();
      throw error;
    }
  }

  /** Why it takes nothing more. */
  get failure(): Error | undefined {
    return this.#failure;
  }

  /** `chunk` has whole records, this many, and belongs to the writer from now on; 200 KB and more are written well. False: it is not taken. */
  writeRecords(chunk: Buffer, records: number): boolean {
    if (this.#failure !== undefined || this.#closed !== undefined || !this.#records.write(chunk)) return false;
    this.#recordCount += records;
    return true;
  }

  /** The same for whole lines of `encodeResult`. */
  writeResults(chunk: Buffer, results: number): boolean {
    if (this.#failure !== undefined || this.#closed !== undefined || !this.#results.write(chunk)) return false;
    this.#resultCount += results;
    return true;
  }

  /** Writes what was taken and then what it says of the capture. Rejects with what went wrong; the state is `failed` then, whatever the summary says. */
  close(summary: CaptureSummary): Promise<void> {
    this.#closed ??= this.#close(summary);
    return this.#closed;
  }

  async #close(summary: CaptureSummary): Promise<void> {
    const { closeTimeoutMs = 600_000 } = this.options;
    await withDeadline(closeTimeoutMs, undefined, () => this.#finish(summary)).catch((error: unknown) => {
      this.#fail(error instanceof DeadlinePassed ? new Error(`${this.destination.name} did not take the rest within ${closeTimeoutMs} ms`) : (error as Error));
    });
    if (this.#failure !== undefined) throw this.#failure;
  }

  async #finish(summary: CaptureSummary): Promise<void> {
    try {
      await Promise.all([this.#records.close(), this.#results.close()]);
      await this.destination.settle().catch((error: unknown) => this.#fail(error as Error));
      const failure = this.#failure;
      // Not before the files are there: it says that they are complete.
      await this.destination.writeMeta(this.#meta(failure ? { ...summary, state: 'failed', reason: failure.message } : summary));
    } finally {
      await this.destination.close();
    }
  }

  #meta(summary: CaptureSummary | undefined): string {
    const { layers, version, serverVersion, part, nowMs } = this.options;
    const toMs = nowMs();
    const leftOut = summary?.leftOut ?? {};
    const leftOutCount = Object.values(leftOut).reduce((sum, count) => sum + count, 0);
    const meta: TrafficMeta = {
      Version: 'v1',
      Duration: Math.round((toMs - this.#fromMs) * 1_000_000),
      Cmds: this.#recordCount,
      ...(leftOutCount > 0 ? { FilteredCmds: leftOutCount } : {}),
      ...(layers.key ? { EncryptMethod: encryptMethod } : {}),
      Binnacle: {
        version,
        complete: summary !== undefined && summary.state !== 'failed',
        state: summary?.state ?? 'running',
        ...(summary?.reason === undefined ? {} : { reason: summary.reason }),
        layers: layers.order,
        compressed: layers.isCompressed,
        fromUs: Math.round(this.#fromMs * 1_000),
        ...(summary === undefined ? {} : { toUs: Math.round(toMs * 1_000) }),
        results: this.#resultCount,
        bytes: this.#records.bytes,
        leftOut,
        ...(summary?.sessions === undefined ? {} : { sessions: summary.sessions }),
        ...(summary?.incomplete === undefined ? {} : { incomplete: summary.incomplete }),
        ...(serverVersion === undefined ? {} : { serverVersion }),
        ...(part === undefined ? {} : { part }),
      },
    };
    return JSON.stringify(meta);
  }

  #fail(error: Error): void {
    if (this.#failure !== undefined) return;
    this.#failure = error;
    this.options.onFailure(error);
  }
}
