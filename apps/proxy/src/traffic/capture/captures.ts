import type { Session } from '../../session/session.js';
import type { CaptureEnd, CaptureOrder, CaptureProgress } from './capture-order.js';
import { WorkerCapture, type WorkerCaptureParts } from './worker-capture.js';

/** The captures of one worker, one at a time. */
export class Captures {
  #current: WorkerCapture | undefined;
  #starting = false;

  constructor(private readonly parts: WorkerCaptureParts) {}

  /** Of the one that runs, or of the last one. */
  get progress(): CaptureProgress | undefined {
    return this.#current?.progress;
  }

  /** Rejects with an Error for people where it cannot begin. */
  async start(order: CaptureOrder): Promise<CaptureProgress> {
    if (this.#starting || this.#current?.isOver === false) throw new Error('a capture of traffic is running');
    this.#starting = true;
    try {
      this.#current = await WorkerCapture.start(order, this.parts);
      return this.#current.progress;
    } finally {
      this.#starting = false;
    }
  }

  /** Never rejects. */
  async stop(end: CaptureEnd): Promise<CaptureProgress | undefined> {
    return this.#current?.stop(end);
  }

  /** Before its first command. */
  opened(session: Session): void {
    this.#current?.opened(session);
  }
}
