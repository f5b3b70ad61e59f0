import type { Clock } from '@binnacle/cluster-state/clock';

/** The disk is left alone for so long after it took nothing. */
const pauseMs = 5_000;
const logAgainMs = 60_000;

/** Whether the disk of the cache takes anything: after a failure it is tried again now and then, by whoever needs it next. */
export class DiskTrouble {
  #untilMs = -Infinity;
  #loggedMs = -Infinity;
  errors = 0;

  constructor(
    private readonly clock: Clock,
    private readonly warn: (error: unknown, message: string) => void,
  ) {}

  isOn(): boolean {
    return this.clock.monotonicMs() < this.#untilMs;
  }

  /** It took nothing: what is read now is not kept. */
  begin(error: unknown): void {
    this.#untilMs = this.clock.monotonicMs() + pauseMs;
    this.note(error);
  }

  /** Something failed that does no harm by itself. */
  note(error: unknown): void {
    this.errors++;
    if (this.clock.monotonicMs() - this.#loggedMs < logAgainMs) return;
    this.#loggedMs = this.clock.monotonicMs();
    this.warn(error, 'the disk of the file cache fails: what cannot be kept is read without it');
  }
}
