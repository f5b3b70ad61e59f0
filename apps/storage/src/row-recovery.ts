import { join } from 'node:path';
import { Engine } from './engine/engine.js';
import { CommitLog, type CommitLogOptions } from './log/commit-log.js';
import { LogCorruptionError } from './log/log-error.js';
import type { LogBatch } from './log/log-record.js';

export interface OpenedRows {
  readonly engine: Engine;
  readonly log: CommitLog;
  /** That the engine had not applied, and has now. */
  readonly replayedOperations: number;
}

/** Of one group given to the engine: enough to be worth the hop, too little to keep the event loop for long. */
const groupBytesMax = 4 * 2 ** 20;
const groupOperationsMax = 2_048;

/**
 * Opens the engine, then the log (which the engine's lock covers), and applies what the log has and the engine has not. Rejects with
 * what is damaged, and closes the engine again.
 */
export async function openRows(folder: string, options: CommitLogOptions, onProgress: (readBytes: number, totalBytes: number) => void): Promise<OpenedRows> {
  const engine = await Engine.open(join(folder, 'engine'));
  try {
    const logFolder = join(folder, 'log');
    const replay = new Replay(engine, logFolder);
    const log = await CommitLog.open(logFolder, {
      ...options,
      afterVersion: engine.appliedVersion(),
      onBatch: async (batch, { readBytes, totalBytes }) => {
        await replay.add(batch);
        onProgress(readBytes, totalBytes);
      },
    });
    await replay.flush();
    return { engine, log, replayedOperations: replay.operations };
  } catch (error) {
    await engine.close();
    throw error;
  }
}

class Replay {
  operations = 0;
  #group: LogBatch[] = [];
  #bytes = 0;
  #groupOperations = 0;
  #nextVersion: number;

  constructor(
    private readonly engine: Engine,
    private readonly logFolder: string,
  ) {
    this.#nextVersion = engine.appliedVersion() + 1;
  }

  async add(batch: LogBatch): Promise<void> {
    const { firstVersion, operations } = batch;
    if (firstVersion + operations.length <= this.#nextVersion) return;
    if (firstVersion > this.#nextVersion) {
      throw new LogCorruptionError(this.logFolder, 0, `it begins with version ${firstVersion}, and the rows end before version ${this.#nextVersion}`);
    }
    this.#nextVersion = firstVersion + operations.length;
    this.operations += operations.length;
    this.#group.push(batch);
    this.#groupOperations += operations.length;
    for (const { handle, document } of operations) this.#bytes += handle.length + (document?.length ?? 0);
    if (this.#bytes >= groupBytesMax || this.#groupOperations >= groupOperationsMax) await this.flush();
  }

  async flush(): Promise<void> {
    await this.engine.apply(this.#group.splice(0));
    this.#bytes = 0;
    this.#groupOperations = 0;
  }
}
