import type { Worker } from 'node:worker_threads';

const workers = new Map<number, Worker>();

process.on('worker', (worker) => {
  const { threadId } = worker;
  workers.set(threadId, worker);
  worker.once('exit', () => workers.delete(threadId));
});

/** The Worker of a thread that runs, if it was made after this file was loaded: nothing else leads from the number to it. */
export function workerOf(threadId: number): Worker | undefined {
  return workers.get(threadId);
}
