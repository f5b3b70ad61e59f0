import type { Session } from '../../session/session.js';
import type { CaptureEnd, CaptureOrder, CaptureProgress } from './capture-order.js';
import { WorkerCapture, type WorkerCaptureParts } from './worker-capture.js';

/** The captures of one worker, one at a time. */
export class Captures {
  #current: WorkerCapture | undefined;
  #starting: Promise<WorkerCapture> | undefined;
  /** Which is the current one, or begins. */
  #job = '';

  constructor(private readonly parts: WorkerCaptureParts) {}

  /** Of the one that runs, or of the last one. */
  get progress(): CaptureProgress | undefined {
    return this.#current?.progress;
  }

  /** Rejects with an Error for people where it cannot begin. */
  async start(order: CaptureOrder): Promise<CaptureProgress> {
    if (this.#starting !== undefined || this.#current?.isOver === false) throw new Error('a capture of traffic is running');
    const starting = WorkerCapture.start(order, this.parts);
    this.#starting = starting;
    this.#job = order.job;
    try {
      this.#current = await starting;
      return this.#current.progress;
    } finally {
      this.#starting = undefined;
    }
  }

  /** Never rejects. One that is only beginning is waited for: who ordered it may have given up, and then nobody else would end it. */
  async stop({ job = this.#job, ...end }: CaptureEnd & { readonly job?: string }): Promise<CaptureProgress | undefined> {
    await this.#starting?.catch(() => undefined);
    // An order that comes late must not end the next one.
    if (job !== this.#job) return undefined;
    return this.#current?.stop(end);
  }

  /** Before its first command. */
  opened(session: Session): void {
    this.#current?.opened(session);
  }
}
