import cluster, { type Worker } from 'node:cluster';
import { fileURLToPath } from 'node:url';
import type { Clock } from '@binnacle/cluster-state/clock';
import { MessagePeer } from './message-peer.js';
import type { NodeQuestions, WorkerQuestions, WorkerReport } from './worker-protocol.js';
import type { WorkerPort, WorkerUplink } from './workers.js';

/** Workers run from what was built, also where this file runs from its source. */
const entry = fileURLToPath(new URL('../../dist/process/worker-main.js', import.meta.url));

/** With V8's own young generation an idle session costs three times the memory. */
const execArgv = ['--enable-source-maps', '--max-semi-space-size=8'];

/** Forks a worker. It shares the SQL port with the others; the main process takes connections in and hands them out in turn. */
export function forkWorker(clock: Clock, uplink: WorkerUplink, died: (reason: string) => void): WorkerPort {
  // Global to the process, and the same each time: nothing else of a node forks.
  cluster.setupPrimary({ exec: entry, args: [], execArgv, serialization: 'advanced' });
  const worker = cluster.fork();
  return new ForkedWorker(worker, clock, uplink, died);
}

class ForkedWorker implements WorkerPort {
  readonly #peer: MessagePeer<WorkerQuestions>;
  readonly #gone: Promise<void>;
  #ending = false;

  constructor(
    private readonly worker: Worker,
    clock: Clock,
    uplink: WorkerUplink,
    died: (reason: string) => void,
  ) {
    const handlers = {
      told: (body: unknown): void => uplink.report(body as WorkerReport),
      asked: (kind: string, body: unknown): Promise<unknown> => uplink.ask(kind as keyof NodeQuestions, body as NodeQuestions[keyof NodeQuestions]['ask']),
    };
    this.#peer = new MessagePeer(
      (message) => {
        // The callback keeps a channel that has just broken from being an error of the whole process; `exit` tells of it.
        if (worker.isConnected()) worker.send(message, undefined, () => {});
      },
      handlers,
      clock,
    );
    worker.on('message', (message: unknown) => this.#peer.received(message));
    worker.on('error', () => {});
    this.#gone = new Promise((resolve) => {
      worker.once('exit', (code, signal) => {
        this.#peer.close();
        if (!this.#ending) died(signal === null ? `exit code ${code}` : `signal ${signal}`);
        resolve();
      });
    });
  }

  order(order: unknown): void {
    this.#peer.tell(order);
  }

  ask<Kind extends keyof WorkerQuestions>(kind: Kind, body: WorkerQuestions[Kind]['ask'], deadlineMs: number): Promise<WorkerQuestions[Kind]['answer']> {
    return this.#peer.ask(kind, body, deadlineMs);
  }

  async end(): Promise<void> {
    this.#ending = true;
    // It keeps nothing but its sessions, and those were drained before.
    this.worker.process.kill('SIGKILL');
    await this.#gone;
  }
}
