import type { Clock } from '@binnacle/cluster-state/clock';
import type { Logger } from 'pino';
import { Worker } from 'node:worker_threads';
import { ConnectionCount } from './connection-count.js';
import type { HandOver, ReceiverReport, ReceiverRequest, ReceiverThreadData } from './hand-over.js';
import { ListenError, type Listening } from './receiver.js';

export interface ReceiverThreadOptions {
  readonly data: ReceiverThreadData;
  readonly clock: Clock;
  readonly log: Logger;
  /** Counts it. */
  readonly count: (handOver: HandOver) => Promise<void>;
}

/** How long a flush waits for a thread: what one that is stuck has comes with a later one. */
const handOverMsMax = 2_000;
const closeMsMax = 3_000;
const silentMsMax = 10_000;
const restartMsMin = 100;
const restartMsMax = 10_000;
/** One that lived that long was well. */
const wellMs = 10_000;

/** A thread with statsd sockets. When it ends, another one takes its place. */
export class ReceiverThread {
  /** The thread, while there is one. */
  worker: Worker | undefined;
  #asked = 0;
  readonly #waiting = new Map<number, () => void>();
  #isClosing = false;
  #cancelRestart = (): void => {};
  #restartMs = restartMsMin;
  #startedMs = 0;
  /** When it last handed over, which it does every second. */
  #lastMs = 0;
  /** What it hands over is counted one after the other. */
  #counting: Promise<void> = Promise.resolve();
  /** Why there is none just now. */
  failure: string | undefined = 'it has not started';
  /** Times that it ended, and what it had not handed over was lost. */
  deaths = 0;

  constructor(private readonly options: ReceiverThreadOptions) {}

  /** Resolves when it listens; rejects with a `ListenError`, or why it ended. */
  start(): Promise<Listening> {
    const { data, clock } = this.options;
    this.#startedMs = clock.monotonicMs();
    return new Promise((resolve, reject) => {
      const worker = new Worker(new URL('../../dist/receivers/receiver.worker.js', import.meta.url), { workerData: data, stdin: false, execArgv: [] });
      this.worker = worker;
      let reason = 'it ended';
      worker.on('message', (report: ReceiverReport) => {
        if ('handOver' in report) this.#count(worker, report.handOver);
        else if ('listening' in report) {
          this.failure = undefined;
          this.#lastMs = clock.monotonicMs();
          resolve(report.listening);
        } else {
          const { protocol, code, message } = report.failure;
          reason = message;
          reject(new ListenError(protocol, Object.assign(new Error(message), { code })));
          void worker.terminate();
        }
      });
      worker.once('error', (error) => (reason = String(error)));
      worker.once('exit', () => {
        reject(new Error(`a receiver thread ended: ${reason}`));
        this.#ended(reason);
      });
    });
  }

  /** Resolves when what came before the call is counted, or cannot be had in time. */
  async handOver(): Promise<void> {
    const worker = this.worker;
    if (worker === undefined || this.failure !== undefined) return;
    const asked = ++this.#asked;
    await new Promise<void>((resolve) => {
      const cancel = this.options.clock.after(handOverMsMax, () => this.#answer(asked));
      this.#waiting.set(asked, () => {
        cancel();
        resolve();
      });
      worker.postMessage({ handOver: asked } satisfies ReceiverRequest);
    });
  }

  /** It takes what has arrived, hands it over and ends. */
  async close(): Promise<void> {
    this.#isClosing = true;
    this.#cancelRestart();
    const worker = this.worker;
    if (worker === undefined) return;
    const ended = new Promise<void>((resolve) => worker.once('exit', () => resolve()));
    const cancel = this.options.clock.after(closeMsMax, () => void worker.terminate());
    worker.postMessage('close' satisfies ReceiverRequest);
    await ended;
    cancel();
    await this.#counting;
  }

  /** Why it is not well; undefined when it is. */
  trouble(): string | undefined {
    if (this.failure !== undefined) return `a receiver thread is missing: ${this.failure}`;
    const silentMs = this.options.clock.monotonicMs() - this.#lastMs;
    return silentMs > silentMsMax ? `a receiver thread has said nothing for ${Math.round(silentMs)} ms` : undefined;
  }

  #count(worker: Worker, handOver: HandOver): void {
    this.#lastMs = this.options.clock.monotonicMs();
    this.#counting = this.#counting.then(async () => {
      try {
        await this.options.count(handOver);
      } catch (error) {
        // The thread waits for this one before it hands over the next.
        this.options.log.error({ err: error }, 'what a receiver thread handed over cannot be counted; it is dropped');
      }
      worker.postMessage('counted' satisfies ReceiverRequest);
      this.#answer(handOver.answers);
    });
  }

  #answer(number: number): void {
    for (const [asked, resolve] of this.#waiting) {
      if (asked > number) return;
      this.#waiting.delete(asked);
      resolve();
    }
  }

  #ended(reason: string): void {
    const { data, clock, log } = this.options;
    const wasListening = this.failure === undefined;
    this.worker = undefined;
    this.failure = reason;
    new ConnectionCount(data.connections, data.number).clear();
    this.#answer(this.#asked);
    if (this.#isClosing || (!wasListening && this.deaths === 0)) return;
    if (wasListening) this.deaths += 1;
    if (clock.monotonicMs() - this.#startedMs >= wellMs) this.#restartMs = restartMsMin;
    log.error({ reason, restartMs: this.#restartMs }, 'a receiver thread ended; what it had not handed over is lost');
    this.#cancelRestart = clock.after(this.#restartMs, () => {
      // Its end says what was wrong, and another one is started then.
      this.start().catch(() => undefined);
    });
    this.#restartMs = Math.min(this.#restartMs * 2, restartMsMax);
  }
}
