import type { LogOperation } from './log-record.js';

/** `fsync`: acknowledged once it is on disk. `none`: acknowledged once the operating system has it; a power cut may take it. */
export type Durability = 'fsync' | 'none';

export interface CommitLogOptions {
  readonly segmentBytesMax: number;
  /** Appended and not written yet; `room` waits beyond it. */
  readonly queuedBytesMax: number;
}

export interface Appended {
  readonly firstVersion: number;
  /** Resolves when the batch is as durable as was asked for. Rejects with `BinnacleError` OUT_OF_DISK when it could not be written: then nothing of it is left. */
  readonly durable: Promise<void>;
}

export class CommitLog {
  static async open(folder: string, options: CommitLogOptions): Promise<CommitLog> {
    throw new Error(`${folder} ${options.segmentBytesMax}`);
  }

  /** The version of the newest operation that an fdatasync has covered. */
  durableVersion(): number {
    throw new Error();
  }

  /** Called with the new durable version each time it moves. Returns what ends that. */
  onDurable(_listener: (version: number) => void): () => void {
    throw new Error();
  }

  append(_operations: readonly LogOperation[], _durability: Durability): Appended {
    throw new Error();
  }

  /** Removes the segments that hold nothing newer than `version`. */
  async trim(_version: number): Promise<void> {
    throw new Error();
  }

  async close(): Promise<void> {
    throw new Error();
  }
}
