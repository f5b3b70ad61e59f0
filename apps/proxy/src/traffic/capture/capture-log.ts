import type { TrafficBuffer } from './traffic-buffer.js';
import type { LeftOut } from './left-out.js';

/** What the sessions of a worker have in common while a capture runs. */
export class CaptureLog {
  /** Of which something was captured. */
  sessions = 0;
  readonly #leftOut = new Map<string, number>();
  readonly #incomplete = new Map<string, number>();
  readonly #originUs: number;

  /** @param originMs of `performance.now()`, in milliseconds since 1970 */
  constructor(
    readonly buffer: TrafficBuffer,
    originMs: number,
  ) {
    this.#originUs = Math.round(originMs * 1_000);
  }

  /** Whole microseconds since 1970. */
  timeUs(performanceMs: number): number {
    return this.#originUs + Math.floor(performanceMs * 1_000);
  }

  /** A command was not captured. */
  leaveOut(why: LeftOut): void {
    this.#leftOut.set(why, (this.#leftOut.get(why) ?? 0) + 1);
  }

  /** The capture of a session lacks something. */
  lacks(why: string): void {
    this.#incomplete.set(why, (this.#incomplete.get(why) ?? 0) + 1);
  }

  get leftOut(): Record<string, number> {
    return Object.fromEntries(this.#leftOut);
  }

  get incomplete(): Record<string, number> {
    return Object.fromEntries(this.#incomplete);
  }
}
