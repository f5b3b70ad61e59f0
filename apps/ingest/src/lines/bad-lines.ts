import type { Clock } from '@binnacle/cluster-state/clock';
import type { Logger } from 'pino';
import { shownBytesMax } from './line-limits.js';
import type { BadLine } from './metric-line.js';

/** One line in the log for each stretch of this length: whoever sends a million bad lines does not fill the disk. */
const logIntervalMs = 10_000;

/** Counts bad lines by reason, and shows one of them in the log now and then. */
export class BadLines {
  readonly #counts = new Map<BadLine, number>();
  #notShown = 0;
  #lastShownMs = -Infinity;

  constructor(
    private readonly clock: Clock,
    private readonly log: Logger,
  ) {}

  counts(): ReadonlyMap<BadLine, number> {
    return this.#counts;
  }

  total(): number {
    let total = 0;
    for (const count of this.#counts.values()) total += count;
    return total;
  }

  /** The line is only valid during the call; it is one of so many. */
  take(reason: BadLine, line: Buffer, count = 1): void {
    this.#counts.set(reason, (this.#counts.get(reason) ?? 0) + count);
    const nowMs = this.clock.monotonicMs();
    if (nowMs - this.#lastShownMs < logIntervalMs) {
      this.#notShown += count;
      return;
    }
    // As JSON a line shows what in it is no text.
    const shown = line.toString('latin1', 0, shownBytesMax);
    this.log.warn({ reason, line: shown, ...(this.#notShown > 0 && { othersSinceLast: this.#notShown }) }, 'a statsd line cannot be read');
    this.#lastShownMs = nowMs;
    this.#notShown = count - 1;
  }
}
