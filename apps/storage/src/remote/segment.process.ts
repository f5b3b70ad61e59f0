import type { JobAnswer } from '@binnacle/node-kit/job-thread';
import { LogTrimmedError } from '../log/log-error.js';
import { mergeSegments } from './merge-segments.js';
import { type SegmentJob, type SegmentJobResult, trimmedFailure } from './segment-job.js';
import { writeGivenRows, writeSlice } from './write-segments.js';

/* Writes and merges segments, one job at a time; the other side sets the limits and ends this process when one is reached. */

async function answerTo(job: SegmentJob): Promise<JobAnswer<SegmentJobResult>> {
  try {
    if (job.kind === 'slice') return { result: await writeSlice(job) };
    if (job.kind === 'rows') return { result: await writeGivenRows(job) };
    return { result: await mergeSegments(job) };
  } catch (error) {
    return { failure: error instanceof LogTrimmedError ? `${trimmedFailure}${error.message}` : (error as Error).message };
  }
}

process.on('message', (job: SegmentJob) => void answerTo(job).then((answer) => process.send?.(answer)));
// Whoever wanted the segments is gone.
process.on('disconnect', () => process.exit());
