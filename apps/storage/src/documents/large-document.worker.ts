import { BinnacleError } from '@binnacle/contracts/errors';
import type { JobAnswer } from '@binnacle/node-kit/job-thread';
import { parentPort } from 'node:worker_threads';
import { largeDocumentResult, type LargeDocument, type LargeDocumentJob } from './large-document-job.js';

/* Reads, checks and writes large documents, one at a time; the other side sets the limits and ends this thread when one is reached. */

function answerOf(job: LargeDocumentJob): JobAnswer<LargeDocument> {
  try {
    return { result: largeDocumentResult(job) };
  } catch (error) {
    if (error instanceof BinnacleError) return { failure: error.message };
    throw error;
  }
}

parentPort?.on('message', (job: LargeDocumentJob) => parentPort?.postMessage(answerOf(job)));
