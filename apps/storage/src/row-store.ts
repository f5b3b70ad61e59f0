import type { BinnacleError } from '@binnacle/contracts/errors';
import { NodeContext, type NodePart } from '@binnacle/node-kit/node-context';
import { Injectable } from '@nestjs/common';
import type { Row } from './engine/row.js';
import type { Durability } from './log/commit-log.js';

/** What becomes of a row: a new document, a delete mark, nothing, or nothing and an error for whoever asked. */
export type Decision = { readonly put: Buffer } | 'delete' | 'keep' | BinnacleError;

/** A change that depends on the row as it is, or one that does not (`put`): that one saves the read. */
export type RowChange =
  | { readonly handle: Buffer; readonly decide: (current: Row | undefined) => Decision }
  | { readonly handle: Buffer; readonly put: Buffer };

/** `document` is what was written; absent when the row was deleted. */
export type RowResult = { readonly version: number; readonly document?: Buffer } | 'kept' | BinnacleError;

export interface WriteOptions {
  readonly durability: Durability;
}

/** Somebody who reads the log files; segments it has not read are kept for it, within a limit. */
export interface LogReader {
  /** The newest version it has read. */
  position(): number;
}

/** The rows of this node: the commit log makes them durable, the engine holds them. */
@Injectable()
export class RowStore implements NodePart {
  readonly name = 'row store';

  constructor(private readonly node: NodeContext) {
    node.addPart(this);
  }

  /** `<data-dir>/storage/log`, for `readLog`. */
  logFolder(): string {
    throw new Error(this.node.id);
  }

  /** Resolves once everything the changes led to is durable and readable; results in the order of the changes. */
  async write(_tableId: number, _changes: readonly RowChange[], _options: WriteOptions): Promise<RowResult[]> {
    throw new Error();
  }

  async get(_tableId: number, _handle: Buffer): Promise<Row | undefined> {
    throw new Error();
  }

  /** In the order of the handles. */
  async getMany(_tableId: number, _handles: readonly Buffer[]): Promise<(Row | undefined)[]> {
    throw new Error();
  }

  /** The rows of a table at this moment, ordered by handle, whatever is written meanwhile. */
  // eslint-disable-next-line require-yield
  async *scan(_tableId: number, _range?: { after?: Buffer; limit?: number }): AsyncGenerator<Row> {
    throw new Error();
  }

  /** Every row of the table goes, in the order of the writes. Table ids are never used again. */
  async dropTable(_tableId: number): Promise<void> {
    throw new Error();
  }

  /** The newest version on disk. */
  durableVersion(): number {
    throw new Error();
  }

  /** The newest version that reads see; every acknowledged write is at or below it. */
  appliedVersion(): number {
    throw new Error();
  }

  onDurable(_listener: (version: number) => void): () => void {
    throw new Error();
  }

  keepLogFor(_reader: LogReader): void {
    throw new Error();
  }

  async compact(_signal: AbortSignal): Promise<void> {
    throw new Error();
  }

  /** On disk, of the engine; the log is not counted. */
  async sizeBytes(): Promise<number> {
    throw new Error();
  }

  /** Makes `folder` (which must not exist) a storage folder with every write acknowledged so far: `engine/` and an empty `log/`. Resolves to the newest version in it. */
  async checkpoint(_folder: string): Promise<number> {
    throw new Error();
  }

  async start(): Promise<void> {}
  async stop(): Promise<void> {}
}
