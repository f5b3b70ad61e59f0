import { mkdirSync, rmSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import type { Clock } from '@binnacle/cluster-state/clock';
import { JobThread } from '@binnacle/node-kit/job-thread';
import { LogTrimmedError } from '../log/log-error.js';
import { startJobProcess } from './job-process.js';
import type { DatabaseLimits } from './segment-database.js';
import { type MergeJob, type RowsJob, type SegmentJob, type SegmentJobResult, type SliceJob, trimmedFailure } from './segment-job.js';

export interface SegmentProcessOptions {
  /** For its files alone; emptied at the start. */
  readonly folder: string;
  readonly memoryMegabytes: number;
  /** Of what does not fit into memory. */
  readonly temporaryMegabytes: number;
  readonly threads: number;
  /** For one job. */
  readonly jobMsMax: number;
}

/** Of JavaScript's heap: 300,000 rows as objects take some 100 MB; their bytes are not in it. */
const heapMegabytesMax = 512;
const idleMs = 30_000;

type WithoutOutput<Job> = Omit<Job, 'output'>;

/** The process that makes segments, as this one sees it; one job after the other. What a job wrote is in the folder until `discard`. */
export class SegmentProcess {
  readonly #thread: JobThread<SegmentJob, SegmentJobResult>;
  readonly #limits: DatabaseLimits;

  constructor(
    clock: Clock,
    private readonly options: SegmentProcessOptions,
  ) {
    const { folder, memoryMegabytes, temporaryMegabytes, threads, jobMsMax } = options;
    this.#limits = { memoryMegabytes, temporaryMegabytes, threads, temporaryFolder: `${folder}/spilled` };
    this.#thread = new JobThread(clock, {
      // From `src`, which tests run, as from `dist`, this is the built file.
      file: new URL('../../dist/remote/segment.process.js', import.meta.url),
      name: 'process that makes segments',
      start: startJobProcess,
      jobMsMax,
      heapMegabytesMax,
      waitingMax: 1,
      idleMs,
      errors: {
        failed: (failure) => (failure.startsWith(trimmedFailure) ? new LogTrimmedError(failure.slice(trimmedFailure.length)) : new Error(failure)),
        tooSlow: () => new Error(`a segment was not made within ${jobMsMax} ms`),
        tooLarge: (cause) => new Error('a segment takes too much memory to be made', { cause }),
      },
    });
  }

  /** Removes what an earlier process left. */
  start(): void {
    rmSync(this.options.folder, { recursive: true, force: true });
    mkdirSync(this.options.folder, { recursive: true });
  }

  /** Rejects with `LogTrimmedError` on a log that does not go back that far. */
  run(job: WithoutOutput<SliceJob> | WithoutOutput<RowsJob> | WithoutOutput<MergeJob>): Promise<SegmentJobResult> {
    return this.#thread.run({ ...job, output: { folder: this.options.folder, limits: this.#limits } });
  }

  /** Everything that lies in the folder: between jobs nobody needs it. */
  async discard(): Promise<void> {
    await rm(this.options.folder, { recursive: true, force: true });
    mkdirSync(this.options.folder, { recursive: true });
  }

  async stop(): Promise<void> {
    await this.#thread.stop(new Error('this storage node stops'));
    await rm(this.options.folder, { recursive: true, force: true });
  }
}
