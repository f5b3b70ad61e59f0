import type { SessionWorker } from './session-worker.js';
import type { WorkerOrder, WorkerQuestions } from './worker-protocol.js';
import type { WorkerPort } from './workers.js';

/** The one worker of a node that has no others: its orders and answers are calls. */
export class LocalWorker implements WorkerPort {
  constructor(private readonly worker: SessionWorker) {}

  order(order: WorkerOrder): void {
    this.worker.order(order);
  }

  ask<Kind extends keyof WorkerQuestions>(kind: Kind, body: WorkerQuestions[Kind]['ask']): Promise<WorkerQuestions[Kind]['answer']> {
    return this.worker.answer(kind, body);
  }

  async end(): Promise<void> {
    this.worker.end();
  }
}
