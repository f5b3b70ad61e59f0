import { Worker } from 'node:worker_threads';
import { listFiles, type SnapshotFile } from './manifest.js';

export interface SealJob {
  readonly folder: string;
  readonly files: readonly string[];
  /** Outer ones before inner ones. */
  readonly folders: readonly string[];
  /** Checksums by device, inode, size and time of change. */
  readonly known: ReadonlyMap<string, string>;
}

export type SealAnswer = { readonly read: number } | { readonly file: SnapshotFile; readonly identity: string } | { readonly done: true };

/**
 * Reads the files of snapshots on a thread of its own. Tables never change, so those that the last snapshot had too are not read
 * again: after the first one, a snapshot costs what has changed.
 */
export class Sealer {
  /** As many as the last snapshot has files. */
  #known: ReadonlyMap<string, string> = new Map();

  /** Checksums of every file in a folder; all of it is on disk then. Rejects once `signal` is aborted. */
  async seal(folder: string, { signal, onBytes }: { signal: AbortSignal; onBytes(read: number): void }): Promise<SnapshotFile[]> {
    signal.throwIfAborted();
    const { files, folders } = await listFiles(folder);
    const job: SealJob = { folder, files, folders, known: this.#known };
    // From `src`, which tests run, as from `dist`, this is the built file: a thread is plain Node.js and takes no TypeScript here.
    const worker = new Worker(new URL('../../dist/snapshot/seal.worker.js', import.meta.url), { workerData: job, stdin: false, execArgv: [] });
    const sealed: SnapshotFile[] = [];
    const known = new Map<string, string>();
    try {
      await new Promise<void>((resolve, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
        worker.once('error', reject);
        worker.once('exit', () => reject(new Error('the thread that reads the files ended')));
        worker.on('message', (answer: SealAnswer) => {
          if ('read' in answer) onBytes(answer.read);
          else if ('done' in answer) resolve();
          else {
            sealed.push(answer.file);
            known.set(answer.identity, answer.file.sha256);
          }
        });
      });
    } finally {
      await worker.terminate();
    }
    this.#known = known;
    return sealed;
  }
}
