import type { RowStore } from '../row-store.js';
import { regionIndexOf } from '../regions/region.js';
import { rowBytes } from './log-slice.js';
import { largeDocumentsBytesMax, type SegmentFile } from './segment-file.js';
import type { RowsJob, SliceRegion } from './segment-job.js';
import type { SegmentProcess } from './segment-process.js';

/** The rows of a region that are newer than what was uploaded, read from the rows themselves, as segments with one piece of the handles each. */
export class RowScanUpload {
  #rows: RowsJob['rows'][number][] = [];
  #bytes = 0;

  constructor(
    private readonly rows: Pick<RowStore, 'scanVersions'>,
    private readonly process: Pick<SegmentProcess, 'run' | 'discard'>,
    private readonly region: SliceRegion,
    /** Newer ones come from the log: they are not all on disk yet. */
    private readonly toVersion: number,
  ) {}

  /** A file is there until the next one is asked for. */
  async *files(signal: AbortSignal): AsyncGenerator<SegmentFile> {
    const { tableId, index, regionCount, afterVersion } = this.region;
    for await (const { handle, version, document } of this.rows.scanVersions(tableId)) {
      signal.throwIfAborted();
      if (version <= afterVersion || version > this.toVersion || regionIndexOf(handle, regionCount) !== index) continue;
      // Copies of their own size: what a scan hands out keeps larger pieces in memory.
      this.#rows.push({ handle: Uint8Array.from(handle), version, document: document && Uint8Array.from(document) });
      this.#bytes += rowBytes + handle.length + (document?.length ?? 0);
      if (this.#bytes >= largeDocumentsBytesMax) yield* this.#write();
    }
    if (this.#rows.length > 0) yield* this.#write();
  }

  async *#write(): AsyncGenerator<SegmentFile> {
    const rows = this.#rows;
    this.#rows = [];
    this.#bytes = 0;
    const { segments } = await this.process.run({ kind: 'rows', region: this.region, rows });
    for (const { file } of segments) yield file;
    await this.process.discard();
  }
}
