import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Clock } from '@binnacle/cluster-state/clock';
import type { NodePart } from '@binnacle/node-kit/node-context';
import type { Logger } from 'pino';
import { LogTrimmedError } from '../log/log-error.js';
import { LogTail, readLog } from '../log/log-reader.js';
import { untilDurable } from '../log/until-durable.js';
import { regionIndexOf, tableIdOfRegion } from '../regions/region.js';
import type { RowStore } from '../row-store.js';
import type { Table } from '../tables/schema.js';
import { type FreshAnswer, type FreshRegionAnswer, type FreshRegionQuestion, freshLine } from './fresh-format.js';
import type { PendingQuestion } from './manifest-follower.js';
import { RegionMarks } from './region-marks.js';

export interface FreshSourceParts {
  readonly clock: Clock;
  readonly log: Pick<Logger, 'warn'>;
  readonly rows: Pick<RowStore, 'logFolder' | 'durableVersion' | 'appliedVersion' | 'onDurable' | 'keepLogFor'>;
  readonly tableById: (id: number) => Pick<Table, 'id' | 'regions'> | undefined;
  /** Of a region that this node owns and has all rows of. */
  readonly claimed: (regionId: number) => { readonly term: number; readonly versionBase: number } | undefined;
  /** What the bucket has of the node's log; the log is there from here on, unless the bucket was away for too long. */
  readonly uploader: { position(): number; request(): void; known(regionId: number): { readonly manifest: { readonly uploadedVersion: number; readonly term: number } } | undefined };
  /** Of one answer. */
  readonly bytesMax: number;
}

/** The log is looked at this long after it has grown, so that one look covers many writes. */
const gatherMs = 500;
/** A write is durable soon after it can be read; this long is a disk in trouble. */
const durableWithinMs = 5_000;

interface Wanted {
  readonly regionId: number;
  readonly term: number;
  readonly versionBase: number;
  readonly after: number;
  readonly lines: Buffer[];
}

/** What a write node tells compute nodes about the rows that are not in the bucket yet. */
export class FreshRowsSource implements NodePart {
  readonly name = 'rows not uploaded yet';
  readonly #marks = new RegionMarks();
  #tail: LogTail | undefined;
  /** Everything after this version is in the marks. */
  #marksFrom = 0;
  #looking: Promise<void> = Promise.resolve();
  #cancelLook: (() => void) | undefined;
  #unlisten: () => void = () => {};

  constructor(private readonly parts: FreshSourceParts) {}

  async start(): Promise<void> {
    this.#unlisten = this.parts.rows.onDurable(() => this.#lookSoon());
    this.#lookSoon();
  }

  async stop(): Promise<void> {
    this.#unlisten();
    this.#cancelLook?.();
    await this.#looking;
    await this.#tail?.close();
  }

  /** Sees every write that was acknowledged before the call. */
  async answer(questions: readonly FreshRegionQuestion[]): Promise<FreshAnswer> {
    // What is loaded of a region lies in the log, too: `to` must not be from before the end of that.
    const claims = new Map(questions.map(({ regionId }) => [regionId, this.parts.claimed(regionId)]));
    const to = await this.#readable();
    await this.#look(to);
    const wanted: Wanted[] = [];
    const regions = questions.map((question): FreshRegionAnswer | Wanted => {
      const { regionId, term } = question;
      const claim = this.parts.claimed(regionId);
      const before = claims.get(regionId);
      if (claim === undefined || before?.term !== claim.term || before.versionBase !== claim.versionBase) return { regionId, state: 'elsewhere' };
      // A manifest of another term counts in versions of another log.
      if (claim.term !== term) return { regionId, state: 'behind', term: claim.term, to: 0 };
      const want = { regionId, ...claim, after: Math.max(0, question.after - claim.versionBase), lines: [] };
      wanted.push(want);
      return want;
    });
    const isWhole = await this.#collect(wanted, to);
    if (!isWhole) this.parts.uploader.request();
    const answers = regions.map((region) => ('state' in region ? region : answerOf(region, to, isWhole)));
    return { regions: answers, rows: isWhole ? wanted.map(({ lines }) => Buffer.concat(lines)) : [] };
  }

  /** Ages in milliseconds, by region, of those that this node owns. */
  async pending(questions: readonly PendingQuestion[]): Promise<Map<number, number>> {
    await this.#look(await this.#readable());
    const ages = new Map<number, number>();
    for (const { regionId, term, uploadedVersion } of questions) {
      const claim = this.parts.claimed(regionId);
      if (claim === undefined) continue;
      const after = claim.term === term ? uploadedVersion - claim.versionBase : 0;
      const mark = this.#marks.after(regionId, after);
      ages.set(regionId, mark === undefined ? 0 : Math.max(1, Math.round(this.parts.clock.monotonicMs() - mark.atMs)));
    }
    return ages;
  }

  /** The version that reads see, once it is durable: what is not may not be read from the log. */
  async #readable(): Promise<number> {
    const { rows, clock } = this.parts;
    const version = rows.appliedVersion();
    await untilDurable(rows, clock, version, durableWithinMs);
    return version;
  }

  /** False: it is too much, or no longer in the log. */
  async #collect(wanted: readonly Wanted[], to: number): Promise<boolean> {
    const written = wanted.filter(({ regionId, after }) => after < this.#marksFrom || this.#marks.after(regionId, after) !== undefined);
    if (written.length === 0) return true;
    const from = Math.min(...written.map(({ regionId, after }) => this.#startOf(regionId, after)));
    const byRegion = new Map(written.map((want) => [want.regionId, want]));
    let bytes = 0;
    try {
      for await (const { firstVersion, operations } of readLog(this.parts.rows.logFolder(), from, to)) {
        for (const [index, operation] of operations.entries()) {
          const want = byRegion.get(this.#regionOf(operation.tableId, operation.handle) ?? -1);
          const version = firstVersion + index;
          if (want === undefined || version <= want.after) continue;
          const line = freshLine(version, operation);
          bytes += line.length;
          if (bytes > this.parts.bytesMax) return false;
          want.lines.push(line);
        }
        // Rows may come from memory one batch after the other: others get their turn.
        await nextTurn();
      }
      return true;
    } catch (error) {
      if (error instanceof LogTrimmedError) return false;
      throw error;
    }
  }

  #startOf(regionId: number, after: number): number {
    if (after < this.#marksFrom) return after + 1;
    return Math.max(after + 1, this.#marks.after(regionId, after)?.first ?? 0);
  }

  #regionOf(tableId: number, handle: Buffer): number | undefined {
    // Without a handle it is the drop of a table.
    const regions = handle.length === 0 ? undefined : this.parts.tableById(tableId)?.regions;
    return regions?.[regions.length === 1 ? 0 : regionIndexOf(handle, regions.length)]?.id;
  }

  #lookSoon(): void {
    this.#cancelLook ??= this.parts.clock.after(gatherMs, () => {
      this.#cancelLook = undefined;
      this.#look(this.parts.rows.durableVersion()).catch((error: unknown) => this.parts.log.warn({ err: error }, 'the log cannot be followed; it is tried again'));
    });
  }

  /** Reads on up to this version. One look after the other. */
  #look(to: number): Promise<void> {
    const look = this.#looking.then(() => this.#lookOnce(to));
    this.#looking = look.catch(() => undefined);
    return look;
  }

  async #lookOnce(to: number): Promise<void> {
    if (this.#tail === undefined) this.#begin();
    const tail = this.#tail as LogTail;
    if (tail.position() >= to) return;
    const atMs = this.parts.clock.monotonicMs() - gatherMs;
    const spans = new Map<number, { first: number; last: number }>();
    try {
      for await (const { firstVersion, operations } of tail.read(to)) {
        for (const [index, { tableId, handle }] of operations.entries()) {
          const regionId = this.#regionOf(tableId, handle);
          if (regionId === undefined) continue;
          const span = spans.get(regionId);
          if (span === undefined) spans.set(regionId, { first: firstVersion + index, last: firstVersion + index });
          else span.last = firstVersion + index;
        }
      }
    } catch (error) {
      await tail.close();
      this.#tail = undefined;
      if (!(error instanceof LogTrimmedError)) throw error;
    } finally {
      for (const [regionId, { first, last }] of spans) this.#marks.add(regionId, { first, last, atMs });
      this.#forget();
    }
  }

  #begin(): void {
    const { uploader, rows } = this.parts;
    this.#marksFrom = Math.min(uploader.position(), rows.durableVersion());
    this.#tail = new LogTail(rows.logFolder(), this.#marksFrom + 1);
  }

  #forget(): void {
    for (const regionId of this.#marks.regions()) {
      if (this.parts.tableById(tableIdOfRegion(regionId)) === undefined) this.#marks.drop(regionId);
      const claim = this.parts.claimed(regionId);
      const known = this.parts.uploader.known(regionId)?.manifest;
      if (claim !== undefined && known?.term === claim.term) this.#marks.uploaded(regionId, known.uploadedVersion - claim.versionBase);
    }
  }
}

function answerOf({ regionId, term, versionBase, lines }: Wanted, to: number, isWhole: boolean): FreshRegionAnswer {
  if (!isWhole) return { regionId, state: 'behind', term, to: versionBase + to };
  return { regionId, state: 'rows', term, versionBase, to: versionBase + to, bytes: lines.reduce((sum, { length }) => sum + length, 0), lineBytes: lines.reduce((most, { length }) => Math.max(most, length), 0) };
}
