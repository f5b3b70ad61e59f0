/**
 * When commands are due: as far apart as they were, divided by the speed, counted from the first one, so that delays do not add up.
 * All in milliseconds of a monotonic clock.
 */
export class ReplayPace {
  #firstUs: number | undefined;
  #startedMs = 0;
  /** Of the command that was sent last: how late it was. */
  lagMs = 0;
  lagMaxMs = 0;

  constructor(
    readonly speed: number,
    private readonly nowMs: () => number,
  ) {}

  /** The first time it is asked, the command is due now. Commands may be a little out of order: none is due before the first one. */
  dueMs(timeUs: number): number {
    if (this.#firstUs === undefined) {
      this.#firstUs = timeUs;
      this.#startedMs = this.nowMs();
    }
    return this.#startedMs + Math.max(0, timeUs - this.#firstUs) / 1_000 / this.speed;
  }

  /** A command goes out now. */
  sent(timeUs: number): void {
    this.lagMs = Math.max(0, this.nowMs() - this.dueMs(timeUs));
    if (this.lagMs > this.lagMaxMs) this.lagMaxMs = this.lagMs;
  }
}
